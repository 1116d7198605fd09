"""Sealing an archive: what can be archived, what is written down of it, and removing its lines."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from proxy.core.periods import month_after, span_of
from proxy.store import Conflict, StoreError
from proxy.store.archives import Archive, load_archives
from proxy.store.audit import Act
from proxy.store.chain import lock_chain, stored_columns
from proxy.store.columns import from_micros, to_micros
from proxy.store.corrections import CURRENT
from proxy.store.instants import parse_zone
from proxy.store.periods import Close, load_closes
from proxy.store.reconciliations import reconciled_since, verdicts
from proxy.store.roles import is_protected
from proxy.store.rollup_check import CellRow
from proxy.store.schema import (
    ledger_archive,
    ledger_archive_block,
    ledger_archive_cell,
    ledger_entry,
    ledger_line,
    statement,
    statement_line,
)
from proxy.store.spend import chunks

FORMAT = 1
ROWS_AT_ONCE = 1_000
_LEFT = ("blocks", "cells", "archives")  # of a Content: what is no fact about the file
_DAY, _MOMENT = timedelta(days=1), timedelta(microseconds=1)
_old = ledger_entry.alias("old")


# --- What can be archived


def archivable(connection: Connection, period: str) -> Close:
    """Return the close of a period that can be archived now.

    Raises:
        StoreError: it is open or archived already, something still needs its lines, or who asks may not.
    """
    if connection.dialect.name == "postgresql" and is_protected(connection):
        raise StoreError(
            "Only the owner of the tables can archive: set TALKMETER_DATABASE_URL to the role that"
            " `talkmeter migrate` is run as, for this command."
        )
    archives = load_archives(connection)
    if (made := archives.get(period)) is not None:
        raise Conflict(f"{period} is archived already, in {made.file}.")
    closes = load_closes(connection)
    close = closes.find(period)
    if close is None:
        raise Conflict(f"{period} is not closed: `talkmeter period close {period}` comes first.")
    closed_through = max(one.period for one in closes)
    _check_unrated(connection, period)
    _check_corrected(connection, period, closed_through)
    if month_after(period) > closed_through:
        _check_compared(connection, close)
    return close


def _check_unrated(connection: Connection, period: str) -> None:
    entry = ledger_entry.c
    has_lines = select(ledger_line.c.entry_id).where(ledger_line.c.entry_id == entry.id).exists()
    wanted = (entry.period == period, entry.cost_nanousd.is_(None), CURRENT, has_lines)
    unrated = connection.execute(select(func.count()).select_from(ledger_entry).where(*wanted)).scalar_one()
    if unrated:
        raise Conflict(
            f"{unrated:,} entries of {period} have no price yet, and rating them takes their lines: give"
            " their models prices, then `talkmeter prices rerate --unrated`."
        )


def _check_corrected(connection: Connection, period: str, closed_through: str) -> None:
    entry = ledger_entry.c
    later = select(entry.id, entry.period).join(_old, _old.c.id == entry.corrects)
    wanted = later.where(_old.c.period == period, entry.period > closed_through).order_by(entry.id)
    row = connection.execute(wanted.limit(1)).first()
    if row is not None:
        raise Conflict(
            f"Entry {row.id} of {row.period} corrects an entry of {period}, and {row.period} is open: close"
            " it first, so that the correction is final."
        )


def _check_compared(connection: Connection, close: Close) -> None:
    """See that days of the next month, which is open, are compared: that takes lines of the day before."""
    since = reconciled_since(connection)
    end = span_of(close.period, parse_zone(close.zone)).end
    on, last = end.date(), (end - _MOMENT).date() + _DAY
    said = verdicts(connection, on, last + _DAY)
    while on <= last:
        if since is not None and since <= on and on not in said:
            raise Conflict(
                f"{on} is not compared with the provider's bill yet, and that takes lines of {close.period}:"
                f" reconcile it first, or close {month_after(close.period)}."
            )
        on += _DAY


# --- Sealing


@dataclass(frozen=True, slots=True)
class Content:
    """What the file holds, and what will be left: of each block its id, and its digest without the lines.

    `cells` are what the lines come to. Whoever seals waits for none of it: what is closed does not change.
    """

    period: str
    file: str
    file_digest: str
    entries: int
    lines: int
    first_entry: int
    last_entry: int
    sums: Mapping[str, str]
    blocks: Sequence[tuple[int, str]]
    cells: Sequence[CellRow]
    archives: int  # that there were when it was read


def seal(connection: Connection, content: Content, act: Act) -> Archive:
    """Seal a period's archive and remove its lines, in the caller's transaction.

    Raises:
        StoreError: the period cannot be archived now, or the ledger is not what was read.
    """
    lock_chain(connection)
    archivable(connection, content.period)
    if len(load_archives(connection)) != content.archives:
        raise Conflict("Another period was archived meanwhile: archive this one again.")
    facts = {name: getattr(content, name) for name in Content.__slots__ if name not in _LEFT}
    facts |= {
        "number": content.archives + 1,
        "archived_at": act.at,
        "archived_by": act.actor,
        "statements_digest": statements_digest(connection, content.period),
    }
    digest = _seal_of(Archive(**facts, digest=""), content.blocks, _ordered(content.cells))
    connection.execute(insert(ledger_archive).values(**facts, digest=digest))
    period = {"period": content.period}
    for some in chunks(content.blocks, ROWS_AT_ONCE):
        rows = [{**period, "block_id": block_id, "digest": left} for block_id, left in some]
        connection.execute(insert(ledger_archive_block), rows)
    for some in chunks(content.cells, ROWS_AT_ONCE):
        connection.execute(insert(ledger_archive_cell), [{**period, **_row(one)} for one in some])
    _remove(connection, content)
    after = {name: value for name, value in facts.items() if name not in ("archived_at", "archived_by")}
    after["digest"] = digest
    act.note(connection, "ledger.archive", content.period, after=after)
    return Archive(**facts, digest=digest)


def _row(cell: CellRow) -> dict[str, Any]:
    return {**cell._asdict(), "starts_at": from_micros(cell.starts_at)}


def _remove(connection: Connection, content: Content) -> None:
    own = select(ledger_entry.c.id).where(ledger_entry.c.period == content.period)
    removed = connection.execute(delete(ledger_line).where(ledger_line.c.entry_id.in_(own))).rowcount
    if removed != content.lines:
        raise StoreError(
            f"{content.period} has {removed:,} lines, and its archive {content.lines:,}: nothing was removed."
            " See `talkmeter ledger verify`."
        )


def seal_digest(connection: Connection, archive: Archive) -> str:
    """Return the digest that an archive should have, by what the database holds of it."""
    block, cell = ledger_archive_block.c, ledger_archive_cell.c
    blocks = select(block.block_id, block.digest).where(block.period == archive.period)
    columns = {column.name: column for column in stored_columns(ledger_archive_cell)}
    cells = (
        select(*(columns[name] for name in CellRow._fields))
        .where(cell.period == archive.period)
        .order_by(cell.starts_at)
    )
    rows = (CellRow(*row) for row in connection.execute(cells))
    return _seal_of(archive, connection.execute(blocks.order_by(block.block_id)), _ordered(rows))


def _ordered(cells: Any) -> Iterator[CellRow]:
    """Yield cells, which come by their start, in an order that no database's collation changes."""
    for _, some in groupby(cells, key=lambda one: one.starts_at):
        yield from sorted(some)


def _seal_of(archive: Archive, blocks: Any, cells: Iterator[CellRow]) -> str:
    digest = hashlib.sha256()
    head: dict[str, Any] = {name: getattr(archive, name) for name in Archive.__slots__ if name != "digest"}
    head["archived_at"] = to_micros(archive.archived_at)
    digest.update(msgspec.json.encode([FORMAT, head], order="sorted") + b"\n")
    for block in blocks:
        digest.update(msgspec.json.encode(list(block)) + b"\n")
    for cell in cells:
        digest.update(msgspec.json.encode(list(cell)) + b"\n")
    return digest.hexdigest()


def statements_digest(connection: Connection, period: str) -> str:
    """Return a digest of all statements of a period, as they are stored."""
    digest = hashlib.sha256()
    heads = select(*stored_columns(statement)).where(statement.c.period == period)
    for head in sorted(connection.execute(heads), key=lambda row: str(row.number)):
        digest.update(msgspec.json.encode(list(head)) + b"\n")
        lines = select(*stored_columns(statement_line)).where(statement_line.c.statement == head.number)
        for line in connection.execute(lines.order_by(statement_line.c.position)):
            digest.update(msgspec.json.encode(list(line)) + b"\n")
    return digest.hexdigest()
