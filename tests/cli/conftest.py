"""The command line in this process, against a database of either kind."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from proxy.settings import PREFIX
from proxy.store.database import open_database
from tests import commands
from tests.ledgers import PEPPER, Books


@dataclass
class Ran:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def said(text: str) -> str:
    """Return an error as one line, out of its frame."""
    return " ".join(text.replace("│", " ").split())


class Talkmeter:
    """Runs `talkmeter` commands."""

    def run(self, *words: str, given: str = "") -> Ran:
        """Run a command that may fail; a traceback fails the test."""
        result = commands.run(*words, given=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def __call__(self, *words: str, given: str = "") -> Ran:
        """Run a command that has to succeed."""
        ran = self.run(*words, given=given)
        assert ran.code == 0, ran
        return ran

    def fails(self, *words: str, given: str = "", code: int = 1) -> str:
        """Run a command that has to fail, and return what it says."""
        ran = self.run(*words, given=given)
        assert ran.code == code and ran.out == "" and ran.err, ran
        return ran.err


@pytest.fixture
def talkmeter(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Talkmeter:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}KEY_PEPPER", PEPPER.decode())
    return Talkmeter()


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    """The ledger of the database that the commands use."""
    engine: Engine = open_database(database_url)
    yield Books(engine)
    engine.dispose()
