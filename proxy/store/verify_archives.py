"""Checking what seals archives, and reading their files in the place of the lines that are no longer here.

Without a period's file its entries are checked as far as they go without lines, and against the seal. With it
everything is checked, down to the digests that its blocks were sealed with when they were posted.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, func, select

from proxy.store import StoreError
from proxy.store.archive_file import Filed, footer_of, header_of, unpack
from proxy.store.archives import Archive, load_archives
from proxy.store.database import reading
from proxy.store.schema import ledger_entry
from proxy.store.sealing import seal_digest


class FiledLine(NamedTuple):
    """A line out of a file, as a row of `ledger_line`."""

    entry_id: int
    meter: str
    quantity: int
    unit: str
    price_nanousd: int | None
    price_per: int | None
    list_nanousd: int | None
    cost_nanousd: int | None
    billed_nanousd: int | None
    rate_card_id: str | None

    @property
    def _mapping(self) -> Mapping[str, Any]:
        return self._asdict()


class Archives:
    """The archives of a ledger, and the files of them that are at hand."""

    def __init__(self, engine: Engine, archives: Mapping[str, Archive], files: Mapping[str, Path]) -> None:
        self._engine = engine
        self._archives = archives
        self._files = files

    @classmethod
    def load(cls, engine: Engine, paths: Sequence[Path]) -> "Archives":
        """Raises StoreError: one of the files is none of this ledger's archives, or is damaged."""
        with reading(engine) as connection:
            archives = load_archives(connection)
        return cls(engine, archives, {_period_of(path, archives): path for path in paths})

    @property
    def without_file(self) -> Sequence[str]:
        """Return the archived periods whose files are not at hand."""
        return tuple(period for period in self._archives if period not in self._files)

    def __contains__(self, period: str) -> bool:
        return period in self._archives

    def statements_digest(self, period: str) -> str | None:
        """Return what the statements of a period were sealed with, None if it is not archived."""
        archive = self._archives.get(period)
        return archive.statements_digest if archive is not None else None

    def reader(self) -> "Reader":
        """Return the lines of the files, from their beginning."""
        return Reader(self._archives, {period: unpack(path) for period, path in self._files.items()})

    def check_same(self) -> None:
        """Raises StoreError: another period was archived since this was loaded."""
        with reading(self._engine) as connection:
            more = load_archives(connection).keys() - self._archives.keys()
        if more:
            raise StoreError(f"{min(more)} was archived meanwhile: verify the ledger again.")

    def fault(self) -> str | None:
        """Return which archive is not what it was sealed as."""
        for number, (period, archive) in enumerate(self._archives.items(), 1):
            with reading(self._engine) as connection:
                if archive.number != number or seal_digest(connection, archive) != archive.digest:
                    return f"archive of {period}: what seals it was changed"
                of = ledger_entry.c
                counted = select(func.count(), func.min(of.id), func.max(of.id)).where(of.period == period)
                known = (archive.entries, archive.first_entry, archive.last_entry)
                if tuple(connection.execute(counted).one()) != known:
                    return f"archive of {period}: the entries of the period are not those that were sealed"
        return None


def _period_of(path: Path, archives: Mapping[str, Archive]) -> str:
    """Return which period's archive a file is."""
    period = header_of(path).period
    archive = archives.get(period)
    if archive is None:
        raise StoreError(f"{path} is an archive of {period}, which is not archived in this ledger.")
    if footer_of(path).digest != archive.file_digest:
        raise StoreError(f"{path} is not what {period} was archived in: its digest differs.")
    return period


class Reader:
    """Goes through the files as somebody goes through the ledger."""

    def __init__(self, archives: Mapping[str, Archive], rows: Mapping[str, Iterator[Filed]]) -> None:
        self._archives = archives
        self._rows = rows

    def lines(self, period: str, entry_id: int, here: Sequence[Any]) -> Sequence[Any] | None:
        """Return the lines of the next entry, `here` are in the ledger; None: they are elsewhere."""
        if period not in self._archives or here:
            return here
        if period not in self._rows:
            return None
        filed = next(self._rows[period], None)
        if filed is None or filed.entry[0] != entry_id:
            return []  # the entry is none of those that were archived: no line makes it add up
        return [FiledLine(*line) for line in filed.lines]
