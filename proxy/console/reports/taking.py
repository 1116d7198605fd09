"""What of a question the exports can be asked. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo

from proxy.admin.api.exports import LedgerExportParams
from proxy.console.reports.drill import Zones, only_month
from proxy.console.reports.question import GROUP_BY, Question, params_of
from proxy.console.reports.spans import as_instant
from proxy.core.periods import month_after, month_of, parse_period
from proxy.exports.formats import Format
from proxy.store.instants import parse_instant
from proxy.store.reports import Basis

LEDGER = params_of(LedgerExportParams)
LABELS: Mapping[Format, str] = {
    Format.CSV: "CSV",
    Format.JSONL: "JSON lines",
    Format.XLSX: "Excel (XLSX)",
    Format.PARQUET: "Parquet",
}
_NO_FILTERS = (GROUP_BY, "tz", "sessions", "basis")


def ledger_of(question: Question, zones: Zones) -> tuple[Question, list[str]]:
    """Return what of a question the ledger can be asked, and the filters that it has not.

    Its days are those of the ledger's zone, so those of another zone become instants.
    """
    asked = dict(question.given)
    lost = [name for name in asked if name not in LEDGER and name not in _NO_FILTERS]
    if asked.get("basis") == Basis.PERIOD:
        month = asked.get("period") or only_month(question, zones)
        times = [name for name in ("from", "to") if asked.pop(name, None)]
        if month:
            asked["period"] = month
        else:
            lost += times
    elif asked.get("tz"):
        asked |= {name: as_instant(asked[name], zones.own) for name in ("from", "to") if name in asked}
    return Question(asked).only(LEDGER), lost


def month_in(question: Question, now: datetime, zone: tzinfo) -> str:
    """Return the month that a question begins in; where there is none, the one that is now in UTC."""
    start = question.get("from")
    begins = question.get("period") or (month_of(parse_instant(start, zone), zone) if start else "")
    try:
        return parse_period(begins)
    except ValueError:
        return month_of(now, UTC)


def month_days(month: str) -> Mapping[str, str]:
    """Return a month as days of an address."""
    return {"from": f"{month}-01", "to": f"{month_after(month)}-01"}
