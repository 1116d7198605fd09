"""`/ledger`: every billed thing, one entry each."""

from typing import Annotated, Literal

from pydantic import Field

from proxy.admin.api.models import (
    At,
    Dollars,
    EntryId,
    Flag,
    Id,
    Input,
    Model,
    NameOrId,
    Nanousd,
    Nothing,
    Output,
    Paged,
    PageParams,
    PeriodParams,
    with_usd,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import period
from proxy.admin.api.routes import EVERYONE, Answer, Call, Route
from proxy.core.records import Kind
from proxy.store.filters import Filters
from proxy.store.ledger import Booked, find_entry, page_of_entries


class LineOut(Output):
    """One meter's part of an entry. Price and cost are null where no card had a price."""

    meter: str
    quantity: int
    unit: str
    price_nanousd: Nanousd | None
    price_usd: Dollars | None
    price_per: int | None = Field(description="For so many of `unit`.")
    cost_nanousd: Nanousd | None
    cost_usd: Dollars | None
    rate_card_id: str | None


class EntryOut(Output):
    """A ledger entry."""

    id: int
    occurred_at: At
    tenant: str
    project: str | None
    api_key_id: str | None
    session_id: str | None
    upstream_session_id: str | None
    model: str | None
    kind: str
    role: str
    subject_id: str
    status: str
    status_reason: str | None
    rated: bool
    estimated: bool
    flags: list[str]
    period: str
    cost_nanousd: Nanousd | None
    cost_usd: Dollars | None
    billed_nanousd: Nanousd | None
    billed_usd: Dollars | None
    corrects: int | None
    lines: list[LineOut]


class LedgerParams(PageParams, PeriodParams):
    """Which entries."""

    tenant: Annotated[NameOrId | None, Field(description="Only of this tenant (name or id).")] = None
    project: Annotated[NameOrId | None, Field(description="Only of this project (name or id).")] = None
    key: Annotated[Id | None, Field(description="Only of this API key (id).")] = None
    session: Annotated[Id | None, Field(description="Only of this session.")] = None
    model: Annotated[Model | None, Field(description="Only of this model.")] = None
    kind: Annotated[Kind | None, Field(strict=False, description="Only of this kind.")] = None
    unrated: Annotated[Flag, Field(description="Only entries without a price.")] = False
    order: Annotated[Literal["asc", "desc"], Field(description="By id; `desc`: the newest first.")] = "asc"


class EntryPath(Input):
    """Which entry."""

    entry_id: EntryId


def list_entries(call: Call[LedgerParams, Nothing]) -> Answer:
    """Answer with a page of entries, by id: in the order of the chain."""
    wanted = call.params
    start, end = period(wanted, call.context.zone)
    filters = Filters(
        start=start,
        end=end,
        tenant=wanted.tenant,
        project=wanted.project,
        key=wanted.key,
        model=wanted.model,
        session=wanted.session,
        kind=wanted.kind,
        unrated=wanted.unrated,
        within=call.within,
    )
    return paged(
        call,
        lambda page: page_of_entries(call.connection, filters, page),
        key=lambda one: (one.id,),
        kinds=(int,),
        show=shown,
        newest_first=wanted.order == "desc",
    )


def show_entry(call: Call[EntryPath, Nothing]) -> Answer:
    """Answer with one entry."""
    return Answer(shown(find_entry(call.connection, call.params.entry_id, call.within)))


def shown(one: Booked) -> EntryOut:
    """Return an entry as it is answered."""
    return EntryOut.model_validate(with_usd(one.as_json()), strict=False)


ROUTES = (
    Route(
        method="GET",
        path="/ledger",
        summary="List ledger entries",
        roles=EVERYONE,
        handler=list_entries,
        params=LedgerParams,
        result=Paged[EntryOut],
    ),
    Route(
        method="GET",
        path="/ledger/{entry_id}",
        summary="Show a ledger entry",
        roles=EVERYONE,
        handler=show_entry,
        params=EntryPath,
        result=EntryOut,
    ),
)
