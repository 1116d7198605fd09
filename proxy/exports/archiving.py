"""Archiving a closed period: its file is written, read again and compared with the chain; then lines go.

All of it but the end happens beside whatever is booked: what is closed does not change. The end is one
transaction. Who is killed before it has at most a file, and the next run makes the same one.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from proxy.core.money import format_usd
from proxy.exports.files import complete_file
from proxy.store import Conflict, StoreError
from proxy.store.archive_file import Filed, Footer, Header, footer_of, header_of, pack, unpack
from proxy.store.archives import Archive, load_archives
from proxy.store.audit import Act
from proxy.store.chain import BlockHash
from proxy.store.chain_rows import PERIOD, StoredEntry, StoredLines, blocks, stored_rows
from proxy.store.database import reading, writing
from proxy.store.rollup_check import line_cells
from proxy.store.schema import THREE_AMOUNTS, ledger_block, ledger_entry
from proxy.store.sealing import Content, archivable, seal
from proxy.store.verify import verify

_NAMES = [column.name for column in ledger_entry.columns]

Told = Callable[[int, int], None]  # so many of all entries are verified
LinesOf = Callable[[StoredEntry, StoredLines], StoredLines]


def file_name(period: str) -> str:
    """Return what a period's archive is called."""
    return f"ledger-{period}.jsonl.gz"


def archive(
    engine: Engine, period: str, folder: Path, act: Act, zone: tzinfo, told: Told | None = None
) -> Archive:
    """Archive a closed period in `folder`, and remove its lines from the ledger.

    Raises:
        StoreError: it cannot be archived now, the ledger does not add up, or the file cannot be made.
    """
    with reading(engine) as connection:
        plan = _plan(connection, period)
    verdict = verify(engine, zone, told)
    if verdict.fault is not None:
        raise StoreError(f"The ledger does not add up, so nothing is archived: {verdict.fault}.")
    path = folder / file_name(period)
    footer = _write(engine, plan, path)
    walk = _read_again(engine, plan, path, footer)
    with reading(engine) as connection:
        cells = line_cells(connection, period)
    content = Content(
        period=period,
        file=path.name,
        file_digest=footer.digest,
        entries=footer.entries,
        lines=footer.lines,
        first_entry=plan.first_entry,
        last_entry=plan.last_entry,
        sums={name.removesuffix("_nanousd") + "_usd": format_usd(walk.sums[name]) for name in THREE_AMOUNTS},
        blocks=walk.left,
        cells=cells,
        archives=plan.archives,
    )
    with writing(engine) as connection:
        return seal(connection, content, act)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be read: the entries of the period lie between two entries, and the blocks between two."""

    header: Header
    first_entry: int
    last_entry: int
    before: Any  # None; the block before the first one
    last_of_block: int
    archives: int

    @property
    def period(self) -> str:
        return self.header.period


def _plan(connection: Connection, period: str) -> _Plan:
    close = archivable(connection, period)
    of, block = ledger_entry.c, ledger_block.c
    first, last = connection.execute(
        select(func.min(of.id), func.max(of.id)).where(of.period == period)
    ).one()
    if first is None:
        raise Conflict(f"{period} has no entries: there is nothing to archive.")
    before = select(block.id, block.last_entry, block.digest).where(block.last_entry < first)
    end = select(func.min(block.last_entry)).where(block.last_entry >= last)
    return _Plan(
        header=Header(period=period, zone=close.zone, seal=close.seal),
        first_entry=first,
        last_entry=last,
        before=connection.execute(before.order_by(block.last_entry.desc()).limit(1)).first(),
        last_of_block=connection.execute(end).scalar_one(),
        archives=len(load_archives(connection)),
    )


@dataclass(slots=True)
class _Walk:
    """One way through the blocks that may have an entry of the period, each computed anew."""

    engine: Engine
    plan: _Plan
    lines_of: LinesOf
    left: list[tuple[int, str]] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)

    def rows(self) -> Iterator[Filed]:
        """Yield the period's entries; raises StoreError where a block is not what was sealed."""
        before = self.plan.before
        number, end, previous = (before.id, before.last_entry, before.digest) if before else (0, 0, "")
        rows = stored_rows(self.engine, end + 1, self.plan.last_of_block)
        for block, left in blocks(self.engine, after=number):
            if block.first_entry > self.plan.last_entry:
                return
            yield from self._block(block, previous, left or block.digest, rows)
            previous = block.digest

    def _block(
        self,
        block: Row[Any],
        previous: str,
        wanted: str,
        rows: Iterator[tuple[StoredEntry, StoredLines]],
    ) -> Iterator[Filed]:
        begins = (previous, block.id, block.first_entry, block.last_entry, block.posted_at)
        whole, rest, own = BlockHash(*begins), BlockHash(*begins), 0
        for _ in range(block.first_entry, block.last_entry + 1):
            entry, lines = next(rows)
            if entry[PERIOD] == self.plan.period:
                lines = self.lines_of(entry, lines)
                own += 1
                self._count(entry)
                yield Filed(list(entry), [list(line) for line in lines])
            whole.add(entry, lines)
            rest.add(entry, lines if entry[PERIOD] != self.plan.period else ())
        if whole.digest != wanted:
            raise StoreError(f"Block {block.id} is not what was sealed: see `talkmeter ledger verify`.")
        if own:
            self.left.append((block.id, rest.digest))

    def _count(self, entry: StoredEntry) -> None:
        for name in THREE_AMOUNTS:
            self.sums[name] += entry[_NAMES.index(name)] or 0


def _write(engine: Engine, plan: _Plan, path: Path) -> Footer:
    """Write the file, or find that an earlier run has written the same one."""
    walk = _Walk(engine, plan, lambda _, lines: lines)
    if path.exists():
        if header_of(path) != plan.header:
            raise Conflict(f"{path} is there already, and is something else: name another folder.")
        return footer_of(path)
    with complete_file(path) as file:
        return pack(file, plan.header, walk.rows())


def _read_again(engine: Engine, plan: _Plan, path: Path, footer: Footer) -> _Walk:
    """Compute the blocks from what the file holds; raises StoreError where that is not what was sealed."""
    filed = unpack(path)

    def lines_of(entry: StoredEntry, lines: StoredLines) -> StoredLines:
        found = next(filed, None)
        read = [tuple(line) for line in found.lines] if found is not None else []
        if found is None or tuple(found.entry) != entry or read != lines:
            raise StoreError(
                f"{path} does not hold entry {entry[0]} as the ledger does: delete it, and repeat."
            )
        return read

    walk = _Walk(engine, plan, lines_of)
    entries = sum(1 for _ in walk.rows())
    if next(filed, None) is not None or entries != footer.entries:
        raise StoreError(f"{path} holds entries that the period has not: delete it, and repeat.")
    return walk
