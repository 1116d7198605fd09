"""The file of an archive: gzip of one JSON object a line.

A header, the period's entries with their lines in the order of the chain, and at the end how many there are
and a digest of all that comes before.

Rows are written as the database stores them, column by column. The same period is always the same file.
"""

import gzip
import hashlib
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from proxy.store import StoreError
from proxy.store.schema import ledger_entry, ledger_line

FORMAT = 1
LINE_BYTES_MAX = 16 * 1024 * 1024


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="ledger-archive"):
    """What the file holds: the period, the seal that it was closed over, and the columns of its rows."""

    format: int = FORMAT
    period: str
    zone: str
    seal: str
    entry_columns: tuple[str, ...] = tuple(str(column.name) for column in ledger_entry.columns)
    line_columns: tuple[str, ...] = tuple(str(column.name) for column in ledger_line.columns)


class Filed(msgspec.Struct, frozen=True, tag="entry"):
    """An entry and its lines."""

    entry: list[Any]
    lines: list[list[Any]]


class Footer(msgspec.Struct, frozen=True, tag="end"):
    """The end: without it the file was cut off. The digest covers every byte before this line, unpacked."""

    entries: int
    lines: int
    digest: str


_HEADER = msgspec.json.Decoder(Header)
_ROW = msgspec.json.Decoder(Filed | Footer)


def pack(file: BinaryIO, header: Header, rows: Iterable[Filed]) -> Footer:
    """Write an archive; return its end."""
    digest, entries, lines = hashlib.sha256(), 0, 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:

        def put(one: msgspec.Struct) -> None:
            line = msgspec.json.encode(one) + b"\n"
            digest.update(line)
            packed.write(line)

        put(header)
        for row in rows:
            put(row)
            entries, lines = entries + 1, lines + len(row.lines)
        footer = Footer(entries, lines, digest.hexdigest())
        put(footer)
    return footer


def header_of(path: Path) -> Header:
    """Raises StoreError: this is no archive, or one that only a later version can read."""
    try:
        with gzip.open(path) as file:
            header = _HEADER.decode(file.readline(LINE_BYTES_MAX))
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as problem:
        raise StoreError(f"{path} is not an archive of the ledger: {problem}.") from None
    if header.format != FORMAT:
        raise StoreError(f"{path} is an archive of a later format: read it with the Talkmeter that made it.")
    return header


def unpack(path: Path) -> Iterator[Filed]:
    """Yield the entries of an archive.

    Raises:
        StoreError: it is damaged, or was cut off: perhaps only at its end, when all entries were yielded.
    """
    yield from _rows(path)


def footer_of(path: Path) -> Footer:
    """Return the end of an archive, having read all of it; raises what `unpack` does."""
    rows = _rows(path)
    while True:
        try:
            next(rows)
        except StopIteration as end:
            footer: Footer = end.value
            return footer


def _rows(path: Path) -> Generator[Filed, None, Footer]:
    header_of(path)
    digest, entries, lines = hashlib.sha256(), 0, 0
    try:
        with gzip.open(path) as file:
            digest.update(file.readline(LINE_BYTES_MAX))
            while raw := file.readline(LINE_BYTES_MAX):
                row = _ROW.decode(raw)
                if isinstance(row, Footer):
                    _check_end(path, row, Footer(entries, lines, digest.hexdigest()), file.read(1))
                    return row
                digest.update(raw)
                entries, lines = entries + 1, lines + len(row.lines)
                yield row
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as problem:
        raise StoreError(f"{path} is damaged: {problem}. Take another copy of it.") from None
    raise StoreError(f"{path} was cut off: it has no end. Take another copy of it.")


def _check_end(path: Path, footer: Footer, counted: Footer, more: bytes) -> None:
    if footer != counted or more:
        raise StoreError(f"{path} is damaged: it does not hold what its end says. Take another copy of it.")
