"""The journal of this instance: whether it can be written, who has it, its disk, and what waits in it."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from proxy.checks.findings import Finding, failed, not_asked, of_all, ok, warning
from proxy.checks.places import talkmeter_at
from proxy.processes.journals import LEFT_OVER_TO_DO, journals, left_over
from proxy.settings import Settings
from proxy.store import StoreError
from proxy.store.journal_file import Backlog, Reader
from proxy.store.journal_lock import holder
from proxy.store.reserve import FREE_BYTES_MIN, Reserve, reserve_path

MIB = 1024 * 1024
ROOM_BYTES_WARNED = 1024 * MIB  # the journal grows for as long as the database is away
FLEETING = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})  # gone with the machine's or the container's end
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "fuse.sshfs"})
_LOCAL_DISK = "give each instance a local disk (a volume) that survives a restart: TALKMETER_JOURNAL_PATH"


class Mount(NamedTuple):
    """What a folder lies on."""

    point: str
    kind: str
    device: str


def ask_journal(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of "journal", "journal disk" and "journal backlog": of all journals."""
    paths = [path.absolute() for path in journals(settings)]
    for path in paths:
        writable_folder(path, "TALKMETER_JOURNAL_PATH")
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise StoreError(f"TALKMETER_JOURNAL_PATH is {str(path)!r}: this user may not write to it")
    owners = {path: _owner(path) for path in paths}
    yield of_all([_journal(settings, path, owner) for path, owner in owners.items()])
    rooms = [Reserve(reserve_path(path)).room for path in paths]
    needed = FREE_BYTES_MIN + sum(more - FREE_BYTES_MIN for _, more in rooms)
    yield disk(paths[0], _mount(paths[0]), rooms[0][0], needed)
    yield of_all([_backlog(path, owner) for path, owner in owners.items()] + [*_left_over(settings)])


def _backlog(path: Path, owner: str | None) -> Finding:
    if not path.exists():
        return not_asked("journal backlog", "there is no journal yet: `talkmeter serve` makes it")
    return backlog(_read(path), is_held=owner is not None)


def _left_over(settings: Settings) -> Iterator[Finding]:
    try:
        for said in left_over(settings):
            yield warning("journal backlog", f"{said} that are not in the ledger", LEFT_OVER_TO_DO)
    except sqlite3.DatabaseError as error:
        raise StoreError(f"A journal of another number of workers cannot be read: {error}") from None


def writable_folder(path: Path, setting: str) -> None:
    """Raises StoreError: nothing can be written where `path` is to lie."""
    folder = path.parent
    if not folder.is_dir():
        raise StoreError(f"{setting}: there is no folder {str(folder)!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{setting}: this user may not write to {str(folder)!r}")


def _owner(path: Path) -> str | None:
    try:
        return holder(path)
    except OSError as error:
        raise StoreError(f"{path}.lock: {error.strerror}") from None


def _journal(settings: Settings, path: Path, owner: str | None) -> Finding:
    if owner is None:
        return ok("journal", f"{path} can be written, and no process has it")
    who = f"{path} is in use by pid {owner}{_called(owner)}"
    if talkmeter_at(settings.listen, is_tls=settings.tls_cert is not None) is not None:
        return ok("journal", f"{who}, and Talkmeter answers at {settings.listen}")
    return warning(
        "journal",
        f"{who}, and no Talkmeter answers at TALKMETER_LISTEN ({settings.listen})",
        "give each instance a journal of its own; if it is this one, it starts, stops or hangs",
    )


def _called(pid: str) -> str:
    """Return the program's name in brackets, where the system tells it; never its arguments."""
    with contextlib.suppress(OSError, ValueError):
        return f" ({Path('/proc', str(int(pid)), 'comm').read_text(errors='replace').strip()})"
    return ""


# --- Its disk


def disk(path: Path, mount: Mount | None, free: int, needed: int) -> Finding:
    """Return whether the journal's disk is one, and large enough: `needed` bytes, the reserve among them."""
    name = "journal disk"
    where = f"the disk of {path}" if mount is None else f"{mount.point} ({mount.kind}, {mount.device})"
    text = f"{where} has {free // MIB:,} MiB left"
    if free < needed:
        wants = f"make room: with less than {needed // MIB:,} MiB no session is admitted"
        return failed(name, text, wants)
    if mount is not None and mount.kind in FLEETING:
        return warning(name, f"{text}, and may be gone after a restart, with what is not posted", _LOCAL_DISK)
    if mount is not None and mount.kind in REMOTE:
        return warning(
            name, f"{text}, and is reached over a network: flushes and locks may fail", _LOCAL_DISK
        )
    if free < ROOM_BYTES_WARNED:
        return warning(name, text, "make room: the journal grows for as long as the database is away")
    return ok(name, text)


def _mount(path: Path) -> Mount | None:
    """Return what the system says that a path lies on; None where it does not say."""
    with contextlib.suppress(OSError):
        table = Path("/proc/self/mountinfo").read_text(errors="replace")
        return mount_of(table, path.parent.resolve())
    return None


def mount_of(table: str, folder: Path) -> Mount | None:
    """Return the mount in a `mountinfo` table that a folder lies on: the last of the deepest."""
    found: Mount | None = None
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields, facts = before.split(), after.split()
        if len(fields) < 5 or len(facts) < 2:
            continue
        point = fields[4].replace("\\040", " ")
        if folder.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
            found = Mount(point, facts[0], facts[1])
    return found


# --- What waits in it


def _read(path: Path) -> Backlog:
    try:
        reader = Reader(path)
        try:
            return reader.backlog()
        finally:
            reader.close()
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be read as a journal: {error}") from None


def backlog(waiting: Backlog, *, is_held: bool) -> Finding:
    """Return what it means that so much waits to be posted, to a running instance or to the next start."""
    name = "journal backlog"
    since = ""
    if waiting.oldest_at is not None:
        since = f", the oldest of {datetime.fromtimestamp(waiting.oldest_at / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
    text = f"{waiting.unposted:,} records are not in the ledger yet{since}"
    if waiting.parked:
        more = f"{text}, and {waiting.parked:,} were refused by it"
        return warning(name, more, "read why in the log of `talkmeter serve`; each start tries them again")
    if not waiting.unposted:
        return ok(name, "everything is in the ledger")
    if is_held:
        return ok(name, text)
    return warning(name, text, "start `talkmeter serve` on this journal: it posts them. Do not delete it")
