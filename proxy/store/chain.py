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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, insert, select, type_coerce, update
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
    c = chain_head.c
    query = select(c.entries, c.blocks, c.digest, c.closed_through, c.period_zone).where(c.id == 1)
    return Head(*connection.execute(query.with_for_update() if lock else query).one())


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
    for entry in entries:
        own = sorted(lines_of[entry["id"]], key=lambda line: line["meter"])
        block.add(_stored(ledger_entry, entry), [_stored(ledger_line, line) for line in own])
    connection.execute(insert(ledger_entry), entries)
    if lines:
        connection.execute(insert(ledger_line), lines)
    after = replace(head, entries=last, blocks=number, digest=block.digest)
    row = {"id": number, "first_entry": head.entries + 1, "last_entry": last, "posted_at": now}
    connection.execute(insert(ledger_block), {**row, "digest": after.digest})
    moved = {"entries": after.entries, "blocks": after.blocks, "digest": after.digest}
    connection.execute(update(chain_head).values(moved))
    rollups.add(connection, entries, lines)
    return after


def _stored(table: Table, row: Mapping[str, Any]) -> list[Any]:
    """Return a row's values as its table will store them."""
    return [_plain(column.type, row.get(column.name)) for column in table.columns]


def _plain(kind: Any, value: Any) -> Any:
    return kind.process_bind_param(value, _SQLITE) if isinstance(kind, TypeDecorator) else value


def stored_columns(table: Table) -> list[ColumnElement[Any]]:
    """Return a table's columns such that a query gives what is stored, and not what it stands for."""
    return [
        type_coerce(
            column, column.type.impl if isinstance(column.type, TypeDecorator) else column.type
        ).label(column.name)
        for column in table.columns
    ]
