"""Bytes received and not yet scanned, put together without copying them again and again."""


class Received:
    """What is to be scanned: `data` from `pos` on, as much of it in one piece as is needed, after `fill`.

    The scanner moves `pos` on, and sets `need` when it can do nothing below so many bytes. Until then what
    comes is only collected: a frame of 16 MiB that arrives in pieces of 1 KiB is copied twice, not 8,000
    times, and one that arrives byte by byte takes no more memory than its length. What comes behind a
    message that was waited for is not copied at all: it is scanned next, where it lies.
    """

    __slots__ = ("_more", "_more_pos", "data", "need", "pos")

    def __init__(self) -> None:
        """Start with nothing."""
        self.data = b""
        self.pos = 0
        self.need = 0
        self._more: bytes | bytearray = b""  # what comes after `data` …
        self._more_pos = 0  # … from here on

    def __len__(self) -> int:
        """Return how many bytes wait."""
        return len(self.data) - self.pos + len(self._more) - self._more_pos

    @property
    def is_empty(self) -> bool:
        return self.pos == len(self.data) and not self._more

    def since(self, begin: int) -> bytes | memoryview:
        """Return what lies between `begin` and `pos`.

        Most of `data` as a view, since to copy a quarter of a megabyte takes a while. A little of it as a
        copy: a view would keep all of it in memory for as long as that waits to be sent.
        """
        size = self.pos - begin
        if size == len(self.data):
            return self.data
        if 2 * size >= len(self.data):
            return memoryview(self.data)[begin : self.pos]
        return self.data[begin : self.pos]

    def feed(self, data: bytes) -> bool:
        """Append `data`, not copied if little waits; return whether there is as much as is needed."""
        rest = len(self.data) - self.pos
        if self._more:
            if isinstance(self._more, bytes):
                self._more, self._more_pos = bytearray(self._more[self._more_pos :]), 0
            self._more += data
        elif rest:
            self._more = data
        else:
            self.data, self.pos, rest = data, 0, 0
            return len(data) >= self.need
        return rest + len(self._more) - self._more_pos >= self.need

    def fill(self) -> bool:
        """Make `data` hold something, and as much as is needed; return False if that has not come yet."""
        rest, more = len(self.data) - self.pos, len(self._more) - self._more_pos
        if rest + more < (self.need or 1):
            self.compact()
            return False
        if not rest:
            self._go_on()
        elif rest < self.need:
            self._complete(self.need - rest)
        self.need = 0
        return True

    def _go_on(self) -> None:
        """Scan what comes next where it lies."""
        if isinstance(self._more, bytes):
            self.data, self.pos = self._more, self._more_pos
        else:
            self.data, self.pos = bytes(memoryview(self._more)[self._more_pos :]), 0
        self._more, self._more_pos = b"", 0

    def _complete(self, missing: int) -> None:
        """Put what is left and the `missing` bytes that follow it into one piece."""
        end = self._more_pos + missing
        self.data = b"".join((self.data[self.pos :], memoryview(self._more)[self._more_pos : end]))
        self.pos = 0
        self._more_pos = end
        if end == len(self._more):
            self._more, self._more_pos = b"", 0

    def compact(self) -> None:
        """Let go of what was scanned."""
        self.data, self.pos = self.data[self.pos :], 0

    def clear(self) -> None:
        """Let go of everything."""
        self.data, self.pos, self.need = b"", 0, 0
        self._more, self._more_pos = b"", 0
