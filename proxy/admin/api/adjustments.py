"""`/adjustments` and `/credits`: amounts that people book beside what was metered, each with a reason."""

from typing import Annotated

from pydantic import Field, model_validator

from proxy.admin.api.ledger import EntryOut, shown
from proxy.admin.api.models import (
    EntryId,
    Input,
    NameOrId,
    Nothing,
    Output,
    Paged,
    PageParams,
    PeriodParams,
    Reason,
    Text,
    Time,
    Usd,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import instant, period
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import BOOKKEEPERS, FINANCE_READERS, Answer, Call, Route
from proxy.core.money import parse_usd
from proxy.core.records import Kind
from proxy.store.adjustments import KEY_CHARS_MAX, KINDS, Adjustment, book
from proxy.store.filters import Filters
from proxy.store.ledger import find_entry, page_of_entries


class BookedOut(Output):
    """What was booked, and whether by this request: a key books once, for ever."""

    new: bool
    entry: EntryOut


class Booking(Input):
    """What an adjustment and a credit have in common."""

    key: Annotated[
        Text,
        Field(
            min_length=1, max_length=KEY_CHARS_MAX, description="Such as an invoice's number: booked once."
        ),
    ]
    tenant: NameOrId
    project: NameOrId | None = None
    provider: Annotated[Text, Field(min_length=1, max_length=KEY_CHARS_MAX)] = "openai"
    at: Annotated[Time | None, Field(description="The day or instant it is for; now if left out.")] = None
    corrects: Annotated[EntryId | None, Field(description="The entry that it puts right.")] = None
    reason: Annotated[Reason, Field(min_length=1)]


class AdjustmentNew(Booking):
    """An adjustment: either `amount_usd` for both, or what the provider charges, what the tenant owes."""

    amount_usd: Annotated[Usd | None, Field(description="Cost and billed alike; -5 takes from both.")] = None
    cost_usd: Annotated[Usd | None, Field(description="Only what the provider charges.")] = None
    billed_usd: Annotated[Usd | None, Field(description="Only what the tenant owes.")] = None

    @model_validator(mode="after")
    def _either_or(self) -> "AdjustmentNew":
        if (self.amount_usd is None) == (self.cost_usd is None and self.billed_usd is None):
            raise ValueError("give either `amount_usd`, or `cost_usd`, `billed_usd` or both")
        return self


class CreditNew(Booking):
    """A credit: what the tenant owes less. What the provider charges stays."""

    amount_usd: Annotated[Usd, Field(description="Above 0.")]


class AdjustmentParams(PageParams, PeriodParams):
    """Which adjustments and credits."""

    tenant: Annotated[NameOrId | None, Field(description="Only of this tenant (name or id).")] = None


def list_adjustments(call: Call[AdjustmentParams, Nothing]) -> Answer:
    """Answer with a page of adjustments and credits, the newest first."""
    start, end = period(call.params, call.context.zone)
    filters = Filters(
        start=start, end=end, tenant=call.params.tenant, kinds=frozenset(KINDS), within=call.within
    )
    return paged(
        call,
        lambda page: page_of_entries(call.connection, filters, page),
        key=lambda one: (one.id,),
        kinds=(int,),
        show=shown,
        newest_first=True,
    )


def adjust(call: Call[Nothing, AdjustmentNew]) -> Answer:
    """Book an adjustment."""
    wanted = call.body
    both = parse_usd(wanted.amount_usd) if wanted.amount_usd is not None else 0
    cost = parse_usd(wanted.cost_usd) if wanted.cost_usd is not None else both
    billed = parse_usd(wanted.billed_usd) if wanted.billed_usd is not None else both
    return _book(call, wanted, Kind.ADJUSTMENT, cost, billed)


def credit(call: Call[Nothing, CreditNew]) -> Answer:
    """Book a credit."""
    amount = parse_usd(call.body.amount_usd)
    if amount <= 0:
        raise invalid("body", "amount_usd", "a credit is above 0")
    return _book(call, call.body, Kind.CREDIT, 0, -amount)


def _book(
    call: Call[Nothing, AdjustmentNew] | Call[Nothing, CreditNew],
    wanted: Booking,
    kind: Kind,
    cost_nanousd: int,
    billed_nanousd: int,
) -> Answer:
    adjustment = Adjustment(
        key=wanted.key,
        kind=kind,
        tenant=call.tenant(wanted.tenant).id,
        project=wanted.project,
        provider=wanted.provider,
        cost_nanousd=cost_nanousd,
        billed_nanousd=billed_nanousd,
        corrects=wanted.corrects,
        occurred_at=instant("body", "at", wanted.at, call.context.zone),
    )
    booking = book(call.connection, adjustment, call.act(), call.context.zone)
    entry = shown(find_entry(call.connection, booking.entry_id))
    location = {"Location": f"/api/v1/ledger/{entry.id}"}
    return Answer(BookedOut(new=booking.new, entry=entry), 201 if booking.new else 200, location)


ROUTES = (
    Route(
        method="GET",
        path="/adjustments",
        summary="List adjustments and credits, the newest first",
        roles=FINANCE_READERS,
        handler=list_adjustments,
        params=AdjustmentParams,
        result=Paged[EntryOut],
    ),
    Route(
        method="POST",
        path="/adjustments",
        summary="Book an amount beside what was metered; no budget moves",
        roles=BOOKKEEPERS,
        handler=adjust,
        body=AdjustmentNew,
        result=BookedOut,
        status=201,
        also=(200,),
        creates=True,
    ),
    Route(
        method="POST",
        path="/credits",
        summary="Take an amount from what a tenant owes; no budget moves",
        roles=BOOKKEEPERS,
        handler=credit,
        body=CreditNew,
        result=BookedOut,
        status=201,
        also=(200,),
        creates=True,
    ),
)
