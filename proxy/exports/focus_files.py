"""A FOCUS export as files: the one that was asked for, and a companion beside it for what has no price.

Whoever finds the file finds what belongs to it: the companion is in its place first, and one of an earlier
export does not stay beside a file that left nothing out.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from proxy.exports.files import complete_file, put_on_disk
from proxy.exports.focus import Export, Told
from proxy.exports.formats import Format, write
from proxy.store import Conflict

SUFFIX = ".csv"
UNRATED_SUFFIX = ".unrated.csv"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: rows, and how many entries are in the companion, which is None without any."""

    rows: int
    unrated_entries: int
    companion: Path | None


def companion_of(path: Path) -> Path:
    """Return the file for what has no price: NAME.unrated.csv beside NAME.csv."""
    return path.with_name(path.name.removesuffix(SUFFIX) + UNRATED_SUFFIX)


def write_focus(export: Export, path: Path, *, overwrite: bool = False, told: Told | None = None) -> Written:
    """Write an export as CSV, with its companion where one is needed.

    Raises:
        StoreError: a file is there already or cannot be written, or the ledger does not add up. Nothing is
            left then that was not there before.
    """
    companion, unrated = companion_of(path), export.count_unrated()
    if not unrated and companion.exists() and not (overwrite and companion.is_file()):
        raise Conflict(f"{companion} is there already, and would not belong to {path}: delete it first.")
    with contextlib.ExitStack() as files:
        file = files.enter_context(complete_file(path, overwrite=overwrite))
        rows = write(export.table(told), Format.CSV, file)
        put_on_disk(file)  # before the companion gets its name
        if unrated:
            beside = files.enter_context(complete_file(companion, overwrite=overwrite))
            write(export.unrated(), Format.CSV, beside)
    if not unrated:
        companion.unlink(missing_ok=True)
    return Written(rows, unrated, companion if unrated else None)
