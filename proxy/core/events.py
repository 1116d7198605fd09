"""What peers say, once understood. A dialect turns messages into these; the session reads them.

An event carries ids, counts and settings, never content. Structs: one is made of nearly every message.
"""

from enum import Enum

from msgspec import Struct

from proxy.core.refusal import Refusal
from proxy.core.usage import Reported


class Side(Enum):
    """Where a message came from, or where one is sent."""

    CLIENT = "client"
    UPSTREAM = "upstream"


class Other(Struct, frozen=True):
    """Anything that changes neither money nor state: relayed."""


class Unreadable(Struct, frozen=True):
    """A message that could not be understood: not JSON, not an object, duplicate keys, too deep.

    A client's is refused; an upstream's is relayed, since what it bills must reach the client too.
    """

    problem: str
    event_id: str | None = None


class SessionUpdateAsked(Struct, frozen=True):
    """The client wants other settings. None: not mentioned."""

    event_id: str | None = None
    model: str | None = None
    transcription_model: str | None = None
    text_chars: int = 0  # of instructions and tools


class SessionConfigured(Struct, frozen=True):
    """The upstream says what the session is now. Absent settings are None: keep what was known."""

    created: bool
    upstream_session_id: str | None = None
    model: str | None = None
    transcription_model: str | None = None
    transcription_told: bool = False  # the transcription settings were present, even if null
    input_bytes_per_s: int | None = None
    output_bytes_per_s: int | None = None
    answers_by_itself: bool | None = None  # turn detection starts responses nobody asks for


class ItemAsked(Struct, frozen=True):
    """The client adds a conversation item: so much text, so much audio (base64 characters), images."""

    event_id: str | None = None
    text_chars: int = 0
    audio_chars: int = 0
    images: int = 0
    from_user: bool = False  # a message whose role is `user`


class InputAudio(Struct, frozen=True):
    """The client appends `chars` of base64 audio in an unusual spelling (else by `Session.hear`)."""

    chars: int
    event_id: str | None = None


class ResponseAsked(Struct, frozen=True):
    """The client asks for a response."""

    event_id: str | None = None
    out_of_band: bool = False
    text_chars: int = 0  # of instructions, tools and inline input
    audio_chars: int = 0  # of inline input: base64 characters
    images: int = 0
    from_user: bool = False  # a message of the user is in the inline input


class ResponseStarted(Struct, frozen=True):
    """The upstream has started a response, asked for or not."""

    response_id: str
    out_of_band: bool = False
    bytes_per_s: int | None = None  # of its audio; None: it does not tell, and has the session's format


class OutputItemAdded(Struct, frozen=True):
    """A running response begins a message: the audio that follows belongs to it."""

    response_id: str
    item_id: str


class ResponseText(Struct, frozen=True):
    """A running response produced text, a transcript or tool arguments: `chars` of it."""

    response_id: str
    chars: int


class ResponseAudio(Struct, frozen=True):
    """A running response produced audio, `chars` of base64 (bulk audio comes by `Session.hear`)."""

    response_id: str
    chars: int


class ResponseEnded(Struct, frozen=True):
    """A response is over, whatever its status; `usage` is the bill, None if there was none.

    `response_id` is None when the upstream left it out.
    """

    response_id: str | None
    status: str
    reason: str | None
    usage: Reported | None
    out_of_band: bool = False  # billed, but not part of the conversation that follows


class SpeechHeard(Struct, frozen=True):
    """Turn detection heard speech start or stop, so many milliseconds into the input audio."""

    start_ms: int | None = None
    end_ms: int | None = None


class InputTimedOut(Struct, frozen=True):
    """Turn detection has waited for the user in vain: it commits the silence as an item, and answers that."""

    item_id: str
    start_ms: int | None = None  # of the silence, into the input audio
    end_ms: int | None = None


class InputCleared(Struct, frozen=True):
    """What was heard from the user and not committed is thrown away."""


class ContextCut(Struct, frozen=True):
    """The conversation got shorter: an item was deleted, or an answer that was not heard was truncated."""


class TruncateAsked(Struct, frozen=True):
    """The client says that only the first `heard_ms` of an answer's audio were played."""

    item_id: str
    heard_ms: int


class CommitAsked(Struct, frozen=True):
    """The client commits what the user has said."""


class InputCommitted(Struct, frozen=True):
    """User audio became a conversation item; if transcription is on, a transcription will follow."""

    item_id: str


class TranscriptionEnded(Struct, frozen=True):
    """An input transcription is over: billed on the transcription model's own card."""

    item_id: str
    content_index: int
    usage: Reported | None


class TranscriptionFailed(Struct, frozen=True):
    """An input transcription failed, and says no usage: whether it is billed is not known, so unrated."""

    item_id: str
    content_index: int


Transcribed = TranscriptionEnded | TranscriptionFailed


class UpstreamError(Struct, frozen=True):
    """The upstream complains; `caused_by` is the event id of the message it complains about."""

    caused_by: str | None
    code: str | None


class StopAsked(Struct, frozen=True):
    """The session has to end now (from neither side): an administrator's stop, a revoked key."""

    refusal: Refusal


class Gone(Struct, frozen=True):
    """That side will send no more: closed, aborted, stalled or cut."""

    reason: str


class LingerPassed(Struct, frozen=True):
    """The upstream was given its time to finish what is open, and has not."""


class CostLook(Struct, frozen=True):
    """A running response's cost has to be looked at (from neither side)."""

    response_id: str | None  # None: the only one there is


class BudgetsChanged(Struct, frozen=True):
    """Other accounts enclose the session, or others are enough (from neither side)."""


class Tick(Struct, frozen=True):
    """A second has passed (from neither side)."""


Event = (
    Other
    | Unreadable
    | SessionUpdateAsked
    | SessionConfigured
    | ItemAsked
    | InputAudio
    | ResponseAsked
    | ResponseStarted
    | OutputItemAdded
    | ResponseText
    | ResponseAudio
    | ResponseEnded
    | SpeechHeard
    | InputTimedOut
    | InputCleared
    | ContextCut
    | TruncateAsked
    | CommitAsked
    | InputCommitted
    | TranscriptionEnded
    | TranscriptionFailed
    | UpstreamError
    | StopAsked
    | Gone
    | LingerPassed
    | CostLook
    | BudgetsChanged
    | Tick
)
