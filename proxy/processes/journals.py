"""Where the journals of `talkmeter serve` lie: one for a single process, one numbered for each worker."""

import logging
import sqlite3
from pathlib import Path

from proxy.settings import WORKERS_MAX, Settings
from proxy.store.journal_file import Reader

logger = logging.getLogger(__name__)

LEFT_OVER_TO_DO = "start `talkmeter serve` with as many workers as before, and stop it: so it is posted"


def journals(settings: Settings) -> list[Path]:
    """Return the journals that a start opens; those of workers in their order."""
    if settings.workers == 1:
        return [settings.journal]
    return [numbered(settings, worker) for worker in range(1, settings.workers + 1)]


def numbered(settings: Settings, worker: int) -> Path:
    """Return where the journal of a worker lies."""
    return settings.journal.with_name(f"{settings.journal.name}.{worker}")


def left_over(settings: Settings) -> list[str]:
    """Return what journals of another number of workers hold, which nothing posts: a line each.

    Raises:
        sqlite3.DatabaseError: one of them cannot be read as a journal.
    """
    others = [settings.journal, *(numbered(settings, worker) for worker in range(1, WORKERS_MAX + 1))]
    return [said for path in others if path not in journals(settings) and (said := _left_in(path))]


def warn_of_left_over(settings: Settings) -> None:
    """Log what journals of another number of workers hold."""
    try:
        for said in left_over(settings):
            logger.warning("%s that are not in the ledger: %s", said, LEFT_OVER_TO_DO)
    except sqlite3.DatabaseError as error:
        logger.warning("a journal of another number of workers cannot be read", extra={"error": error})


def _left_in(path: Path) -> str | None:
    if not path.exists():
        return None
    reader = Reader(path)
    try:
        waiting = reader.backlog()
    finally:
        reader.close()
    count = waiting.unposted + waiting.parked
    return f"{path} is of another number of workers, and holds {count:,} records" if count else None
