"""FOCUS cost-and-usage: the ledger's rows for a billing month or a time, as a table on its way out.

An export is of the chain up to one entry, whatever is posted while it runs. What has no price is in no row:
it is a table of its own, since a cost that nobody knows is not 0.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC

from sqlalchemy import Connection, Engine, select

from proxy.core.periods import span_of
from proxy.core.rating import RateCard
from proxy.core.usage import Meter
from proxy.exports.focus_columns import COLUMNS, Version
from proxy.exports.focus_rows import View, billing_month, rows_of
from proxy.exports.table import Column, Kind, Row, Table
from proxy.store import StoreError, ledger_pages
from proxy.store.adjustments import KINDS
from proxy.store.archives import need_lines
from proxy.store.chain import chain
from proxy.store.database import reading
from proxy.store.filters import Filters
from proxy.store.ledger import Booked
from proxy.store.prices import cards_of
from proxy.store.schema import THREE_AMOUNTS, statement

UNRATED_COLUMNS = (
    Column("entry_id", Kind.INTEGER),
    Column("occurred_at", Kind.INSTANT),
    Column("period"),
    Column("tenant_id"),
    Column("tenant"),
    Column("project"),
    Column("api_key_id"),
    Column("session_id"),
    Column("provider"),
    Column("model"),
    Column("kind"),
    Column("role"),
    Column("subject_id"),
    Column("status"),
    Column("estimated", Kind.FLAG),
    Column("flags", Kind.JSON),
    Column("meter"),
    Column("quantity", Kind.INTEGER),
    Column("unit"),
)
TELL_ENTRIES = 1_000

Told = Callable[[int], None]

_METERS = frozenset(meter.value for meter in Meter)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: a billing `month` (YYYY-MM, in UTC), or what occurred in the time of `filters`."""

    version: Version
    view: View
    filters: Filters
    month: str | None = None

    @property
    def in_month(self) -> Filters:
        """Return the filters for what occurred in the month."""
        if self.month is None:
            return self.filters
        span = span_of(self.month, UTC)
        return replace(self.filters, start=span.start, end=span.end)

    @property
    def until_end(self) -> Filters:
        """Return the filters for what occurred in the month, and for what did before."""
        return replace(self.in_month, start=None) if self.month is not None else self.filters

    def has(self, entry: Booked) -> bool:
        return self.month is None or billing_month(entry) == self.month


@dataclass(frozen=True, slots=True)
class Export:
    """A state of the ledger, and what is wanted of it: its tables agree with each other."""

    engine: Engine
    wanted: Wanted
    through: int  # the last entry of the chain that counts

    @classmethod
    def of(cls, engine: Engine, wanted: Wanted) -> "Export":
        """Return an export of the ledger as it is now.

        Raises:
            StoreError: a filter names what does not exist or says what cannot be, or lines are archived.
        """
        with reading(engine) as connection:
            need_lines(connection, wanted.in_month, "an export of lines")
            return cls(engine, wanted, chain(connection).entries)

    def table(self, told: Told | None = None) -> Table:
        """Return the rows of what has a price. `told` hears how many entries were gone through.

        Going through the rows raises StoreError where lines are not what their entry says.
        """
        columns = [column.column for column in COLUMNS[self.wanted.version]]
        return Table(columns, self._rows([column.name for column in columns], told or _untold))

    def count(self) -> int:
        """Return how many entries there are, but for those of earlier months that are billed in this one."""
        with reading(self.engine) as connection:
            return ledger_pages.count(connection, self.wanted.in_month, self.through)

    def unrated(self) -> Table:
        """Return what has no price: a row for each line, one for an entry without any."""
        return Table(UNRATED_COLUMNS, (row for entry in self._unrated() for row in _unrated_rows(entry)))

    def count_unrated(self) -> int:
        """Return how many entries have no price."""
        return sum(1 for _ in self._unrated())

    def _unrated(self) -> Iterator[Booked]:
        wanted = self.wanted
        for entry in ledger_pages.unrated(self.engine, wanted.until_end, self.through):
            if wanted.has(entry):
                entry.need_lines()
                yield entry

    def _entries(self) -> Iterator[Booked]:
        wanted = self.wanted
        yield from ledger_pages.by_time(self.engine, wanted.in_month, self.through)
        if wanted.month is not None:
            yield from ledger_pages.accounted_late(self.engine, wanted.filters, wanted.month, self.through)

    def _rows(self, names: Sequence[str], told: Told) -> Iterator[Row]:
        known = _Known(self.engine)
        for number, entry in enumerate(self._entries(), 1):
            if number % TELL_ENTRIES == 0:
                told(number)
            if not entry.rated or not self.wanted.has(entry):
                continue
            _check(entry)
            invoice = known.statement(entry) if self.wanted.view.is_tenants else None
            for values in rows_of(entry, known.cards(entry), self.wanted.view, invoice):
                yield [values.get(name) for name in names]


def _untold(_entries: int) -> None:
    """Nobody listens."""


def _check(entry: Booked) -> None:
    """Raises StoreError: the lines are not what the entry says, so that sums would not be the ledger's."""
    if entry.kind in KINDS:
        return
    meters = {line.meter for line in entry.lines}
    sums = (sum(getattr(line, name) or 0 for line in entry.lines) for name in THREE_AMOUNTS)
    if list(sums) != [getattr(entry, name) for name in THREE_AMOUNTS] or not meters <= _METERS:
        raise StoreError(f"Entry {entry.id} is not what its lines add up to: verifying the ledger says more.")


def _unrated_rows(entry: Booked) -> Iterable[Row]:
    values: dict[str, object] = {column.name: getattr(entry, column.name, None) for column in UNRATED_COLUMNS}
    values |= {"entry_id": entry.id, "flags": list(entry.flags)}
    used: list[dict[str, object]] = [
        {"meter": line.meter, "quantity": line.quantity, "unit": line.unit} for line in entry.lines
    ]
    return ([*(values | own).values()] for own in used or [{}])


@dataclass(slots=True)
class _Known:
    """Cards and numbers of statements, each read once."""

    engine: Engine
    _cards: dict[str, RateCard] = field(default_factory=dict)
    _numbers: dict[str, dict[str, str]] = field(default_factory=dict)  # by period and tenant

    def cards(self, entry: Booked) -> Mapping[str, RateCard]:
        """Return cards by their ids, those that an entry names among them."""
        named = {id for id in (entry.public_card_id, entry.agreed_card_id) if id is not None}
        if not named <= self._cards.keys():
            with reading(self.engine) as connection:
                self._cards |= cards_of(connection, named)
        return self._cards

    def statement(self, entry: Booked) -> str | None:
        """Return the number of the statement that has an entry, None while its period is open."""
        if entry.period not in self._numbers:
            with reading(self.engine) as connection:
                self._numbers[entry.period] = _numbers(connection, entry.period)
        return self._numbers[entry.period].get(entry.tenant_id)


def _numbers(connection: Connection, period: str) -> dict[str, str]:
    query = select(statement.c.tenant_id, statement.c.number).where(statement.c.period == period)
    return {row.tenant_id: row.number for row in connection.execute(query)}
