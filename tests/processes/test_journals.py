"""Where journals lie, and what another number of workers has left."""

import logging
from functools import partial
from pathlib import Path

import pytest

from proxy.processes.journals import journals, left_over, warn_of_left_over
from proxy.store.journal_file import JournalFile, pack
from tests.apps import settings_in
from tests.checks.test_journal import opened


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def leave(path: Path, *sessions: str) -> None:
    """Make a journal that holds the beginnings of these sessions."""
    file = JournalFile(path)
    for name in sessions:
        row = pack(opened(name), 1)
        file.commit([partial(JournalFile.add, row=row)])
    file.close()


def test_one_for_each(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "http://127.0.0.1:1", journal_path=tmp_path / "j.db")
    assert names(journals(settings)) == ["j.db"]
    three = settings.model_copy(update={"workers": 3})
    assert names(journals(three)) == ["j.db.1", "j.db.2", "j.db.3"]


def test_what_is_left_of_another_number_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not what is ours, nor what is empty."""
    settings = settings_in(tmp_path, "http://127.0.0.1:1", journal_path=tmp_path / "j.db", workers=2)
    leave(tmp_path / "j.db", "s1", "s2")
    leave(tmp_path / "j.db.1", "s3")
    leave(tmp_path / "j.db.3")
    assert left_over(settings) == [
        f"{tmp_path / 'j.db'} is of another number of workers, and holds 2 records"
    ]
    with caplog.at_level(logging.WARNING):
        warn_of_left_over(settings)
    assert "as many workers as before" in caplog.text
    single = settings.model_copy(update={"workers": 1})
    assert [said.split(" is ")[0] for said in left_over(single)] == [str(tmp_path / "j.db.1")]


def test_what_is_no_journal_keeps_nobody_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_in(tmp_path, "http://127.0.0.1:1", journal_path=tmp_path / "j.db", workers=2)
    (tmp_path / "j.db").write_bytes(b"something else entirely" * 100)
    warn_of_left_over(settings)
    assert "cannot be read" in caplog.text
