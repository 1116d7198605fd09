"""What the two ends of a benchmark session say: 6.4 kB of audio a message, framed once and for all."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.frames import Frame, Opcode

AUDIO = b64encode(bytes(range(256)) * 18 + bytes(192)).decode()  # 100 ms of 24 kHz PCM: 6,400 characters
# A response for every 210 messages, both ways together. Four turns a minute are that, of a client that
# streams all the time (150 messages of 100 ms) and hears six seconds of answer (60).
DELTAS = 105

_SAMPLES = Path(__file__).parents[1] / "samples"
_RESPONSE = "resp_00000000000000"  # in every template, replaced by a name of the same length


def sample(name: str) -> dict[str, Any]:
    """Return a message as the Realtime API sends it."""
    message: dict[str, Any] = json.loads((_SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return message


def frame(message: dict[str, Any], *, mask: bool) -> bytes:
    """Return `message` in a frame of its own. The upstream's JSON has no spaces, as the real one's."""
    text = json.dumps(message, separators=None if mask else (",", ":"))
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=mask)


APPEND = frame({"type": "input_audio_buffer.append", "audio": AUDIO}, mask=True)  # openai-python's spelling


def _response_event(name: str) -> bytes:
    message = sample(name)
    message["response"]["id"] = _RESPONSE
    return frame(message, mask=False)


_CREATED = _response_event("response.created")
_DONE = _response_event("response.done.completed")
_DELTA = sample("response.output_audio.delta") | {"delta": AUDIO}


def _delta(number: int) -> bytes:
    ids = {"event_id": f"event_{number:012}", "response_id": _RESPONSE}
    return frame(_DELTA | ids, mask=False)


def session_created(session: int) -> bytes:
    """Return what the upstream says first, in a frame; every session has an id of its own."""
    message = sample("session.created")
    message["session"]["id"] = f"sess_{session:08}"
    return frame(message, mask=False)


def responses(session: int, deltas: int) -> Iterator[list[bytes]]:
    """Yield one response of `session` after the other, frame by frame: created, audio, done with usage."""
    template = (_CREATED, *map(_delta, range(deltas)), _DONE)
    number = 0
    while True:
        name = f"resp_{session:06}{number:08}".encode()
        yield [event.replace(_RESPONSE.encode(), name, 1) for event in template]
        number += 1
