"""Disk space set aside, so that a full disk still lets live sessions finish.

A file of `size_bytes` lies beside the journal. When a write finds the disk full, the file is removed and the
write is done again in the space it leaves; nothing new is admitted until there is room to take it back.
"""

import errno
import os
from pathlib import Path

RESERVE_BYTES = 64 * 2**20
FREE_BYTES_MIN = 64 * 2**20


def reserve_path(journal: Path) -> Path:
    """Return where the reserve of a journal lies."""
    return journal.with_name(journal.name + ".reserve")


class Reserve:
    """The file that holds the space. Used by one thread only; raises OSError only for a broken disk."""

    def __init__(
        self, path: Path, *, size_bytes: int = RESERVE_BYTES, free_bytes_min: int = FREE_BYTES_MIN
    ) -> None:
        """`free_bytes_min`: with less free than this, apart from the reserve, nothing new should start."""
        self._path = path
        self._size_bytes = size_bytes
        self._free_bytes_min = free_bytes_min
        self.is_held = self._is_allocated()

    def check(self) -> bool:
        """Take the reserve if there is room for it; return whether there is space to start something new."""
        free = self._free_bytes()
        if not self.is_held and free >= self._size_bytes + self._free_bytes_min:
            self.is_held = self._allocate()
            free = self._free_bytes()
        return self.is_held and free >= self._free_bytes_min

    @property
    def room(self) -> tuple[int, int]:
        """Return how many bytes are free, and how many should be: less where the reserve is held already."""
        return self._free_bytes(), self._free_bytes_min + (0 if self.is_held else self._size_bytes)

    def release(self) -> bool:
        """Give the space to whoever needs it now; return False if it was given before."""
        if not self.is_held:
            return False
        self._path.unlink(missing_ok=True)
        self.is_held = False
        return True

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def _is_allocated(self) -> bool:
        """A file left by the process before counts if it really occupies its blocks (512 bytes each)."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        return found.st_size >= self._size_bytes and found.st_blocks * 512 >= self._size_bytes

    def _allocate(self) -> bool:
        """Write the file; False if the space was gone before we had it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size_bytes)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False
        finally:
            os.close(descriptor)
        return True
