"""`/exports/focus`: cost and usage as FOCUS has it, and what is not in it because it has no price."""

from datetime import UTC
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import Month, NameOrId, Nothing, PeriodParams
from proxy.admin.api.periods import period
from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import EVERYONE, Call, Check, Download, Opens, Route
from proxy.core.periods import month_of
from proxy.exports.focus import Export, Wanted
from proxy.exports.focus_columns import Version
from proxy.exports.focus_rows import View
from proxy.exports.formats import Format
from proxy.exports.table import Table
from proxy.store.filters import Filters
from proxy.store.tokens import TokenRole

UNRATED = "Talkmeter-Unrated-Entries"


class Whose(StrEnum):
    """Whose costs."""

    OPERATOR = "operator"
    TENANT = "tenant"


class FocusParams(PeriodParams):
    """What to export: what is billed in a month, or what was used in a time."""

    version: Annotated[Version, Field(strict=False)] = Version.V1_2
    month: Annotated[
        Month | None,
        Field(
            description="What is billed in this month, in UTC; without any time, in the month that is now."
        ),
    ] = None
    as_: Annotated[
        Whose | None,
        Field(
            alias="as",
            strict=False,
            description="operator: what the provider charges us. tenant: what they owe, as a viewer gets it.",
        ),
    ] = None
    tenant: NameOrId | None = None


def export_focus(call: Call[FocusParams, Nothing]) -> Download:
    """Answer with the rows of what has a price; a header says how many entries are left out."""
    export = _export(call)

    def make(check: Check) -> Table:
        return export.table(lambda _done: check())

    headers = {UNRATED: str(export.count_unrated())}
    return Download(Format.CSV, _name(call, ".csv"), make, headers)


def export_unrated(call: Call[FocusParams, Nothing]) -> Download:
    """Answer with what has no price."""
    export = _export(call)
    return Download(Format.CSV, _name(call, ".unrated.csv"), lambda _check: export.unrated())


def _export(call: Call[FocusParams, Nothing]) -> Export:
    params, month = call.params, call.params.month
    is_timed = params.from_ is not None or params.to is not None
    if month is not None and is_timed:
        raise invalid("query", "month", "give either month, or from and to")
    if month is None and not is_timed:
        month = month_of(call.at, UTC)
    start, end = period(params, UTC)
    filters = Filters(start=start, end=end, tenant=params.tenant, within=call.within)
    return Export.of(call.context.engine, Wanted(params.version, _view(call), filters, month))


def _view(call: Call[FocusParams, Nothing]) -> View:
    is_viewer, whose = call.caller.role is TokenRole.VIEWER, call.params.as_
    if is_viewer and whose is Whose.OPERATOR:
        raise Problem("forbidden", "The role viewer sees what tenants owe: ask with as=tenant.")
    if not is_viewer and whose is not Whose.TENANT:
        return View()
    if not call.context.issuer:
        raise invalid("query", "as", "tenants have to know who bills them: set TALKMETER_STATEMENT_ISSUER")
    return View(call.context.issuer)


def _name(call: Call[FocusParams, Nothing], suffix: str) -> str:
    when = call.params.month or f"{call.at:%Y-%m-%d}"
    return f"talkmeter-focus-{call.params.version}-{when}{suffix}"


ROUTES = (
    Route(
        method="GET",
        path="/exports/focus",
        summary="Export cost and usage as FOCUS 1.2 or 1.4 has it",
        roles=EVERYONE,
        handler=export_focus,
        params=FocusParams,
        result=Nothing,
        media=(Format.CSV.content_type,),
        opens=Opens.NOTHING,
    ),
    Route(
        method="GET",
        path="/exports/focus/unrated",
        summary="Export what is not in the FOCUS export, since it has no price",
        roles=EVERYONE,
        handler=export_unrated,
        params=FocusParams,
        result=Nothing,
        media=(Format.CSV.content_type,),
        opens=Opens.NOTHING,
    ),
)
