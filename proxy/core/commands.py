"""What a session tells the tunnel to do. The tunnel performs commands in order and decides nothing."""

from dataclasses import dataclass

from proxy.core.allowance import Need
from proxy.core.events import Event, Side
from proxy.core.records import Record
from proxy.core.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Journal:
    """Write `record`. If `wait`, nothing later in this direction leaves before it is on disk."""

    record: Record
    wait: bool = True


@dataclass(frozen=True, slots=True)
class Forward:
    """Pass the message on, byte for byte."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Do not pass the message on."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Our own `response.cancel`; without a response id, whatever runs."""

    event_id: str
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class Explain:
    """Our own `error` event: `refusal`, and the client event it answers if there was one."""

    event_id: str
    refusal: Refusal
    caused_by: str | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """Our own system item: what the model should know before its last words."""

    event_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Our own `response.create`, bounded in output tokens."""

    event_id: str
    output_tokens_max: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for more money than is at hand; then let the session receive `again`, and whether it is refused.

    Nothing later in this direction is looked at before that.
    """

    needs: tuple[Need, ...]
    again: Event


Message = Cancel | Explain | Remark | Answer


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message of our own; the dialect spells it."""

    to: Side
    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """Close the client's connection; the upstream lingers until the session is settled."""

    code: int
    reason: str  # at most 123 bytes
    refusal: Refusal | None = None  # what it is for


Command = Journal | Forward | Drop | Send | Close | Ask
