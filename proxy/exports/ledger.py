"""The ledger as a table: a row for each line, with its entry beside it, and one for each entry without lines.

Amounts add up: an entry's are the sums of its lines', and in an entry without a price there are none.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from proxy.exports.table import Column, Kind, Row, Table
from proxy.store.archives import need_lines
from proxy.store.database import reading
from proxy.store.filters import Filters
from proxy.store.ledger import Booked, Line, windows
from proxy.store.schema import THREE_AMOUNTS

Told = Callable[[int, int], None]  # so many of all ids were looked at


ENTRY_COLUMNS = (
    Column("entry_id", Kind.INTEGER),
    Column("occurred_at", Kind.INSTANT),
    Column("posted_at", Kind.INSTANT),
    Column("period"),
    Column("tenant"),
    Column("tenant_id"),
    Column("project"),
    Column("project_id"),
    Column("api_key_id"),
    Column("end_user_id"),
    Column("session_id"),
    Column("upstream_session_id"),
    Column("provider"),
    Column("account"),
    Column("model"),
    Column("kind"),
    Column("role"),
    Column("subject_id"),
    Column("status"),
    Column("status_reason"),
    Column("rated", Kind.FLAG),
    Column("estimated", Kind.FLAG),
    Column("flags", Kind.JSON),
    Column("tags", Kind.JSON),
    Column("corrects", Kind.INTEGER),
    Column("corrects_period"),
    Column("public_card_id"),
    Column("agreed_card_id"),
    Column("markup_bp", Kind.INTEGER),
)
LINE_COLUMNS = (
    Column("meter"),
    Column("quantity", Kind.INTEGER),
    Column("unit"),
    Column("price_usd", Kind.DECIMAL),
    Column("price_per", Kind.INTEGER),
    Column("rate_card_id"),
    Column("list_usd", Kind.DECIMAL),
    Column("cost_usd", Kind.DECIMAL),
    Column("billed_usd", Kind.DECIMAL),
)
COLUMNS = (*ENTRY_COLUMNS, *LINE_COLUMNS)


def ledger_table(
    engine: Engine, filters: Filters, *, is_billed: bool = False, told: Told | None = None
) -> Table:
    """Return the lines of the entries that are meant, in the order of the chain.

    With `is_billed`, cost is what the tenant owes, and nothing tells what we are charged. `told` hears how
    far it is, also where nothing is found for long. Going through the rows raises StoreError where a filter
    names what does not exist, or lines are in an archive.
    """
    return Table(COLUMNS, _rows(engine, filters, is_billed, told))


def _rows(engine: Engine, filters: Filters, is_billed: bool, told: Told | None) -> Iterator[Row]:
    with reading(engine) as connection:
        need_lines(connection, filters, "an export of lines")
    for window in windows(engine, filters):
        for entry in window.entries:
            yield from rows_of(as_owed(entry) if is_billed else entry)
        if told is not None:
            told(window.done, window.total)


def rows_of(entry: Booked) -> Iterator[Row]:
    """Yield an entry's rows; raises StoreError where its lines were archived meanwhile."""
    entry.need_lines()
    own = _entry_values(entry)
    for line in entry.lines:
        yield (*own, *_line_values(entry, line))
    if not entry.lines:
        amounts = (dollars(getattr(entry, name)) for name in THREE_AMOUNTS)
        yield (*own, *[None] * (len(LINE_COLUMNS) - len(THREE_AMOUNTS)), *amounts)


def as_owed(entry: Booked) -> Booked:
    """Return an entry as its tenant may see it."""
    billed = entry.billed_nanousd
    return replace(
        entry,
        cost_nanousd=billed,
        list_nanousd=billed,
        account=None,
        status_reason=entry.reason_to_tenant,
        public_card_id=None,
        markup_bp=None,
        lines=[_line_as_owed(line) for line in entry.lines],
    )


def _line_as_owed(line: Line) -> Line:
    billed = line.billed_nanousd
    return replace(
        line, cost_nanousd=billed, list_nanousd=billed, price_nanousd=None, price_per=None, rate_card_id=None
    )


def dollars(nanousd: int | None) -> Decimal | None:
    """Return nano-dollars as dollars, exactly."""
    return None if nanousd is None else Decimal(nanousd).scaleb(-9)


def _entry_values(entry: Booked) -> tuple[Any, ...]:
    names = ("id" if column.name == "entry_id" else column.name for column in ENTRY_COLUMNS)
    return tuple(getattr(entry, name) for name in names)


def _line_values(entry: Booked, line: Line) -> tuple[Any, ...]:
    """Return a line's values; of an entry that has no price, a part's amount would belong to no sum."""
    amounts = (
        None if getattr(entry, name) is None else dollars(getattr(line, name)) for name in THREE_AMOUNTS
    )
    price = dollars(line.price_nanousd)
    return (line.meter, line.quantity, line.unit, price, line.price_per, line.rate_card_id, *amounts)
