"""Keys and content stay where they belong: canaries are said, and looked for in everything that is kept."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from proxy.observe import logs
from proxy.store.columns import metadata
from proxy.store.database import open_database, reading
from tests.e2e.place import UPSTREAM_KEY, Home, Place, add_key, reset
from tests.e2e.tap import tapping
from tests.simulator.talk import Client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

STRANGER = "tm_" + "CanaryOfAStranger" + "x" * 26
SAID = "canary-that-the-user-wrote"
INSTRUCTIONS = "canary-in-the-instructions"
OUTPUT = "canary-in-a-tool-output"
ARGUMENTS = "canary-in-tool-arguments"
PICTURE = "data:image/png;base64,Y2FuYXJ5LXBpY3R1cmU="
METADATA = "canary-in-metadata"
HEARD = "I heard you speak"  # what the simulator says in speech
TRANSCRIBED = "This is what I said"  # what it transcribes
CONTENT = (SAID, INSTRUCTIONS, OUTPUT, ARGUMENTS, "Y2FuYXJ5LXBpY3R1cmU", METADATA, HEARD, TRANSCRIBED)

TOOL = {
    "type": "function",
    "name": "look_up",
    "parameters": {
        "type": "object",
        "properties": {"what": {"type": "string", "default": ARGUMENTS}},
        "required": ["what"],
    },
}


class Records(logging.Handler):
    """Keeps everything that is logged as it is before anything is cut out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{record.getMessage()} {record.__dict__}\n"


