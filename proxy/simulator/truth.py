"""The truth file: what the simulator sent, and what it says that cost. The tests' oracle.

JSON lines, appended and flushed one by one *before* the message leaves, so that whatever a killed
process sent is in the file. Fields of a line:

    n          1, 2, 3 … over the life of the file
    what       "opened" (a response.created), "response" or "transcription"
    session    the session's id as it stood in session.created
    subject    the response's id; for a transcription `item_id:content_index`
    model      the model that it is billed as, null when none was set
    status     the response's status; "completed" for a transcription; "in_progress" when opened
    usage      the usage object as it stood on the wire; null when it was null, absent, or opened
    usd        the price as a decimal string; null when the wire carried no usage or the model has
               no price. Exact; durations are rounded to the nano-dollar, half to even
    duplicate  true when a line for the same subject came before: nothing more is owed
    fault      the name of the fault that bent this usage on the wire, else null. `usd` is then "0"
               for `zero_usage`, null where the wire carried no usage, and for the others the price
               of what was really generated
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

NOBODY = ("", "")


@dataclass(frozen=True, slots=True)
class Truth:
    """One line of the file; see the module's description."""

    n: int
    what: Literal["opened", "response", "transcription"]
    session: str
    subject: str
    model: str | None
    status: str
    usage: dict[str, Any] | None
    usd: str | None
    duplicate: bool
    fault: str | None = None
    real: dict[str, Any] | None = None
    at: float | None = None
    payer: tuple[str, str] = NOBODY

    @property
    def owed(self) -> dict[str, Any] | None:
        """Return the usage that is owed; nothing twice."""
        return None if self.duplicate or self.what == "opened" else self.real or self.usage


class TruthFile:
    """Appends lines to a truth file, one process at a time; without a path it keeps nothing.

    `told` hears of every line, at a start of those that are there already.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.time,
        told: Callable[[Truth], None] = lambda _: None,
    ) -> None:
        self._n = _mend(path) if path and path.exists() else 0
        self._clock = clock
        self._told = told
        for line in read(path) if path and self._n else ():
            told(line)
        self._file = path.open("a", encoding="utf-8") if path else None

    def write(
        self,
        what: Literal["opened", "response", "transcription"],
        session: str,
        subject: str,
        *,
        model: str | None,
        status: str,
        usage: dict[str, Any] | None = None,
        usd: Decimal | None = None,
        duplicate: bool = False,
        fault: str | None = None,
        real: dict[str, Any] | None = None,
        payer: tuple[str, str] = NOBODY,
    ) -> None:
        """Append one line and hand it to the operating system."""
        price = None if usd is None else f"{usd.normalize():f}"
        line = Truth(
            self._n + 1,
            what,
            session,
            subject,
            model,
            status,
            usage,
            price,
            duplicate,
            fault,
            real,
            self._clock(),
            payer,
        )
        self._n = line.n
        if self._file is not None:
            self._file.write(json.dumps(asdict(line), separators=(",", ":")) + "\n")
            self._file.flush()
        self._told(line)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _mend(path: Path) -> int:
    """Cut off a last line that a kill left incomplete; return how many whole ones there are."""
    content = path.read_bytes()
    whole, newline, rest = content.rpartition(b"\n")
    if rest:
        with path.open("r+b") as file:
            file.truncate(len(whole + newline))
    return content.count(b"\n")


def read(path: Path) -> list[Truth]:
    """Return the lines of a truth file; a last line that a kill cut short is left out."""
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [_line(text) for text in whole.splitlines()]


def _line(text: str) -> Truth:
    line = Truth(**json.loads(text))
    return replace(line, payer=(line.payer[0], line.payer[1]))


def total_usd(lines: Iterable[Truth]) -> Decimal:
    """Return what the lines cost together; duplicates and unpriced lines add nothing."""
    return sum((Decimal(line.usd) for line in lines if line.usd and not line.duplicate), Decimal(0))
