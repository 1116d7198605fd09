"""What can be made to go wrong, for one session by `?sim=name:value,name` or for all by option."""

from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class Faults:
    """Misbehaviour of one session; everything is off by default.

    "n audio deltas" are counted over the session, from 1, and the fault strikes after the nth left.
    """

    # before the session
    delay_handshake: float | None = None  # seconds until the 101
    refuse_http: int | None = None  # answer the handshake with this status
    refuse: str | None = None  # 101, then an `error` with this type and code, then close 4000

    # the connection
    abort_after_audio: int | None = None  # TCP reset after n audio deltas
    drop_after_audio: int | None = None  # TCP end without a close frame after n audio deltas
    close_after_audio: int | None = None  # close 1011 after n audio deltas
    stall_after_audio: int | None = None  # nothing is sent any more after n audio deltas (0: at once)
    abort_before_done: bool = False  # TCP reset instead of response.done
    abort_after_done: bool = False  # TCP reset right behind response.done
    fragment: int | None = None  # every message in frames of so many characters
    expire: float | None = None  # seconds until `session_expired` and the end
    obfuscation: bool = False  # deltas carry a random extra string, as OpenAI's do

    # the response
    slow_response: float | None = None  # seconds from response.created to the first output
    words: int | None = None  # every answer has so many words
    fail: str | None = None  # every response fails with this code and usage null
    content_filter: bool = False  # every response ends incomplete after its first word
    ignore_cancel: bool = False  # a cancel has no effect: the answer runs on to its end
    mute_cancel: bool = False  # a cancel ends the output, and response.done never comes
    ahead: int | None = None  # audio tokens generated, and billed, beyond those sent when cancelled
    early_cancel: str | None = None  # usage when cancelled before output: "zero", "null" or "usage"

    # the usage
    duplicate_done: bool = False  # response.done twice
    unknown_done: bool = False  # one more response.done, with usage, for a response never created
    omit_usage: bool = False  # response.done without the field
    null_usage: bool = False
    zero_usage: bool = False
    no_details: bool = False  # totals without any details
    cached_without_details: bool = False  # cached_tokens without cached_tokens_details
    totals_mismatch: bool = False  # totals 7 less than their parts
    snapshot: str | None = None  # session.created names the dated snapshot model-<value>

    # the transcription
    late_transcription: float | None = None  # seconds from committed to the transcription
    omit_transcription_usage: bool = False
    fail_transcription: bool = False

    def __post_init__(self) -> None:
        if self.early_cancel not in (None, "zero", "null", "usage"):
            raise ValueError(f"early_cancel cannot be {self.early_cancel!r}: zero, null or usage")


_HINTS = get_type_hints(Faults)


def parse(text: str, defaults: Faults | None = None) -> Faults:
    """Return the faults of a `sim=` parameter: names with commas between, values after a colon.

    Raises ValueError, saying what is known, on an unknown name or a value of the wrong kind.
    """
    chosen: dict[str, Any] = {}
    if defaults is not None:
        chosen = {field.name: getattr(defaults, field.name) for field in fields(Faults)}
    for word in filter(None, text.split(",")):
        name, colon, value = word.partition(":")
        if name not in _HINTS:
            raise ValueError(f"unknown fault {name!r}; known are {', '.join(sorted(_HINTS))}")
        chosen[name] = _value(name, value if colon else None)
    return Faults(**chosen)


def _value(name: str, value: str | None) -> Any:
    hint = _HINTS[name]
    if hint is bool:
        if value is not None:
            raise ValueError(f"fault {name!r} takes no value")
        return True
    if value is None:
        raise ValueError(f"fault {name!r} needs a value: {name}:…")
    return get_args(hint)[0](value)  # int, float or str; ValueError from the first two
