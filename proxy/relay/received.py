"""Bytes received and not yet scanned, put together without copying them again and again."""


class Received:
    """What is to be scanned: `data` from `pos` on, in one piece after `fill`.

    The scanner moves `pos` on, and sets `need` when it can do nothing below so many bytes. Until then what
    comes is only collected: a frame of 16 MiB that arrives in pieces of 1 KiB is copied twice, not 8,000
    times, and one that arrives byte by byte takes no more memory than its length.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.data = b""
        self.pos = 0
        self.need = 0
        self._more = bytearray()

    def __len__(self) -> int:
        """Return how many bytes wait."""
        return len(self.data) - self.pos + len(self._more)

    def feed(self, data: bytes) -> None:
        """Append `data`; it is not copied if nothing waits."""
        if len(self):
            self._more += data
        else:
            self.data, self.pos = data, 0

    def fill(self) -> bool:
        """Put everything into `data` and return True, if there is something, and as much as is needed."""
        if len(self) < max(1, self.need):
            self.compact()
            return False
        if self._more:
            self.data = b"".join((memoryview(self.data)[self.pos :], self._more))
            self.pos = 0
            self._more = bytearray()
        self.need = 0
        return True

    def compact(self) -> None:
        """Let go of what was scanned."""
        self.data, self.pos = self.data[self.pos :], 0

    def clear(self) -> None:
        """Let go of everything."""
        self.data, self.pos, self.need = b"", 0, 0
        self._more = bytearray()
