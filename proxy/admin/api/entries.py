"""`/ledger`: every billed thing, one entry each."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import (
    LIMIT,
    At,
    Dollars,
    EntryId,
    Flag,
    Id,
    Input,
    Model,
    Month,
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
from proxy.store import ledger
from proxy.store.filters import Filters
from proxy.store.ledger import Booked
from proxy.store.tokens import TokenRole

_OURS = ("cost", "list")
_CARDS = ("public_card_id", "rate_card_id", "price_nanousd", "price_per")


class LineOut(Output):
    """One meter's part of an entry. Amounts are null where there is no price."""

    meter: str
    quantity: int
    unit: str
    price_nanousd: Nanousd | None
    price_per: int | None
    rate_card_id: str | None
    list_nanousd: Nanousd | None
    list_usd: Dollars | None
    cost_nanousd: Nanousd | None
    cost_usd: Dollars | None
    billed_nanousd: Nanousd | None
    billed_usd: Dollars | None


class EntryOut(Output):
    """A ledger entry. Amounts are null when it is unrated."""

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
    list_nanousd: Nanousd | None
    list_usd: Dollars | None
    cost_nanousd: Nanousd | None
    cost_usd: Dollars | None
    billed_nanousd: Nanousd | None
    billed_usd: Dollars | None
    public_card_id: str | None
    agreed_card_id: str | None
    markup_bp: int | None
    corrects: int | None
    corrects_period: str | None
    archive: str | None = Field(description="The file that has its lines, which are not here any more.")
    lines: list[LineOut]


class EntryWhole(EntryOut):
    """A ledger entry, with what came of it later."""

    corrected_by: list[int] = Field(description="The entries that take it back, or stand in its place.")


class FilterParams(PeriodParams):
    """Which entries."""

    tenant: NameOrId | None = None
    project: NameOrId | None = None
    key: Annotated[Id | None, Field(description="Only of this API key (id).")] = None
    model: Model | None = None
    session: Annotated[Id | None, Field(description="Only of this session (id).")] = None
    period: Annotated[Month | None, Field(description="Only of this accounting month, YYYY-MM.")] = None


class EntryParams(PageParams, FilterParams):
    """Which entries, and which page of them."""

    kind: Annotated[Kind | None, Field(strict=False)] = None
    unrated: Annotated[Flag, Field(description="Only what has no price.")] = False
    newest_first: Annotated[Flag, Field(description="By id downwards, not upwards.")] = False


class EntryPath(Input):
    """Which entry."""

    entry_id: EntryId


def filters_of(call: Call[Any, Any]) -> Filters:
    """Return which entries a call asks for, as far as it may see them."""
    params: FilterParams = call.params
    start, end = period(params, call.context.zone)
    return Filters(
        start=start,
        end=end,
        tenant=params.tenant,
        project=params.project,
        key=params.key,
        model=params.model,
        session=params.session,
        period=params.period,
        within=call.within,
    )


def list_entries(call: Call[EntryParams, Nothing]) -> Answer:
    """Answer with a page of entries, by id."""
    params, filters = call.params, filters_of(call)
    kinds = frozenset({params.kind.value}) if params.kind else None
    wanted = Filters(
        **{name: getattr(filters, name) for name in Filters.__slots__}
        | {"kinds": kinds, "unrated": params.unrated}
    )
    return paged(
        call,
        lambda page: ledger.page_of_entries(
            call.connection,
            wanted,
            after=next(iter(page.after), None),
            limit=page.limit or LIMIT,
            newest_first=params.newest_first,
        ),
        key=lambda one: (one.id,),
        kinds=(int,),
        show=lambda one: shown(one, call.caller.role),
    )


def show_entry(call: Call[EntryPath, Nothing]) -> Answer:
    """Answer with one entry."""
    found = ledger.find_entry(call.connection, call.params.entry_id, call.within)
    return Answer(shown_whole(call, found))


def shown_whole(call: Call[Any, Any], found: Booked) -> EntryWhole:
    """Return an entry as the caller sees it, with what came of it later."""
    corrected_by = ledger.corrections_of(call.connection, found)
    return EntryWhole(**shown(found, call.caller.role).model_dump(), corrected_by=corrected_by)


def shown(entry: Booked, role: TokenRole) -> EntryOut:
    """Return an entry as a role sees it."""
    told = entry.as_json()
    if role is TokenRole.VIEWER:
        lines = [as_billed(line) for line in told["lines"]]
        told = as_billed(told) | {"lines": lines, "status_reason": entry.reason_to_tenant}
    return EntryOut.model_validate(with_usd(told))


def as_billed(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a viewer sees of an entry or a line: what the tenant owes, and not what we are charged."""
    billed = told["billed_nanousd"]
    hidden = {f"{name}_nanousd": billed for name in _OURS}
    return {**told, **hidden, **{name: None for name in (*_CARDS, "markup_bp") if name in told}}


ROUTES = (
    Route(
        method="GET",
        path="/ledger",
        summary="List ledger entries",
        roles=EVERYONE,
        handler=list_entries,
        params=EntryParams,
        result=Paged[EntryOut],
    ),
    Route(
        method="GET",
        path="/ledger/{entry_id}",
        summary="Show a ledger entry, and what corrects it",
        roles=EVERYONE,
        handler=show_entry,
        params=EntryPath,
        result=EntryWhole,
    ),
)
