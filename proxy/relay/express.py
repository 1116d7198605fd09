"""The short way for what nearly all traffic is: whole audio messages of one frame and usual size."""

from typing import Final

from proxy.dialects.bulk import Audio
from proxy.dialects.ear import Ear
from proxy.relay.received import Received
from proxy.relay.wire import toggle_mask

_MASKED: Final = b"\x81\xfe"  # final, text, a length of two bytes, then a key
_PLAIN: Final = b"\x81\x7e"
_BACKSLASH: Final = 0x5C  # as a number it is found in a quarter of the time
_LENGTH_MIN: Final = 126  # what is shorter has to be encoded in one byte


def audio_run(received: Received, masked: bool, length_max: int, ear: Ear, heard: list[Audio]) -> None:
    """Move `received` past the whole bulk messages that it begins with; add each to `heard`.

    It has to be between messages. The run ends before anything else, malformed frames included; if that is
    a part of one more frame of this kind, what is missing is asked for. The scanner would find the same
    step by step, at twice the cost.
    """
    data, at, here = received.data, received.pos, len(received.data)
    usual, head = (_MASKED, 8) if masked else (_PLAIN, 4)
    view, chars_in = memoryview(data), ear.chars
    while data.startswith(usual, at) and at + head <= here:
        begin = at + head
        length = data[at + 2] << 8 | data[at + 3]
        end = begin + length
        if not _LENGTH_MIN <= length <= length_max:
            break
        if end > here:
            received.need = head + length
            break
        if masked:
            payload = toggle_mask(view[begin:end], data[at + 4 : begin])
            chars = chars_in(payload, 0, length, _BACKSLASH not in payload)
        else:
            chars = chars_in(data, begin, end)
        if chars < 0:
            break
        heard.append(Audio(chars, ear.response_id))
        at = end
    received.pos = at


def lone_audio(data: bytes, masked: bool, length_max: int, ear: Ear) -> int:
    """Return the audio characters of `data` if it is one whole bulk message and nothing else, else -1.

    At the pace of speech that is what a read returns: a session's messages are far apart.
    """
    begin, size = 8 if masked else 4, len(data)
    if size < begin or not data.startswith(_MASKED if masked else _PLAIN):
        return -1
    length = data[2] << 8 | data[3]
    if begin + length != size or not _LENGTH_MIN <= length <= length_max:
        return -1
    # A key has four bytes and a header eight: unmasking both makes nonsense of the header only.
    plain = toggle_mask(data, data[4:8]) if masked else data
    return ear.chars(plain, begin, size, _BACKSLASH not in plain)
