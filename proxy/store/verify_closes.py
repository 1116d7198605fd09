"""Checking that periods were closed by the rules, and that statements say what the ledger does.

The sums are made anew here, entry by entry, from what is booked: nothing of what made the statements is used.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from proxy.core.periods import Periods, month_of
from proxy.core.records import Role
from proxy.store import adjustments
from proxy.store.chain import Head
from proxy.store.database import reading
from proxy.store.obstacles import ZONE
from proxy.store.periods import Close, load_closes
from proxy.store.schema import statement
from proxy.store.sealing import statements_digest
from proxy.store.statements import rounding_of, stated_lines
from proxy.store.stating import ENTRY, StatedLine
from proxy.store.verify_archives import Archives

_Key = tuple[Any, ...]


@dataclass(slots=True)
class _Sum:
    """What one tenant's entries of one period come to; lines are quantity and amount by what they are for."""

    entries: int = 0
    unrated: int = 0
    billed: int = 0
    lines: dict[_Key, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    is_whole: bool = True  # all lines were at hand

    def add(self, row: Row[Any], lines: Sequence[Row[Any]] | None, concerns: str | None) -> None:
        sign = -1 if row.role == Role.REVERSAL else 1
        is_unrated = row.billed_nanousd is None
        self.entries += 1
        self.unrated += sign * is_unrated
        self.billed += row.billed_nanousd or 0
        common = (row.project_id, row.kind, row.model, concerns)
        if row.kind in adjustments.KINDS:
            self._add((*common, None, None, False, row.id, row.status_reason), 0, row.billed_nanousd)
        elif lines is None:
            self.is_whole = False
        elif not lines and is_unrated:
            self._add((*common, None, ENTRY, True, None, None), sign, 0)
        for line in lines or ():
            amount = 0 if is_unrated else line.billed_nanousd
            self._add((*common, line.meter, line.unit, is_unrated, None, None), line.quantity, amount)

    def _add(self, key: _Key, quantity: int, billed: int) -> None:
        self.lines[key][0] += quantity
        self.lines[key][1] += billed

    @property
    def said(self) -> dict[_Key, tuple[int, int]]:
        """Return the lines that were not taken back wholly."""
        return {
            key: (quantity, billed) for key, (quantity, billed) in self.lines.items() if quantity or billed
        }


class ClosesCheck:
    """Follows the entries as they go by, with the closes that stand between them."""

    def __init__(
        self, engine: Engine, head: Head, closes: Sequence[Close], zone: tzinfo, archives: Archives
    ) -> None:
        self._engine = engine
        self._archives = archives
        self._head = head
        self._closes = closes
        self._ahead = list(closes)[::-1]
        self._periods = Periods(head.periods(zone).zone)
        self._sums: dict[str, dict[str, _Sum]] = defaultdict(lambda: defaultdict(_Sum))
        self._stated = 0

    @classmethod
    def load(
        cls, engine: Engine, connection: Connection, head: Head, zone: tzinfo, archives: Archives
    ) -> "ClosesCheck":
        return cls(engine, head, list(load_closes(connection)), zone, archives)

    @property
    def seals(self) -> dict[str, str]:
        """Return what each close was sealed with, and what is wrong if the ledger does not begin so."""
        return {
            one.seal: f"{one.period} was closed over {one.seal}, which the ledger does not begin with"
            for one in self._closes
        }

    def period_fault(self, row: Row[Any]) -> str | None:
        """Say whether an entry is in the wrong period."""
        periods, month = self._periods, month_of(row.occurred_at, self._periods.zone)
        wanted = periods.period_of(row.occurred_at)
        if row.period == wanted or (not periods.is_closed(row.period) and self._was_overridden(row, month)):
            return None
        if wanted != month:
            return f"its period is {row.period}, and {wanted} was the oldest open one for what is of {month}"
        occurred = f"{row.occurred_at:%Y-%m-%d %H:%M} UTC in {periods.zone}"
        return f"its period {row.period} is not the month of {occurred}"

    def _was_overridden(self, row: Row[Any], month: str) -> bool:
        """Tell whether a close knew of this entry among those booked by another time zone's months."""
        return any(
            one.period in (row.period, month)
            and row.id <= one.entries
            and any(obstacle["what"] == ZONE for obstacle in one.overridden)
            for one in self._closes
        )

    def add(
        self, row: Row[Any], lines: Sequence[Row[Any]] | None, period_of_corrected: str | None
    ) -> str | None:
        """Take the next entry, which adds up; say what is wrong with the closes behind it."""
        if self._ahead:
            concerns = self._periods.corrected(row.occurred_at, period_of_corrected)
            self._sums[row.period][row.tenant_id].add(row, lines, concerns)
        while self._ahead and self._ahead[-1].entries == row.id:
            if (fault := self._close_fault(self._ahead.pop())) is not None:
                return fault
        return None

    def _close_fault(self, close: Close) -> str | None:
        if self._periods.is_closed(close.period):
            return f"period {close.period}: it was closed out of its order"
        if close.zone != self._head.zone:
            return f"period {close.period}: it was closed in {close.zone}, not in {self._head.zone}"
        self._periods = Periods(self._periods.zone, close.period)
        left = [period for period in self._sums if period < close.period]
        if left:
            return f"period {close.period}: it was closed before {min(left)}, which has entries"
        return self._statements_fault(close.period)

    def _statements_fault(self, period: str) -> str | None:
        sums = self._sums.pop(period, {})
        with reading(self._engine) as connection:
            sealed = self._archives.statements_digest(period)
            if sealed not in (None, statements_digest(connection, period)):
                return f"period {period}: its statements are not those that were sealed with its archive"
            query = select(statement).where(statement.c.period == period)
            rows = sorted(connection.execute(query), key=lambda row: (len(row.number), row.number))
            self._stated += len(rows)
            for number, row in enumerate(rows, 1):
                if row.number != f"{period}-{number:04}":
                    return f"statement {row.number}: {period}-{number:04} should come here"
                if row.tenant_id not in sums:
                    return f"statement {row.number}: its tenant has nothing in {period}"
                if (fault := _differs(row, sums.pop(row.tenant_id), connection)) is not None:
                    return f"statement {row.number}: {fault}"
        return f"period {period}: {min(sums)} has entries in it, and no statement" if sums else None

    def fault_at_end(self) -> str | None:
        """Say what is wrong with the closes, now that all entries were taken."""
        if self._ahead:
            return f"period {self._ahead[-1].period}: it was closed over entries that are not there"
        if self._periods.closed_through != self._head.closed_through:
            through = (self._head.closed_through, self._periods.closed_through)
            return f"the ledger should be closed through {through[0]}, and is through {through[1]}"
        with reading(self._engine) as connection:
            stated = connection.execute(select(func.count()).select_from(statement)).scalar_one()
        return (
            None if stated == self._stated else f"there are {stated} statements, and {self._stated} were due"
        )


def _differs(row: Row[Any], wanted: _Sum, connection: Connection) -> str | None:
    """Return how a statement differs from the entries that it is made of."""
    figures = {
        "entries": wanted.entries,
        "unrated_entries": wanted.unrated,
        "billed_nanousd": wanted.billed,
        "rounding_nanousd": rounding_of(wanted.billed),
    }
    for name, figure in figures.items():
        if getattr(row, name) != figure:
            return f"{name} is {getattr(row, name)}, and the ledger says {figure}"
    lines = stated_lines(connection, row.number)
    if not wanted.is_whole:
        billed = sum(line.billed_nanousd or 0 for line in lines)
        return None if billed == wanted.billed else "its lines do not sum to what the ledger says"
    if len(lines) != len(wanted.said) or dict(_keyed(lines)) != wanted.said:
        return "its lines are not what the ledger says"
    return None


def _keyed(lines: Sequence[StatedLine]) -> Iterator[tuple[_Key, tuple[int, int]]]:
    for line in lines:
        is_unrated = line.billed_nanousd is None
        what = (line.project_id, line.kind, line.model, line.corrects_period, line.meter, line.unit)
        key = (*what, is_unrated, line.entry_id, line.reason)
        yield key, (line.quantity or 0, line.billed_nanousd or 0)
