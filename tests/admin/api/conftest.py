"""A control plane to ask, on a database of either kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.admin.api.asking import Asking, asking


@pytest.fixture
async def api(tmp_path: Path, database_url: str) -> AsyncIterator[Asking]:
    """The API on each kind of database."""
    async with asking(tmp_path, database_url) as asked:
        yield asked


@pytest.fixture
async def embedded(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Asking]:
    """The API on an embedded database: for what has nothing to do with the database."""
    async with asking(tmp_path, sqlite_url) as asked:
        yield asked
