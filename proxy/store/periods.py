"""Which periods are closed, over which entries, and what the open ones hold so far."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, Row, func, select

from proxy.core.periods import Periods, span_of
from proxy.store import StoreError
from proxy.store.chain import Head, chain
from proxy.store.instants import parse_zone
from proxy.store.schema import ledger_archive, ledger_entry, ledger_period, statement
from proxy.store.sums import UNRATED, exact, parts

CLOSED = "closed"
OVER = "over"  # it can be closed
RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Close:
    """That a period was closed. `entries` of the chain, and its `digest` then, are its seal."""

    period: str
    zone: str
    closed_at: datetime
    closed_by: str
    entries: int
    digest: str
    overridden: Sequence[Mapping[str, Any]]  # what stood in the way: what, count, examples, reason

    @property
    def seal(self) -> str:
        return Head(self.entries, 0, self.digest).seal


class Closes:
    """All closes, in their order."""

    def __init__(self, closes: Sequence[Close]) -> None:
        self._closes = closes
        self._entries = [one.entries for one in closes]

    def __iter__(self) -> Iterator[Close]:
        return iter(self._closes)

    def find(self, period: str) -> Close | None:
        """Return the close of this period."""
        return next((one for one in self._closes if one.period == period), None)

    def before(self, entry_id: int) -> str | None:
        """Return the last period that was closed when this entry was booked."""
        number = bisect_left(self._entries, entry_id)
        return self._closes[number - 1].period if number else None

    def corrected(self, entry: Any, period_of_corrected: str | None) -> str | None:
        """Return the closed period that an entry of the ledger concerns, None if there is none."""
        if not self._closes:
            return None
        periods = Periods(parse_zone(self._closes[0].zone), self.before(entry.id))
        return periods.corrected(entry.occurred_at, period_of_corrected)


@dataclass(frozen=True, slots=True)
class Month:
    """A period and what it holds. A closed one holds what its statements say."""

    period: str
    state: str
    closed_at: datetime | None
    closed_by: str | None
    seal: str | None
    statements: int
    entries: int
    unrated_entries: int
    billed_nanousd: int
    archive: str | None = None  # the file that has its lines
    overridden: Sequence[Mapping[str, Any]] = ()  # as a close has it


def load_closes(connection: Connection) -> Closes:
    """Return the closes so far."""
    rows = connection.execute(select(ledger_period).order_by(ledger_period.c.period))
    return Closes([Close(**row._mapping) for row in rows])


def check_zone(connection: Connection, zone: str) -> None:
    """Raises StoreError: the setting names another time zone than the first close has fixed."""
    head = chain(connection)
    if head.zone not in (None, zone):
        raise StoreError(
            f"The ledger's periods are months of {head.zone}, which its first close has fixed, and"
            f" TALKMETER_PERIOD_TIMEZONE is {zone}: set TALKMETER_PERIOD_TIMEZONE={head.zone}."
        )


def list_periods(connection: Connection, zone: tzinfo, now: datetime) -> list[Month]:
    """Return every month that was closed or has entries; `zone` counts until a first close has fixed it."""
    head = chain(connection)
    periods = head.periods(zone)
    stated = {row.period: row for row in connection.execute(_stated())}
    files = {row.period: row.file for row in connection.execute(select(ledger_archive))}
    months = [
        _closed(close, stated.get(close.period), files.get(close.period)) for close in load_closes(connection)
    ]
    return months + [_open(row, periods, now) for row in connection.execute(_unstated(head.closed_through))]


def _stated() -> Any:
    of = statement.c
    return select(
        of.period,
        func.count().label("statements"),
        *parts(of.entries, "entries"),
        *parts(of.unrated_entries, "unrated"),
        *parts(of.billed_nanousd, "billed"),
    ).group_by(of.period)


def _unstated(closed_through: str | None) -> Any:
    of = ledger_entry.c
    sums = select(of.period, func.count().label("entries"), UNRATED, *parts(of.billed_nanousd, "billed"))
    return sums.where(of.period > (closed_through or "")).group_by(of.period).order_by(of.period)


def _closed(close: Close, row: Row[Any] | None, archive: str | None) -> Month:
    return Month(
        period=close.period,
        state=CLOSED,
        closed_at=close.closed_at,
        closed_by=close.closed_by,
        seal=close.seal,
        statements=row.statements if row else 0,
        entries=exact(row, "entries") if row else 0,
        unrated_entries=exact(row, "unrated") if row else 0,
        billed_nanousd=exact(row, "billed") if row else 0,
        archive=archive,
        overridden=tuple(close.overridden),
    )


def _open(row: Row[Any], periods: Periods, now: datetime) -> Month:
    return Month(
        period=row.period,
        state=OVER if span_of(row.period, periods.zone).end <= now else RUNNING,
        closed_at=None,
        closed_by=None,
        seal=None,
        statements=0,
        entries=row.entries,
        unrated_entries=int(row.unrated or 0),
        billed_nanousd=exact(row, "billed"),
    )
