"""Recognise an audio message by the look of the one before it: within a session they hardly differ.

    {"type":"response.output_audio.delta","event_id":"event_C7","response_id":"resp_1","delta":"UklGRg…"}
    └──────────────────── head ────────────────────┘└─ id ─┘└────────── neck ──────────┘└─ value ─┘└tail┘

What was read strictly once (`bulk.py`) is remembered: its head, its neck and its tail. A message with the
same ones, an id of the same length and a value without `"` and `\\` in between is the same JSON but for what
two strings say. So it is bulk too, and nothing has to be decoded to know it. Padding behind the audio may
differ like the id, and in length. Anything else is read strictly again: never wrong, only slower.
"""

from typing import Final

from proxy.dialects.bulk import ENVELOPE_BYTES_MAX, LOOK_BYTES, Found, Recogniser

_NEVER: Final = b"\xff"  # how no message begins


class Ear:
    """Hears the audio of one direction of one session."""

    __slots__ = (
        "_head",
        "_id_at",
        "_id_end",
        "_neck",
        "_pad",
        "_tail",
        "_value_at",
        "recogniser",
        "response_id",
    )

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        self.response_id: str | None = None  # the one that what was heard last belongs to
        self._forget()

    def chars(self, data: bytes, begin: int, end: int, is_unescaped: bool = False) -> int:
        """Return how many base64 characters of audio the message `data[begin:end]` has.

        -1 if it is not bulk audio beyond doubt. `response_id` says whose audio it is. `is_unescaped` says
        that there is no backslash in `data`: whoever has looked saves that.
        """
        value = begin + self._value_at
        quote = data.find(b'"', value, end)
        if (
            data.startswith(self._head, begin)
            and (data[quote:end] == self._tail or self._is_padded(data[quote:end]))
            and (is_unescaped or data.find(b"\\", value, quote) < 0)
        ):
            neck = self._neck
            if not neck:
                return quote - value
            id_end = begin + self._id_end
            if data.startswith(neck, id_end) and _is_plain(data[begin + self._id_at : id_end]):
                return quote - value
        return self._strictly(data[begin:end])

    def _is_padded(self, tail: bytes) -> bool:
        """Tell whether `tail` is the same but for its padding."""
        if not self._pad or not tail.startswith(self._tail) or not tail.endswith(self._pad):
            return False
        if self._value_at + len(tail) > ENVELOPE_BYTES_MAX:
            return False
        return _is_plain(tail[len(self._tail) : -len(self._pad)])

    def _strictly(self, payload: bytes) -> int:
        found = self.recogniser.find(payload)
        if found is None:
            return -1
        self.response_id = found.envelope.response_id or None
        self._learn(payload, found)
        return found.end - found.begin

    def _learn(self, payload: bytes, found: Found) -> None:
        """Remember the look of a message."""
        self._forget()
        head, tail = payload[: found.begin], payload[found.end :]
        ending = self.recogniser.ending
        ids = [found.envelope.event_id, found.envelope.obfuscation]
        here = [at for at in (_place(text, head, tail, self.recogniser) for text in ids) if at]
        before = [(at, end) for at, end in here if end <= len(head)]
        behind = [(at - len(head), end - len(head)) for at, end in here if end > len(head)]
        if len(before) > 1 or len(behind) > 1:
            return
        if head.find(ending, 0, LOOK_BYTES) < 0 and (behind or tail.find(ending, -LOOK_BYTES) < 0):
            return
        self._value_at = len(head)
        self._head, self._tail = head, tail
        if before:
            self._id_at, self._id_end = before[0]
            self._head, self._neck = head[: self._id_at], head[self._id_end :]
        if behind:
            at, end = behind[0]
            self._tail, self._pad = tail[:at], tail[end:]

    def _forget(self) -> None:
        self._head, self._neck, self._tail, self._pad = _NEVER, b"", b"", b""
        self._value_at = self._id_at = self._id_end = 0


def _place(text: str, head: bytes, tail: bytes, recogniser: Recogniser) -> tuple[int, int] | None:
    """Return where in head and tail together the value `text` stands, if that is beyond doubt."""
    value = text.encode()
    quoted = b'"%s"' % value
    envelope = head + tail
    if not _is_plain(value) or envelope.count(quoted) != 1 or len(quoted) == len(recogniser.member):
        return None
    at = envelope.find(quoted) + 1
    return at, at + len(value)


def _is_plain(text: bytes) -> bool:
    """Tell whether an id can neither end its string nor be malformed: letters, digits, `-` and `_`."""
    return text.translate(None, b"-_").isalnum()
