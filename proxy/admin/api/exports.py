"""`/exports`: the ledger and cost reports in the formats of finance tools, sent while they are read."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from proxy.admin.api.entries import FilterParams, filters_of
from proxy.admin.api.models import Flag, Nothing
from proxy.admin.api.problems import Problem
from proxy.admin.api.reports import CostParams, query_of
from proxy.admin.api.routes import EVERYONE, Call, Check, Download, Opens, Route
from proxy.core.records import Kind
from proxy.exports.costs import costs_table
from proxy.exports.formats import CONTENT_TYPES, Format
from proxy.exports.ledger import ledger_table
from proxy.exports.table import Table
from proxy.store.tokens import TokenRole

VIEWER_FORMATS = frozenset({Format.CSV})
_FORMAT = Field(strict=False, description="A viewer gets CSV only.")
_MEDIA = tuple(CONTENT_TYPES.values())


class LedgerExportParams(FilterParams):
    """Which entries, and in which format."""

    format: Annotated[Format, _FORMAT] = Format.CSV
    kind: Annotated[Kind | None, Field(strict=False)] = None
    unrated: Annotated[Flag, Field(description="Only what has no price.")] = False


class CostExportParams(CostParams):
    """What a report is about, and in which format."""

    format: Annotated[Format, _FORMAT] = Format.CSV


def export_ledger(call: Call[LedgerExportParams, Nothing]) -> Download:
    """Answer with the lines of entries, in the order of the chain."""
    filters = replace(filters_of(call), kind=call.params.kind, unrated=call.params.unrated)
    is_billed = call.caller.role is TokenRole.VIEWER

    def make(check: Check) -> Table:
        return ledger_table(
            call.context.engine, filters, is_billed=is_billed, told=lambda _done, _total: check()
        )

    return _download(call, "ledger", make)


def export_costs(call: Call[CostExportParams, Nothing]) -> Download:
    """Answer with the rows of a cost report."""
    query = query_of(call)
    return _download(call, "costs", lambda _check: costs_table(call.context.engine, query))


def _download(call: Call[Any, Nothing], what: str, make: Callable[[Check], Table]) -> Download:
    format: Format = call.params.format
    if call.caller.role is TokenRole.VIEWER and format not in VIEWER_FORMATS:
        raise Problem("forbidden", "The role viewer gets CSV: ask for format=csv.")
    return Download(format, f"talkmeter-{what}-{call.at:%Y-%m-%d}.{format}", make)


ROUTES = (
    Route(
        method="GET",
        path="/exports/ledger",
        summary="Export ledger lines with their entries",
        roles=EVERYONE,
        handler=export_ledger,
        params=LedgerExportParams,
        result=Nothing,
        media=_MEDIA,
        opens=Opens.NOTHING,
    ),
    Route(
        method="GET",
        path="/exports/costs",
        summary="Export a cost report",
        roles=EVERYONE,
        handler=export_costs,
        params=CostExportParams,
        result=Nothing,
        media=_MEDIA,
        opens=Opens.NOTHING,
    ),
)
