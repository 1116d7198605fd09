"""The short way for what nearly all traffic is: whole audio messages of one frame and usual size."""

from typing import Final

from proxy.dialects.bulk import Audio, Recogniser
from proxy.relay.wire import unmask

_MASKED: Final = b"\x81\xfe"  # final, text, a length of two bytes, then a key
_PLAIN: Final = b"\x81\x7e"
_LENGTH_MIN: Final = 126  # what is shorter has to be encoded in one byte


def audio_run(
    data: bytes, at: int, masked: bool, length_max: int, bulk: Recogniser, heard: list[Audio]
) -> int:
    """Return where the run of whole bulk messages that begins at `data[at]` ends; add each to `heard`.

    The run ends before anything else, a malformed frame or a part of one included. `at` has to be between
    messages. The scanner would find the same step by step, at twice the cost.
    """
    usual = _MASKED if masked else _PLAIN
    here = len(data)
    while at + 8 <= here and data.startswith(usual, at):
        begin = at + (8 if masked else 4)
        length = data[at + 2] << 8 | data[at + 3]
        end = begin + length
        if end > here or not _LENGTH_MIN <= length <= length_max:
            break
        audio = bulk.whole(unmask(data[begin:end], data[at + 4 : begin] if masked else None))
        if audio is None:
            break
        heard.append(audio)
        at = end
    return at
