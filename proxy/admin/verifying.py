"""Verifying the ledger: one at a time, since it reads all of it; in the caller's thread or in one of its own.

What one in the background came to is kept until the next one, or until the process ends.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.store import StoreError
from proxy.store.verify import Verdict, verify

STOP_S = 5.0  # for one in the background to end when the process does

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Verify = Callable[[str | None, Progress | None], Verdict]  # of a digest that was kept; and who is told


@dataclass(frozen=True, slots=True)
class Verification:
    """One in the background. Over once it has `ended_at`; then there is a verdict, or why there is none.

    `total` is 0 until the first entries are done.
    """

    begun_by: str
    begun_at: datetime
    compared: bool
    done: int = 0
    total: int = 0
    ended_at: datetime | None = None
    verdict: Verdict | None = None
    failed: str | None = None


class Busy(Exception):
    """Raised where the ledger is being verified already."""


class _Stopped(Exception):
    """Raised in the thread: the process ends."""


class Verifier:
    """Verifies one ledger."""

    def __init__(self, verify: Verify, clock: Callable[[], datetime]) -> None:
        self._verify = verify
        self._clock = clock
        self._alone = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: Verification | None = None

    @classmethod
    def of(cls, engine: Engine, zone: tzinfo, clock: Callable[[], datetime]) -> "Verifier":
        """Return one for the ledger of a database."""
        return cls(lambda kept, progress: verify(engine, zone, progress, kept=kept), clock)

    @property
    def last(self) -> Verification | None:
        """Return the last one that was begun in the background, as far as it is; None before the first."""
        return self._last

    def run(self, kept: str | None) -> Verdict:
        """Verify, in the caller's thread; raises Busy, and what `verify` raises."""
        self._begin()
        try:
            return self._verify(kept, None)
        finally:
            self._alone.release()

    def begin(self, kept: str | None, by: str) -> Verification:
        """Verify in the background. Return how far it is, which is nowhere yet.

        Raises:
            Busy: it is being verified already.
            RuntimeError: no thread can be started now; nothing has begun then.
        """
        self._begin()
        before, begun = self._last, Verification(by, self._clock(), kept is not None)
        thread = threading.Thread(target=self._run, args=[kept, begun], name="verify", daemon=True)
        self._last = begun
        try:
            thread.start()
        except RuntimeError:
            self._last = before
            self._alone.release()
            raise
        self._thread = thread
        return begun

    def stop(self) -> None:
        """End what runs in the background, at its next entries."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _begin(self) -> None:
        if not self._alone.acquire(blocking=False):
            raise Busy

    def _run(self, kept: str | None, begun: Verification) -> None:
        """In a thread of its own: verify, and keep what came of it."""
        last = begun

        def tell(done: int, total: int) -> None:
            nonlocal last
            if self._stopping.is_set():
                raise _Stopped
            last = self._last = replace(last, done=done, total=total)

        verdict, failed = None, None
        try:
            verdict = self._verify(kept, tell)
        except _Stopped:
            failed = "Talkmeter was stopped meanwhile."
        except StoreError as error:
            failed = str(error)
        except SQLAlchemyError:
            logger.exception("verifying the ledger failed")
            failed = "The database did not answer: the log of the control plane says more."
        except Exception:
            logger.exception("verifying the ledger failed")
            failed = "This is a fault of Talkmeter's: the log of the control plane says more."
        finally:
            self._last = replace(last, ended_at=self._clock(), verdict=verdict, failed=failed)
            self._alone.release()
