"""The chain: every posting's new entries are a block, sealed with a digest that covers the block before it.

Who knows one block's digest can tell whether anything up to there was changed since: an entry, a line, their
order or number. Who knows only the ledger itself cannot tell whether it was cut off at its end, or written
anew as a whole: for that a digest has to be kept elsewhere (`talkmeter ledger verify --digest`).

A digest is the SHA-256, in hex, of a JSON array a line: first the block (`1`, the previous digest, the
block's number, its first and last entry, when it was posted), then each entry as `ledger_entry` stores it,
column by column, followed by its lines in the order of their meters. Instants are microseconds, JSON columns
their text, null is null. The `1` is the number of this format. Columns that the table was given later are
left out where all of them are null: what was sealed before it had them keeps its digest.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Table,
    bindparam,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeDecorator

from proxy.core.periods import Periods
from proxy.store import rollups
from proxy.store.columns import to_micros
from proxy.store.instants import parse_zone
from proxy.store.schema import chain_head, ledger_block, ledger_entry, ledger_line

FORMAT = 1
LATER_COLUMNS = 3  # the last ones of `ledger_entry`
_SEAL = re.compile(r"0:|[1-9][0-9]{0,18}:[0-9a-f]{64}", re.ASCII)
_SQLITE = sqlite.dialect()  # both dialects store the same


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain reaches: its entries, its blocks, and the digest of the last one."""

    entries: int
    blocks: int
    digest: str  # "" where there is none
    closed_through: str | None = field(default=None, compare=False)  # the last period that is closed
    zone: str | None = field(default=None, compare=False)  # of the periods, since the first close

    @property
    def seal(self) -> str:
        """Return what to keep elsewhere, to find out later whether the ledger still begins with all this."""
        return f"{self.entries}:{self.digest}"

    def periods(self, zone: tzinfo) -> Periods:
        """Return how far the books are closed; `zone` counts only until something is.

        Raises:
            StoreError: this machine does not know the ledger's time zone.
        """
        return Periods(parse_zone(self.zone) if self.zone is not None else zone, self.closed_through)


def parse_seal(text: str) -> str:
    """Return `text` if it can be a seal. Raises ValueError."""
    if not _SEAL.fullmatch(text):
        raise ValueError(
            f"{text!r} is no digest of a ledger, like 1234:9f86…: give what an earlier verify told"
        )
    return text


class BlockHash:
    """The digest of one block, in the making."""

    def __init__(self, previous: str, number: int, first: int, last: int, posted_at: datetime) -> None:
        self._hash = hashlib.sha256()
        self._add([FORMAT, previous, number, first, last, to_micros(posted_at)])

    def add(self, entry: Sequence[Any], lines: Iterable[Sequence[Any]]) -> None:
        """Add an entry and its lines, each as its table stores it, the lines in the order of their meters."""
        is_early = all(value is None for value in entry[-LATER_COLUMNS:])
        self._add(entry[:-LATER_COLUMNS] if is_early else entry)
        for line in lines:
            self._add(line)

    def _add(self, values: Sequence[Any]) -> None:
        self._hash.update(msgspec.json.encode(values) + b"\n")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def lock_chain(connection: Connection) -> Head:
    """Return the chain's head; nobody else books anything until this transaction is over."""
    return _head(connection, lock=True)


def chain(connection: Connection) -> Head:
    """Return the chain's head as it is now."""
    return _head(connection, lock=False)


def _head(connection: Connection, *, lock: bool) -> Head:
    return Head(*connection.execute(_LOCKED_HEAD if lock else _HEAD).one())


_BLOCK, _MOVE = insert(ledger_block), update(chain_head)
_HEAD = select(
    chain_head.c.entries,
    chain_head.c.blocks,
    chain_head.c.digest,
    chain_head.c.closed_through,
    chain_head.c.period_zone,
).where(chain_head.c.id == 1)
_LOCKED_HEAD = _HEAD.with_for_update()


def append(
    connection: Connection,
    head: Head,
    entries: Sequence[Mapping[str, Any]],
    lines: Sequence[Mapping[str, Any]],
    now: datetime,
) -> Head:
    """Book rows behind a locked `head`, whose ids go on from there, as one block; rollups count them too."""
    last = entries[-1]["id"]
    number = head.blocks + 1
    block = BlockHash(head.digest, number, head.entries + 1, last, now)
    lines_of: dict[int, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in entries}
    for line in lines:
        lines_of[line["entry_id"]].append(line)
    kept = [_ENTRIES.stored(entry) for entry in entries]
    kept_lines = []
    for entry, values in zip(entries, kept, strict=True):
        own = sorted(lines_of[entry["id"]], key=lambda line: line["meter"])
        kept_own = [_LINES.stored(line) for line in own]
        block.add(values, kept_own)
        kept_lines += kept_own
    _ENTRIES.insert(connection, kept)
    _LINES.insert(connection, kept_lines)
    after = replace(head, entries=last, blocks=number, digest=block.digest)
    row = {"id": number, "first_entry": head.entries + 1, "last_entry": last, "posted_at": now}
    connection.execute(_BLOCK, {**row, "digest": after.digest})
    moved = {"entries": after.entries, "blocks": after.blocks, "digest": after.digest}
    connection.execute(_MOVE, moved)
    rollups.add(connection, entries, lines)
    return after


class _Table:
    """Rows as a table stores them: turned into that once, to be sealed and inserted."""

    def __init__(self, table: Table) -> None:
        self._columns = [(column.name, _way_in(column.type)) for column in table.columns]
        self._names = [f"its_{column.name}" for column in table.columns]
        values = {
            column.name: bindparam(name, type_=_plain(column.type))
            for column, name in zip(table.columns, self._names, strict=True)
        }
        self._insert = insert(table).values(values)

    def stored(self, row: Mapping[str, Any]) -> list[Any]:
        """Return a row's values as the table will store them."""
        get = row.get
        return [
            value if (value := get(name)) is None or way_in is None else way_in(value, _SQLITE)
            for name, way_in in self._columns
        ]

    def insert(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert what `stored` returned."""
        if rows:
            connection.execute(self._insert, [dict(zip(self._names, row, strict=True)) for row in rows])


def _way_in(kind: Any) -> Callable[[Any, Dialect], Any] | None:
    """Return what turns values into what is stored; None is stored as null by all of them."""
    return kind.process_bind_param if isinstance(kind, TypeDecorator) else None


def _plain(kind: Any) -> Any:
    """Return the type of what is stored."""
    return kind.impl if isinstance(kind, TypeDecorator) else kind


_ENTRIES, _LINES = _Table(ledger_entry), _Table(ledger_line)


def stored_columns(table: Table) -> list[ColumnElement[Any]]:
    """Return a table's columns such that a query gives what is stored, and not what it stands for."""
    return [type_coerce(column, _plain(column.type)).label(column.name) for column in table.columns]
