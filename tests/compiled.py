"""Statements are compiled once a run, not once an engine: tests open thousands of engines.

Connections to PostgreSQL are shared here too (`tests/warm.py`): this is where every engine comes by.

SQLAlchemy keeps what it compiled per engine and dialect object. Here all engines of one kind come to share
both: from the second one on, once the first has learned from its server what it is.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

from proxy.store import database
from tests.warm import WARM

STATEMENTS_MAX = 5_000


def share_compiled_statements() -> None:
    """Let every engine that Talkmeter opens in this process share what was compiled for the others."""
    for name in ("_open_sqlite", "_open_postgres"):
        setattr(database, name, _sharing(getattr(database, name)))


def _sharing(opens: Callable[..., Engine]) -> Callable[..., Engine]:
    model: Engine | None = None
    compiled: LRUCache[Any, Any] = LRUCache(STATEMENTS_MAX)

    @wraps(opens)
    def opened(*arguments: Any, **options: Any) -> Engine:
        nonlocal model
        engine = opens(*arguments, **options)
        engine._compiled_cache = compiled
        if engine.dialect.name == "postgresql":
            WARM.watch(engine)
        if model is None or not _is_initialized(model):
            model = engine
        else:
            engine.dialect = model.dialect
        return engine

    return opened


def _is_initialized(engine: Engine) -> bool:
    """Whether its first connection was made: it tells the dialect what the server can."""
    return getattr(engine.dialect, "server_version_info", None) is not None and hasattr(
        engine.dialect, "default_schema_name"
    )
