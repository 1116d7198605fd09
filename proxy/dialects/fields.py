"""Reading JSON messages: strictly what a client says, leniently what the upstream says.

`..._in` return a field if it is of the type that was expected, else as if it were absent.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

STRUCTURE_MAX = 65_536  # of `[`, `{` and `,` in a client's message: more is a bomb, not a conversation
UPSTREAM_STRUCTURE_MAX = 16 * STRUCTURE_MAX  # it repeats in one message what a client said in several
ID_CHARS_MAX = 256  # of an id or a model's name: they are keys in the ledger
EVENT_ID_CHARS_MAX = 512  # of an event's id, as at OpenAI: a longer one is never accepted
NUMBER_MAX = 10**12  # beyond any count; far below where floats and databases end

Fields = Mapping[str, Any]
T = TypeVar("T")


class _Envelope(msgspec.Struct):
    type: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode = msgspec.json.Decoder().decode


class UnreadableJson(ValueError):
    """Why a message cannot be read; about a client's message, the text is for its developer."""


def read_strictly(payload: bytes) -> Fields:
    """Return the one JSON object that every parser reads `payload` as.

    Raises:
        UnreadableJson: it is not JSON, not an object, ambiguous or out of proportion.
    """
    if _is_bomb(payload, STRUCTURE_MAX):
        raise UnreadableJson(f"The message has more than {STRUCTURE_MAX} JSON elements.")
    try:
        fields = json.loads(payload.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise UnreadableJson("The message is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise UnreadableJson(f"The message is not JSON: {error.msg} at character {error.pos}.") from None
    except RecursionError:
        raise UnreadableJson("The message is nested too deeply.") from None
    except ValueError as error:
        if isinstance(error, UnreadableJson):
            raise
        raise UnreadableJson("The message has a number that is too long.") from None
    if not isinstance(fields, dict):
        raise UnreadableJson("The message is not a JSON object.")
    return fields


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise UnreadableJson("The message names a key twice in one object.")
    return fields


def _no_constant(name: str) -> object:
    raise UnreadableJson(f"The message has {name}, which is not JSON.")


def read_leniently(payload: bytes, wanted: Mapping[str, T]) -> tuple[T | None, Fields]:
    """Return what `wanted` has for the type of the message, and its fields, empty if that is nothing.

    Half a surrogate pair in a transcript, NaN, or a byte that is not UTF-8 must not cost a bill: what the
    strict and fast decoder refuses, a lenient one reads. So must not that a client had many settings echoed.

    Raises:
        UnreadableJson: it is out of proportion, or no JSON object at all.
    """
    if _is_bomb(payload, UPSTREAM_STRUCTURE_MAX):
        raise UnreadableJson("out of proportion")
    try:
        found = wanted.get(text_in(_decode_envelope(payload).type) or "")
        return found, dict_in(_decode(payload)) if found else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = _salvage(payload)
        return wanted.get(text_in(fields.get("type")) or ""), fields


def _salvage(payload: bytes) -> Fields:
    try:
        fields = json.loads(payload.decode("utf-8", "replace").removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UnreadableJson(f"not JSON: {type(error).__name__}") from None
    if not isinstance(fields, dict):
        raise UnreadableJson("not a JSON object")
    return fields


def _is_bomb(payload: bytes, structure_max: int) -> bool:
    """Tell whether `payload` has more than so many `[`, `{` and `,`. Those in its texts are none."""
    if len(payload) <= structure_max or _structure(payload) <= structure_max:
        return False
    bare = payload.replace(rb"\\", b"").replace(rb"\"", b"")  # every quote in it begins a text or ends one
    if bare.count(b'"') > 4 * structure_max:  # of two texts, a name and its value, at least one has a mark
        return True
    return _structure(b"".join(bare.split(b'"')[::2])) > structure_max


def _structure(payload: bytes) -> int:
    return payload.count(b"{") + payload.count(b"[") + payload.count(b",")


def dict_in(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def list_in(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text_in(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def id_in(value: object) -> str | None:
    """Return an id or a model's name. One that is absurdly long or unprintable is told apart by its hash.

    Neither the journal nor PostgreSQL can keep half a surrogate pair or a NUL.
    """
    text = text_in(value)
    if text is None or (len(text) <= ID_CHARS_MAX and text.isprintable()):
        return text
    shown = "".join(c if c.isprintable() else "?" for c in text[:64])
    return f"{shown}~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def event_id_in(fields: Fields) -> str | None:
    """Return a client event's id, which is kept until the event is answered; None if it is absurdly long."""
    text = text_in(fields.get("event_id"))
    return text if text is None or len(text) <= EVENT_ID_CHARS_MAX else None


def number_in(value: object) -> float | None:
    """Return a number between ± `NUMBER_MAX`; NaN is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return min(max(value, -NUMBER_MAX), NUMBER_MAX)


def whole_in(value: object) -> int | None:
    """Return a number without its fraction, not negative."""
    number = number_in(value)
    return None if number is None else max(0, int(number))


def chars_in(value: object) -> int:
    """Return how long a text is, by which its tokens are estimated: in characters of English.

    A character outside of ASCII counts as its bytes in UTF-8, since tokens are made of those: four letters of
    Cyrillic are about two tokens, four of Chinese three.
    """
    if not isinstance(value, str):
        return 0
    return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))


def json_chars_in(value: object) -> int:
    return len(json.dumps(value)) if value else 0
