"""`/reratings`: what was booked, by the prices that are there now; first looked at, then corrected.

A request looks at so many entries at most, and says where the next one has to go on. What it corrects is
whole: each page is a transaction. Repeating it is safe, since what is right already does not differ.
"""

from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.models import (
    At,
    Cursor,
    Dollars,
    Flag,
    Id,
    Model,
    NameOrId,
    Nanousd,
    Nothing,
    Output,
    PeriodParams,
    Reason,
    fields_of,
    with_usd,
)
from proxy.admin.api.pages import decode, encode
from proxy.admin.api.periods import period
from proxy.admin.api.problems import Where
from proxy.admin.api.routes import BOOKKEEPERS, FINANCE_READERS, Answer, Call, Opens, Route
from proxy.store.audit import Act
from proxy.store.filters import Filters
from proxy.store.rerate import PAGE_ENTRIES, Change, Rerating

PAGES_MAX = 40  # that one request looks at: 20,000 entries


class ChangeOut(Output):
    """An entry that was rated otherwise than cards and markups say now. Null is unrated."""

    entry_id: int
    tenant_id: str
    occurred_at: At
    model: str | None
    kind: str
    before_nanousd: Nanousd | None
    before_usd: Dollars | None
    after_nanousd: Nanousd | None
    after_usd: Dollars | None
    difference_nanousd: Nanousd
    difference_usd: Dollars
    billed_before_nanousd: Nanousd | None
    billed_before_usd: Dollars | None
    billed_after_nanousd: Nanousd | None
    billed_after_usd: Dollars | None
    billed_difference_nanousd: Nanousd
    billed_difference_usd: Dollars


class Rerated(Output):
    """What differs, or what was corrected, in a stretch of the ledger."""

    booked: bool
    data: list[ChangeOut]
    next: str | None = Field(description="What to give as `after` to go on; null when all was looked at.")


class Which(PeriodParams):
    """Which entries to look at."""

    tenant: Annotated[NameOrId | None, Field(description="Only of this tenant (name or id).")] = None
    project: Annotated[NameOrId | None, Field(description="Only of this project (name or id).")] = None
    model: Annotated[Model | None, Field(description="Only of this model.")] = None
    session: Annotated[Id | None, Field(description="Only of this session.")] = None
    unrated: Annotated[Flag, Field(description="Only entries without a price.")] = False
    after: Annotated[Cursor | None, Field(description="`next` of the one before.")] = None


class RerateNew(Which):
    """Which entries to correct, and why."""

    reason: Annotated[Reason, Field(min_length=1)]


def look(call: Call[Which, Nothing]) -> Answer:
    """Answer with what differs."""
    return _rerate(call, call.params, "query", None)


def rerate(call: Call[Nothing, RerateNew]) -> Answer:
    """Reverse and replace what differs."""
    return _rerate(call, call.body, "body", call.act())


def _rerate(call: Call[Any, Any], wanted: Which, where: Where, act: Act | None) -> Answer:
    start, end = period(wanted, call.context.zone, where)
    filters = Filters(
        start=start,
        end=end,
        tenant=wanted.tenant,
        project=wanted.project,
        model=wanted.model,
        session=wanted.session,
        unrated=wanted.unrated,
        within=call.within,
    )
    (after,) = decode(wanted.after, (int,)) if wanted.after else (0,)
    changes: list[Change] = []
    following: int | None = after
    rerating = Rerating(filters, call.context.aliases, call.context.zone, act)
    for found, following in islice(rerating.pages(call.context.engine, after), PAGES_MAX):  # noqa: B007
        changes += found
        if len(changes) >= PAGE_ENTRIES:
            break
    data = [ChangeOut.model_validate(_fields(one)) for one in changes]
    return Answer(
        Rerated(booked=act is not None, data=data, next=None if following is None else encode((following,)))
    )


def _fields(one: Change) -> dict[str, Any]:
    differences = {
        "difference_nanousd": one.difference_nanousd,
        "billed_difference_nanousd": one.billed_difference_nanousd,
    }
    return {**fields_of(one), **with_usd(differences)}


ROUTES = (
    Route(
        method="GET",
        path="/reratings",
        summary="Show what was rated otherwise than cards and markups say now; nothing is booked",
        roles=FINANCE_READERS,
        handler=look,
        params=Which,
        result=Rerated,
        opens=Opens.NOTHING,
    ),
    Route(
        method="POST",
        path="/reratings",
        summary="Reverse and replace what was rated otherwise than cards and markups say now",
        roles=BOOKKEEPERS,
        handler=rerate,
        body=RerateNew,
        result=Rerated,
        opens=Opens.NOTHING,
    ),
)
