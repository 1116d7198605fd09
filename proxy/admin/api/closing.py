"""`/periods` and `/statements`: closing a month, and what each tenant owes for it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.approvals import ApprovalOut, asked
from proxy.admin.api.models import (
    At,
    Dollars,
    Id,
    Input,
    Month,
    NameOrId,
    Nanousd,
    Nothing,
    Output,
    Paged,
    PageParams,
    Reason,
    Text,
    fields_of,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import BOOKKEEPERS, EVERYONE, FINANCE_READERS, Answer, Call, File, Opens, Route
from proxy.store.approvals import Approval
from proxy.store.chain import chain
from proxy.store.close import standing
from proxy.store.database import reading
from proxy.store.four_eyes import close_or_ask
from proxy.store.obstacles import NAMES, obstacles
from proxy.store.periods import list_periods
from proxy.store.statements import Whole, find_statement, page_of_statements


class PeriodOut(Output):
    """An accounting month, and what it holds."""

    period: str
    state: str
    closed_at: At | None
    closed_by: str | None
    seal: str | None = Field(description="The ledger's digest at the close: keep it elsewhere.")
    statements: int
    entries: int
    unrated_entries: int
    billed_nanousd: Nanousd
    billed_usd: Dollars
    archive: str | None = Field(description="The file that has its lines, which are not here any more.")
    overridden: list[dict[str, Any]] = Field(description="What it was closed in spite of, each with why.")


class PeriodsOut(Output):
    """All months that have entries, or are closed."""

    data: list[PeriodOut]


class ObstacleOut(Output):
    """What stands in the way, of how many things, and how to clear it."""

    name: str
    count: int
    problem: str
    remedy: str
    examples: list[str]


class StandingOut(Output):
    """Whether a month can be closed."""

    period: str
    can_be_closed: bool
    obstacles: list[ObstacleOut]


class ClosedOut(Output):
    """A close."""

    period: str
    zone: str
    closed_at: At
    closed_by: str
    seal: str
    statements: int
    overridden: list[dict[str, Any]]


class PeriodPath(Input):
    """Which month."""

    period: Month


class CloseBody(Input):
    """What to close in spite of, each with the reason."""

    overrides: Annotated[
        dict[Text, Reason], Field(max_length=len(NAMES), description=f"By name: {', '.join(NAMES)}.")
    ] = {}
    reason: Reason | None = None


class StatementParams(PageParams):
    """Which statements."""

    period: Month | None = None
    tenant: NameOrId | None = None


class StatementHead(Output):
    """A statement without its lines."""

    number: str
    period: str
    zone: str
    starts_at: At
    ends_at: At
    tenant: str
    tenant_id: str
    entries: int
    total_usd: str = Field(description="Rounded to cents.")
    billed_nanousd: Nanousd
    billed_usd: Dollars
    rounding_nanousd: Nanousd
    rounding_usd: Dollars
    unrated_entries: int
    closed_at: At
    issuer: str | None
    digest: str
    note: str


class StatementOut(StatementHead):
    """A statement."""

    lines: list[dict[str, Any]]


class StatementPath(Input):
    """Which statement."""

    number: Id


class FileFormat(StrEnum):
    """What a statement can be downloaded as."""

    PDF = "pdf"
    CSV = "csv"


MEDIA: Mapping[FileFormat, str] = {FileFormat.PDF: "application/pdf", FileFormat.CSV: "text/csv"}


class StatementFileParams(StatementPath):
    """Which statement, and as what."""

    format: Annotated[
        FileFormat, Field(strict=False, description="A PDF of more than 5,000 lines is refused: take CSV.")
    ] = FileFormat.PDF


def list_months(call: Call[Nothing, Nothing]) -> Answer:
    """Answer with all months."""
    found = list_periods(call.connection, call.context.zone, call.at)
    return Answer(PeriodsOut(data=[PeriodOut.model_validate(fields_of(one)) for one in found]))


def show_month(call: Call[PeriodPath, Nothing]) -> Answer:
    """Answer with what stands in the way of closing a month."""
    head = chain(call.connection)
    closing = standing(call.connection, call.params.period, call.context.zone, head, call.at)
    found = obstacles(closing)
    shown = [ObstacleOut.model_validate(one) for one in found]
    return Answer(StandingOut(period=call.params.period, can_be_closed=not found, obstacles=shown))


def close_month(call: Call[PeriodPath, CloseBody]) -> Answer:
    """Close a month for good, or ask for that."""
    closed = close_or_ask(
        call.connection,
        call.params.period,
        call.act(),
        rule=call.context.four_eyes,
        zone=call.context.zone,
        overrides=call.body.overrides,
        issuer=call.context.issuer,
    )
    if isinstance(closed, Approval):
        return asked(closed)
    made = closed.close
    return Answer(
        ClosedOut(
            period=made.period,
            zone=made.zone,
            closed_at=made.closed_at,
            closed_by=made.closed_by,
            seal=made.seal,
            statements=closed.statements,
            overridden=[dict(one) for one in made.overridden],
        ),
        201,
    )


def list_stated(call: Call[StatementParams, Nothing]) -> Answer:
    """Answer with a page of statements, the newest first."""
    month, tenant_id = call.params.period, call.tenant_id(call.params.tenant)
    return paged(
        call,
        lambda page: page_of_statements(call.connection, page, period=month, tenant_id=tenant_id),
        key=lambda one: (one.period, one.number),
        kinds=(str, str),
        show=lambda one: StatementHead.model_validate(one.as_json()),
        newest_first=True,
    )


def show_stated(call: Call[StatementPath, Nothing]) -> Answer:
    """Answer with one statement, exactly as it was made."""
    whole = find_statement(call.connection, call.params.number, call.within)
    return Answer(StatementOut.model_validate(whole.as_json()))


def download_stated(call: Call[StatementFileParams, Nothing]) -> File:
    """Answer with one statement as a file: the same one, byte for byte, whenever it is asked for."""
    number, format = call.params.number, call.params.format
    with reading(call.context.engine) as connection:
        whole = find_statement(connection, number, call.within)
    content = _as_pdf(whole) if format is FileFormat.PDF else whole.as_csv().encode()
    return File(f"statement-{whole.head.number}.{format}", MEDIA[format], content)


def _as_pdf(whole: Whole) -> bytes:
    from proxy.store.statement_pdf import to_pdf  # it takes its time to load

    return to_pdf(whole)


ROUTES = (
    Route(
        method="GET",
        path="/periods",
        summary="List accounting months",
        roles=FINANCE_READERS,
        handler=list_months,
        result=PeriodsOut,
        installation=True,
    ),
    Route(
        method="GET",
        path="/periods/{period}",
        summary="Show what stands in the way of closing a month",
        roles=FINANCE_READERS,
        handler=show_month,
        params=PeriodPath,
        result=StandingOut,
        also=(409,),
        installation=True,
    ),
    Route(
        method="POST",
        path="/periods/{period}/close",
        summary="Close a month for good, and state what each tenant owes for it",
        roles=BOOKKEEPERS,
        handler=close_month,
        params=PeriodPath,
        body=CloseBody,
        result=ClosedOut,
        status=201,
        asked=ApprovalOut,
        installation=True,
        creates=True,
    ),
    Route(
        method="GET",
        path="/statements",
        summary="List statements, the newest first",
        roles=EVERYONE,
        handler=list_stated,
        params=StatementParams,
        result=Paged[StatementHead],
    ),
    Route(
        method="GET",
        path="/statements/{number}",
        summary="Show a statement with its lines",
        roles=EVERYONE,
        handler=show_stated,
        params=StatementPath,
        result=StatementOut,
    ),
    Route(
        method="GET",
        path="/statements/{number}/file",
        summary="Download a statement as PDF or CSV",
        roles=EVERYONE,
        handler=download_stated,
        params=StatementFileParams,
        result=Nothing,
        media=tuple(MEDIA.values()),
        opens=Opens.NOTHING,
    ),
)
