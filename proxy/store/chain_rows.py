"""Reading the chain as it is stored: blocks, and entries with their lines, in pages of short transactions."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import OperationalError

from proxy.store.chain import stored_columns
from proxy.store.columns import Unreadable
from proxy.store.database import reading
from proxy.store.schema import ledger_archive, ledger_archive_block, ledger_block, ledger_entry, ledger_line

PAGE_ROWS = 1_000
PERIOD = [column.name for column in ledger_entry.columns].index("period")

StoredEntry = tuple[Any, ...]
StoredLines = list[tuple[Any, ...]]


@contextlib.contextmanager
def reading_stored(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads what somebody may have changed; raises Unreadable for text that is none."""
    with reading(engine) as connection:
        try:
            yield connection
        except OperationalError as error:
            if "Could not decode to UTF-8" not in str(error.orig):  # which only SQLite would keep
                raise
            raise Unreadable(str(error.orig)) from None


def blocks(engine: Engine, after: int = 0) -> Iterator[tuple[Row[Any], str | None]]:
    """Yield the blocks behind one, each with what the last archive of lines in it has sealed, if any has."""
    while True:
        with reading(engine) as connection:
            query = select(ledger_block).where(ledger_block.c.id > after).order_by(ledger_block.c.id)
            page = connection.execute(query.limit(PAGE_ROWS)).all()
            left: dict[int, str] = {}
            if page:
                of = ledger_archive_block.c
                sealed = select(of.block_id, of.digest).where(of.block_id.between(page[0].id, page[-1].id))
                joined = sealed.join(ledger_archive, ledger_archive.c.period == of.period)
                for row in connection.execute(joined.order_by(ledger_archive.c.number)):
                    left[row.block_id] = row.digest
        yield from ((block, left.get(block.id)) for block in page)
        if len(page) < PAGE_ROWS:
            return
        after = page[-1].id


def stored_rows(engine: Engine, first: int, last: int) -> Iterator[tuple[StoredEntry, StoredLines]]:
    """Yield the entries from `first` to `last` with their lines, byte for byte as they are stored.

    Raises:
        Unreadable: text of the next one is none; those before it were yielded.
    """
    limit = PAGE_ROWS
    while first <= last:
        end = min(first + limit - 1, last)
        try:
            page = _stored_page(engine, first, end)
        except Unreadable:
            if limit == 1:
                raise
            limit = 1
            continue
        yield from page
        first = end + 1


def _stored_page(engine: Engine, first: int, last: int) -> list[tuple[StoredEntry, StoredLines]]:
    with reading_stored(engine) as connection:
        wanted = select(*stored_columns(ledger_entry)).where(ledger_entry.c.id.between(first, last))
        entries = connection.execute(wanted.order_by(ledger_entry.c.id)).all()
        inside = ledger_line.c.entry_id.between(first, last)
        lines: dict[int, list[Row[Any]]] = {}
        for line in connection.execute(select(*stored_columns(ledger_line)).where(inside)):
            lines.setdefault(line.entry_id, []).append(line)
    found = []
    for entry in entries:
        own: Sequence[Row[Any]] = sorted(lines.get(entry.id, ()), key=lambda line: line.meter)
        found.append((tuple(entry), [tuple(line) for line in own]))
    return found
