"""What a session tells the tunnel to do. The tunnel performs commands in order and decides nothing."""

from msgspec import Struct

from proxy.core.allowance import Need
from proxy.core.events import Event, Side
from proxy.core.records import Record
from proxy.core.refusal import Refusal


class Journal(Struct, frozen=True):
    """Write `record`. If `wait`, nothing later in this direction leaves before it is on disk."""

    record: Record
    wait: bool = True


class Forward(Struct, frozen=True):
    """Pass the message on, byte for byte."""


class Drop(Struct, frozen=True):
    """Do not pass the message on."""


class Cancel(Struct, frozen=True):
    """Our own `response.cancel`; without a response id, whatever runs."""

    event_id: str
    response_id: str | None = None


class Explain(Struct, frozen=True):
    """Our own `error` event: `refusal`, and the client event it answers if there was one."""

    event_id: str
    refusal: Refusal
    caused_by: str | None = None


class Remark(Struct, frozen=True):
    """Our own system item: what the model should know before its last words."""

    event_id: str
    text: str


class Answer(Struct, frozen=True):
    """Our own `response.create`, bounded in output tokens."""

    event_id: str
    output_tokens_max: int


class Ask(Struct, frozen=True):
    """Ask for more money than is at hand; then let the session receive `again`, and whether it is refused.

    Nothing later in this direction is looked at before that.
    """

    needs: tuple[Need, ...]
    again: Event


Message = Cancel | Explain | Remark | Answer


class Send(Struct, frozen=True):
    """Send a message of our own; the dialect spells it."""

    to: Side
    message: Message


class Close(Struct, frozen=True):
    """Close the client's connection; the upstream lingers until the session is settled."""

    code: int
    reason: str  # at most 123 bytes
    refusal: Refusal | None = None  # what it is for


Command = Journal | Forward | Drop | Send | Close | Ask
