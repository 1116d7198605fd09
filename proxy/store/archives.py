"""Archives: periods whose lines are in a file, and no longer here. What seals them is never changed.

Entries stay, with their keys and amounts: nothing is booked twice, and what is summed from entries or rollups
goes on. Whatever needs lines has to ask `need_lines` first, so that none is taken for not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from proxy.store import Conflict
from proxy.store.filters import Filters, conditions
from proxy.store.schema import ledger_archive, ledger_entry


@dataclass(frozen=True, slots=True)
class Archive:
    """That a period's lines are in a file. `digest` covers this and all that seals what is left."""

    period: str
    number: int
    archived_at: datetime
    archived_by: str
    file: str
    file_digest: str
    entries: int
    lines: int
    first_entry: int
    last_entry: int
    sums: Mapping[str, str]
    statements_digest: str
    digest: str


def load_archives(connection: Connection) -> dict[str, Archive]:
    """Return the archives by their periods, in the order they were made."""
    rows = connection.execute(select(ledger_archive).order_by(ledger_archive.c.number))
    return {row.period: Archive(**row._mapping) for row in rows}


def need_lines(connection: Connection, filters: Filters, what: str) -> None:
    """Raises StoreError: of the entries that are meant some have their lines in an archive."""
    refuse_archived(connection, conditions(connection, whole(filters)), what)


def whole(filters: Filters) -> Filters:
    """Return which entries are meant, whatever of their lines is: of archived ones none is here."""
    return replace(filters, meter=None, modality=None)


def refuse_archived(connection: Connection, wanted: Sequence[ColumnElement[bool]], what: str) -> None:
    """Raises StoreError: of the entries that are `wanted` some have their lines in an archive."""
    archive = archive_of(connection, wanted)
    if archive is not None:
        raise Conflict(
            f"{archive.period} is archived in {archive.file}, and {what} needs the lines that are there: ask"
            " about what is of other months, or look into that file."
        )


def archive_of(connection: Connection, wanted: Sequence[ColumnElement[bool]]) -> Archive | None:
    """Return the last archive that has lines of the entries that are `wanted`."""
    for archive in sorted(load_archives(connection).values(), key=lambda one: one.period, reverse=True):
        own = select(ledger_entry.c.id).where(ledger_entry.c.period == archive.period, *wanted).limit(1)
        if connection.execute(own).first() is not None:
            return archive
    return None
