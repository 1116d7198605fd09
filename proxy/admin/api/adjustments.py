"""`/adjustments`: amounts that people book beside what was metered, each with a reason."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.admin.api.approvals import ApprovalOut, asked
from proxy.admin.api.entries import EntryWhole, shown_whole
from proxy.admin.api.models import EntryId, Input, NameOrId, Nothing, Text, Time, Usd
from proxy.admin.api.periods import instant
from proxy.admin.api.routes import BOOKKEEPERS, Answer, Call, Route
from proxy.core.money import parse_usd
from proxy.core.records import Kind
from proxy.store.adjustments import KEY_CHARS_MAX, Adjustment
from proxy.store.approvals import Approval
from proxy.store.audit import REASON_CHARS_MAX
from proxy.store.four_eyes import book_or_ask
from proxy.store.ledger import find_entry

Key = Annotated[Text, Field(min_length=1, max_length=KEY_CHARS_MAX)]


class AdjustmentNew(Input):
    """An adjustment or a credit to be booked."""

    kind: Literal["adjustment", "credit"]
    tenant: NameOrId
    project: NameOrId | None = None
    key: Annotated[Key, Field(description="What makes it this one: booked once, for ever.")]
    reason: Annotated[Text, Field(min_length=1, max_length=REASON_CHARS_MAX)]
    cost_usd: Annotated[Usd | None, Field(description="Of an adjustment: what the provider charges.")] = None
    billed_usd: Annotated[Usd | None, Field(description="What the tenant owes; of a credit, below 0.")] = None
    provider: Annotated[Key, Field(description="Whose services it is about.")] = "openai"
    occurred_at: Annotated[Time | None, Field(description="Now if left out.")] = None
    corrects: Annotated[EntryId | None, Field(description="The entry that it puts right.")] = None

    @model_validator(mode="after")
    def _has_an_amount(self) -> Self:
        if self.cost_usd is None and self.billed_usd is None:
            raise ValueError("give cost_usd, billed_usd or both")
        return self


def book_adjustment(call: Call[Nothing, AdjustmentNew]) -> Answer:
    """Book it, find that it was booked before, or ask for it."""
    wanted, zone = call.body, call.context.zone
    booking = book_or_ask(
        call.connection,
        Adjustment(
            key=wanted.key,
            kind=Kind(wanted.kind),
            tenant=call.tenant(wanted.tenant).id,
            project=wanted.project,
            provider=wanted.provider,
            cost_nanousd=parse_usd(wanted.cost_usd or "0"),
            billed_nanousd=parse_usd(wanted.billed_usd or "0"),
            occurred_at=instant("body", "occurred_at", wanted.occurred_at, zone),
            corrects=wanted.corrects,
        ),
        call.act(),
        zone,
        call.context.four_eyes,
    )
    if isinstance(booking, Approval):
        return asked(booking)
    entry = find_entry(call.connection, booking.entry_id, call.within)
    location = {"Location": f"/api/v1/ledger/{entry.id}"}
    return Answer(shown_whole(call, entry), 201 if booking.new else 200, location)


ROUTES = (
    Route(
        method="POST",
        path="/adjustments",
        summary="Book an adjustment or a credit; a repeated key finds the first one",
        roles=BOOKKEEPERS,
        handler=book_adjustment,
        body=AdjustmentNew,
        result=EntryWhole,
        status=201,
        asked=ApprovalOut,
    ),
)
