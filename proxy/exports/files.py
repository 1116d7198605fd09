"""A file that is there when it is complete, and not before.

It is written beside its place under a hidden name, put on disk, and renamed. Whoever is killed leaves at most
a hidden `.NAME.….part`, which disturbs nobody and can be deleted.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from proxy.store import Conflict, StoreError

PART = ".part"
_NAME_CHARS = 40  # of the name that the hidden one has: together they have to be a name


@contextlib.contextmanager
def complete_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write, at `path` once the block has ended well, and nowhere if it has not.

    Only this user may read it: a ledger is not for all.

    Raises:
        StoreError: there is something already that may not be written over, or the file cannot be written,
            also where it was the block that found that out.
    """
    place = Path(os.path.realpath(path))
    _refuse(path, place, overwrite)
    try:
        with _part_of(place) as file:
            yield file
            put_on_disk(file)
            _refuse(path, place, overwrite)
        _sync_folder(place.parent)
    except OSError as problem:
        raise StoreError(f"{path} cannot be written: {problem.strerror or problem}.") from None


@contextlib.contextmanager
def _part_of(place: Path) -> Iterator[BinaryIO]:
    """A hidden file beside its place, which it takes once the block has ended well."""
    handle, name = tempfile.mkstemp(prefix=f".{place.name[:_NAME_CHARS]}.", suffix=PART, dir=place.parent)
    part = Path(name)
    try:
        with open(handle, "wb") as file:
            yield file
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def put_on_disk(file: BinaryIO) -> None:
    """Put on disk what was written so far. What fits on it no more is an OSError here, not later."""
    file.flush()
    os.fsync(file.fileno())


def _refuse(path: Path, place: Path, overwrite: bool) -> None:
    if place.is_symlink():
        raise StoreError(f"{path} is a link that leads nowhere: name a file.")
    if place.exists() and not place.is_file():
        raise StoreError(f"{path} is not a file: name one.")
    if place.exists() and not overwrite:
        raise Conflict(f"{path} is there already: name another file, or --force it.")


def _sync_folder(folder: Path) -> None:
    """Put the new name on disk too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
