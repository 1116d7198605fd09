"""`/reconciliations`: the ledger compared with the provider's bill, in all and row by row."""

from datetime import date, timedelta
from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import At, Dollars, Id, Input, Nanousd, Nothing, Output, Paged, PageParams
from proxy.admin.api.pages import paged
from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import BOOKKEEPERS, FINANCE_READERS, Answer, Call, Opens, Route
from proxy.admin.provider_bill import BillError
from proxy.core.reconcile import complete_until
from proxy.store.reconciliations import (
    Reconciliation,
    find_reconciliation,
    list_reconciliations,
    rows_of,
)

DAYS = timedelta(days=7)
Day = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A UTC day.", examples=["2026-11-22"]),
]


class Amounts(Output):
    """Ours, theirs, the difference (theirs − ours), and what it is made of."""

    ours_nanousd: Nanousd
    ours_usd: Dollars
    theirs_nanousd: Nanousd
    theirs_usd: Dollars
    difference_nanousd: Nanousd
    difference_usd: Dollars
    price_nanousd: Annotated[
        Nanousd, Field(description="They charge another price that one of our cards has.")
    ]
    price_usd: Dollars
    unrated_nanousd: Annotated[Nanousd, Field(description="We have no price for it.")]
    unrated_usd: Dollars
    delay_nanousd: Annotated[Nanousd, Field(description="They need not show it yet.")]
    delay_usd: Dollars
    day_edge_nanousd: Annotated[Nanousd, Field(description="It happened around midnight.")]
    day_edge_usd: Dollars
    estimates_nanousd: Annotated[Nanousd, Field(description="We had to estimate.")]
    estimates_usd: Dollars
    unexplained_nanousd: Annotated[Nanousd, Field(description="The rest; in sums of rows without signs.")]
    unexplained_usd: Dollars


class ReconciledDay(Amounts):
    """What one UTC day came to. `is_final`: its bill was complete by then."""

    on: str
    is_final: bool
    is_over: bool
    limit_nanousd: Nanousd
    limit_usd: Dollars


class ReconciliationOut(Amounts):
    """A comparison. `to` is the day after the last one."""

    id: str
    at: At
    actor: str
    from_: str = Field(serialization_alias="from", validation_alias="from")
    to: str
    projects: list[str]
    keys: list[str]
    delay_s: int
    row_count: int
    is_over: bool
    days: list[ReconciledDay]


class ReconciliationRow(Amounts):
    """One meter of one model in one project of the provider's on one UTC day, or a line without a meaning."""

    number: int
    on: str
    project: str | None
    model: str | None
    meter: str | None
    line_item: str | None
    ours_quantity: int
    theirs_quantity: int | None
    unrated_quantity: int
    uncounted_entries: Annotated[int, Field(description="Entries of which the provider sent no figures.")]
    keys: Annotated[
        dict[str, int], Field(description="The provider's keys: what each is charged (nano-dollars).")
    ]


class ReconciliationNew(Input):
    """Which days to compare; the last seven whose bill is complete if left out."""

    from_: Annotated[Day | None, Field(alias="from")] = None
    to: Annotated[Day | None, Field(description="The day after the last one.")] = None


class ReconciliationPath(Input):
    """Which comparison."""

    reconciliation_id: Id


class RowParams(ReconciliationPath, PageParams):
    """Which page of its rows."""


def list_all(call: Call[PageParams, Nothing]) -> Answer:
    """Answer with a page of comparisons, the newest first."""
    return paged(
        call,
        lambda page: list_reconciliations(call.connection, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=_shown,
        newest_first=True,
    )


def compare(call: Call[Nothing, ReconciliationNew]) -> Answer:
    """Read the bill, compare, and answer with what came of it."""
    reconciler, body = call.context.reconciler, call.body
    end = _date("to", body.to) or complete_until(call.at, reconciler.terms.delay)
    first = _date("from", body.from_) or end - DAYS
    try:
        made = reconciler.run(call.context.engine, first, end, call.act())
    except BillError as error:
        raise Problem("unavailable", str(error)) from None
    return Answer(_shown(made), 201, {"Location": f"/api/v1/reconciliations/{made.id}"})


def show(call: Call[ReconciliationPath, Nothing]) -> Answer:
    """Answer with one comparison."""
    return Answer(_shown(find_reconciliation(call.connection, call.params.reconciliation_id)))


def list_rows(call: Call[RowParams, Nothing]) -> Answer:
    """Answer with a page of a comparison's rows."""
    found = find_reconciliation(call.connection, call.params.reconciliation_id)
    return paged(
        call,
        lambda page: rows_of(call.connection, found.id, page),
        key=lambda row: (row["number"],),
        kinds=(int,),
        show=ReconciliationRow.model_validate,
    )


def _date(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise invalid("body", name, "it should be a day, such as 2026-11-22") from None
    if not 2000 <= found.year < 3000:
        raise invalid("body", name, "it should be a day that a bill can have")
    return found


def _shown(one: Reconciliation) -> ReconciliationOut:
    return ReconciliationOut.model_validate(one.as_json())


ROUTES = (
    Route(
        method="GET",
        path="/reconciliations",
        summary="List comparisons with the provider's bill, the newest first",
        roles=FINANCE_READERS,
        handler=list_all,
        params=PageParams,
        result=Paged[ReconciliationOut],
        installation=True,
    ),
    Route(
        method="POST",
        path="/reconciliations",
        summary="Compare days with the provider's bill",
        roles=BOOKKEEPERS,
        handler=compare,
        body=ReconciliationNew,
        result=ReconciliationOut,
        status=201,
        also=(409, 503),
        opens=Opens.NOTHING,
        installation=True,
    ),
    Route(
        method="GET",
        path="/reconciliations/{reconciliation_id}",
        summary="Show a comparison with the provider's bill",
        roles=FINANCE_READERS,
        handler=show,
        params=ReconciliationPath,
        result=ReconciliationOut,
        installation=True,
    ),
    Route(
        method="GET",
        path="/reconciliations/{reconciliation_id}/rows",
        summary="List the rows of a comparison",
        roles=FINANCE_READERS,
        handler=list_rows,
        params=RowParams,
        result=Paged[ReconciliationRow],
        installation=True,
    ),
)