@pytest.fixture
def log() -> Iterator[Records]:
    """What this process logs at the level for debugging: as records, and as lines in `stream`."""
    root, records, stream = logging.getLogger(), Records(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    logs.configure("json", "debug", stream)
    root.addHandler(records)
    yield records
    root.handlers[:] = handlers
    root.setLevel(level)
    for ours in ("proxy", "talkmeter"):
        logging.getLogger(ours).setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    assert UPSTREAM_KEY not in stream.getvalue()


async def tell_everything(client: Client) -> None:
    """Have a conversation that is full of canaries, heard as well as said."""
    audio = {"input": {"turn_detection": None, "transcription": {"model": "whisper-1", "prompt": SAID}}}
    await client.configure(audio=audio, instructions=INSTRUCTIONS, tools=[TOOL])
    await client.say(f"{SAID} use look_up", id=SAID)
    called = await client.respond(metadata={"canary": METADATA})
    call = called["output"][0]
    assert ARGUMENTS in call["arguments"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": OUTPUT}
    await client.send("conversation.item.create", item=output)
    assert OUTPUT in str((await client.respond())["output"])
    picture = {"type": "input_image", "image_url": PICTURE}
    content = [picture, {"type": "input_text", "text": SAID}]
    item = {"type": "message", "role": "user", "content": content}
    await client.send("conversation.item.create", item=item)
    assert SAID in str((await client.respond(instructions=INSTRUCTIONS))["output"])
    await client.speak(500)
    await client.send("input_audio_buffer.commit")
    done = await client.until("conversation.item.input_audio_transcription.completed")
    assert TRANSCRIBED in done["transcript"]
    assert HEARD in str((await client.respond())["output"])
    await client.send(SAID, audio=SAID)  # an unknown event
    await client.connection.send(f'{{"{SAID}": NaN, broken')  # refused by us
    while (refused := (await client.until("error"))["error"])["code"] != "invalid_event":
        pass  # that was the voice API's answer to the one before
    assert SAID not in refused["message"]


async def refusals(place: Place) -> str:
    """Return what is answered to requests with keys in all kinds of places."""
    texts = []
    asked: list[dict[str, Any]] = [
        {"headers": {"Authorization": f"Bearer {STRANGER}"}},
        {"headers": {"api-key": STRANGER}},
        {
            "headers": {},
            "subprotocols": [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{STRANGER}")],
        },
        {"headers": {"Authorization": f"Basic {STRANGER}"}},
        {"sim": "refuse_http:401"},
        {"path": f"/v1/{STRANGER}"},
        {"query": f"api-key={STRANGER}", "headers": {}},
    ]
    for options in asked:
        with pytest.raises(InvalidStatus) as refused:
            async with place.connected(**options):
                raise AssertionError("this should be refused")
        response = refused.value.response
        texts.append(f"{response.status_code} {response.headers} {response.body!r}")
    async with aiohttp.ClientSession() as http:
        for path in (f"/talkmeter/v1/sessions/{STRANGER}", "/v1/realtime", f"/{STRANGER}"):
            async with http.get(place.root + path, headers={"Authorization": f"Bearer {STRANGER}"}) as answer:
                texts.append(f"{answer.headers} {await answer.text()}")
    return "\n".join(texts)


def files_of(home: Home) -> Iterator[tuple[str, bytes]]:
    """Yield everything that lies in the home's folder, the simulator's file apart."""
    for path in sorted(Path(home.folder).rglob("*")):
        if path.is_file() and path != home.truth:
            yield path.name, path.read_bytes()


def rows_of(home: Home) -> str:
    """Return every value in every table."""
    engine = open_database(home.database_url)
    with reading(engine) as connection:
        rows = [str(row) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    engine.dispose()
    return "\n".join(rows)


@pytest.mark.parametrize("home", ["plain", "postgres"], indirect=True)
async def test_keys_and_content_are_kept_nowhere(home: Home, log: Records) -> None:
    """Looked for while sessions run, files and logs included, and when all is over."""
    async with home.simulating() as simulator, tapping(simulator.port) as behind:
        url = f"http://127.0.0.1:{behind.port}/v1"
        async with home.open(upstream_url=url, linger_s=0.3) as place:
            headers = {
                "Authorization": f"Bearer {home.secret}",
                "Cookie": f"c={SAID}",
                "X-Api-Key": home.secret,
            }
            async with place.connected(
                f"model=gpt-realtime&api-key={home.secret}", headers=headers
            ) as client:
                await tell_everything(client)
                live = dict(files_of(home))
            async with place.connected(sim="mute_cancel,words:400", headers=headers) as client:
                await client.configure(instructions=INSTRUCTIONS)
                await client.say(SAID)
                await client.send("response.create")
                await client.until("response.output_audio.delta")
                reset(client.connection.transport)
            answers = await refusals(place)
            booked = await place.over()
            metrics = await place.metrics()
            (first, *_) = [row.id for row in home.sessions()]
            shown = str(await place.session(first))
        upstream = "".join(tapped.request for tapped in behind.connections)
    assert len(booked) == 6
    kept = {"log": log.text, "metrics": metrics, "answers": answers, "rows": rows_of(home), "shown": shown}
    kept |= {name: data.decode(errors="replace") for name, data in files_of(home)}
    kept |= {f"{name}, live": data.decode(errors="replace") for name, data in live.items()}
    assert {"journal.db", "journal.db-wal, live"} <= kept.keys()
    assert "ses_" in kept["journal.db"] + kept["journal.db-wal, live"]  # it can be found
    assert "session ended" in kept["log"]
    for place_, text in kept.items():
        for key in (home.secret, home.secret[8:], UPSTREAM_KEY, STRANGER):
            assert key not in text, f"a key is in {place_}"
        for content in CONTENT:
            assert content not in text, f"{content} is in {place_}"
    for ours in (home.secret, home.secret[8:], STRANGER, "Cookie", "X-Api-Key", "Talkmeter"):
        assert ours not in upstream


async def test_no_tenant_reaches_another_ones(home: Home) -> None:
    """Neither sessions nor figures; tags and users of one do not show in the other's."""
    other = add_key(home.database_url, "other")
    async with home.open() as place:
        async with place.connected(headers={"Authorization": f"Bearer {other}"}) as client:
            await client.configure()
            await client.respond()
            (session_id,) = place.app.gateway.sessions
            assert (await place.session(session_id))[0] == 404
            assert (await place.session(session_id, other))[0] == 200
        await place.over()
        assert (await place.session(session_id))[0] == 404
        assert (await place.session(session_id, other))[0] == 200
    (row,) = home.sessions()
    assert row.tenant == "other"
