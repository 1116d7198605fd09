"""Reading entries to verify them: in pages; where something cannot be read, one by one up to that."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    Engine,
    Integer,
    Row,
    Select,
    Text,
    func,
    or_,
    select,
    type_coerce,
)

from proxy.core.records import Kind
from proxy.store.chain_rows import reading_stored
from proxy.store.columns import Instant, Unreadable
from proxy.store.corrections import Stored, stored
from proxy.store.database import reading
from proxy.store.schema import chain_head, ledger_block, ledger_entry, ledger_line

PAGE_ENTRIES = 1_000
METERED = (Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.DURATION)

_NUMBERS = ("integer", "null")

Read = tuple[Row[Any], Sequence[Row[Any]], Stored | None]  # an entry, its lines, what it corrects


class UnreadableEntry(Exception):
    """An entry cannot be read, or a line of it."""

    def __init__(self, before: int, id: int, problem: str) -> None:
        super().__init__(f"what is stored of it cannot be read: {problem}")
        self.before = before
        self.id = id


def rows(engine: Engine, total: int) -> Iterator[Read]:
    """Yield the entries, by id, up to `total`, with their lines and what they correct; later ones come still.

    Read in pages, each a short transaction: what is booked does not change, and a long transaction
    would hold back vacuum or checkpoints.

    Raises:
        UnreadableEntry: that one cannot be read; those before it were yielded.
    """
    after, limit = 0, PAGE_ENTRIES
    while True:
        try:
            page = _page(engine, after, total, limit)
        except Unreadable as problem:
            if limit == 1:
                raise UnreadableEntry(after, after + 1, str(problem)) from None
            limit = 1
            continue
        if not page:
            return
        yield from page
        after = page[-1][0].id


def no_number(engine: Engine) -> str | None:
    """Return where text stands in a column of numbers: SQLite keeps what somebody has written there."""
    if engine.dialect.name != "sqlite":
        return None
    for table in (chain_head, ledger_block, ledger_entry, ledger_line):
        numbers = [one for one in table.columns if isinstance(one.type, Integer | Boolean | Instant)]
        kinds = [func.typeof(one).label(one.name) for one in numbers]
        key = next(iter(table.primary_key))
        query = select(type_coerce(key, Text), *kinds).where(or_(*(kind.not_in(_NUMBERS) for kind in kinds)))
        with reading(engine) as connection:
            row = connection.execute(query.order_by(key).limit(1)).first()
        if row is not None:
            name, kind = next(
                (one.name, kind) for one, kind in zip(numbers, row[1:], strict=True) if kind not in _NUMBERS
            )
            return f"{table.name}, {key.name} {row[0]}: {name} is {kind}, and should be a number"
    return None


def _page(engine: Engine, after: int, total: int, limit: int) -> list[Read]:
    query = _with_period_of_corrected().where(ledger_entry.c.id.between(after + 1, total))
    with reading_stored(engine) as connection:
        page = connection.execute(query.order_by(ledger_entry.c.id).limit(limit)).all()
        lines = _lines(connection, page)
        corrected = _corrected(connection, page)
    return [(row, lines[row.id], corrected.get(row.id)) for row in page]


def _with_period_of_corrected() -> Select[Any]:
    old = ledger_entry.alias("old")
    query = select(ledger_entry, old.c.period.label("period_of_corrected"))
    return query.outerjoin(old, old.c.id == ledger_entry.c.corrects)


def _lines(connection: Connection, page: Sequence[Row[Any]]) -> Mapping[int, Sequence[Row[Any]]]:
    lines: dict[int, list[Row[Any]]] = {row.id: [] for row in page}
    if page:
        inside = ledger_line.c.entry_id.between(page[0].id, page[-1].id)
        for line in connection.execute(select(ledger_line).where(inside).order_by(ledger_line.c.meter)):
            if line.entry_id in lines:
                lines[line.entry_id].append(line)
    return lines


def _corrected(connection: Connection, page: Sequence[Row[Any]]) -> Mapping[int, Stored]:
    """Return the earlier metered entries that entries of this page correct, by these entries' ids."""
    corrections = [row for row in page if row.corrects is not None and row.corrects < row.id]
    wanted = [ledger_entry.c.id.in_({row.corrects for row in corrections}), ledger_entry.c.kind.in_(METERED)]
    found = {old.row["id"]: old for old in stored(connection, wanted, PAGE_ENTRIES)} if corrections else {}
    return {row.id: found[row.corrects] for row in corrections if row.corrects in found}
