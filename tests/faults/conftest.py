"""A home for a Talkmeter that will be treated badly."""

from pathlib import Path

import pytest

from tests.e2e.place import Home, furnish


@pytest.fixture
def home(tmp_path: Path, sqlite_url: str) -> Home:
    """A home on an embedded database."""
    return furnish(tmp_path, sqlite_url)


@pytest.fixture
def postgres_home(tmp_path: Path, migrated_postgres_url: str) -> Home:
    """A home on PostgreSQL."""
    return furnish(tmp_path, migrated_postgres_url)
