"""A FOCUS export as files: complete, and no companion beside it that is not its own."""

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from proxy.core.usage import Meter
from proxy.exports.focus import Export, Wanted
from proxy.exports.focus_columns import Version
from proxy.exports.focus_files import companion_of, write_focus
from proxy.exports.focus_rows import View
from proxy.store import Conflict, StoreError
from proxy.store.database import migrate, open_database
from proxy.store.filters import EVERYTHING, Filters
from proxy.store.schema import ledger_line
from tests.ledgers import NOW, Books
from tests.tampering import tampering


@pytest.fixture
def engine(sqlite_url: str) -> Engine:
    engine = open_database(sqlite_url, checkpoints=True)
    migrate(engine)
    books = Books(engine)
    books.open("s1", "acme")
    books.open("s2", "globex")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=NOW)
    books.bill("s2", "r2", {Meter.TEXT_IN: 10}, at=NOW, model="unheard-of")
    return engine


def export(engine: Engine, filters: Filters = EVERYTHING) -> Export:
    return Export.of(engine, Wanted(Version.V1_2, View(), filters, "2026-11"))


@pytest.mark.parametrize(
    ("name", "companion"),
    [("a.csv", "a.unrated.csv"), ("a", "a.unrated.csv"), ("a.b", "a.b.unrated.csv")],
)
def test_the_companion_has_the_files_name(name: str, companion: str) -> None:
    assert companion_of(Path("x") / name) == Path("x") / companion


def test_both_files_are_there_and_an_old_companion_is_not(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "focus.csv"
    heard: list[int] = []
    written = write_focus(export(engine), path, told=heard.append)
    assert (written.rows, written.unrated_entries, written.companion) == (1, 1, companion_of(path))
    assert len(companion_of(path).read_text().splitlines()) == 2
    with pytest.raises(Conflict, match=r"focus\.csv is there already"):
        write_focus(export(engine), path)
    path.unlink()
    with pytest.raises(Conflict, match=r"unrated\.csv is there already"):
        write_focus(export(engine), path)
    acme = export(engine, Filters(tenant="acme"))
    with pytest.raises(Conflict, match="would not belong to"):
        write_focus(acme, path)
    assert not path.exists()
    written = write_focus(acme, path, overwrite=True)
    assert (written.rows, written.companion) == (1, None)
    companion_of(path).mkdir()
    with pytest.raises(Conflict, match="would not belong to"):
        write_focus(acme, path, overwrite=True)
    companion_of(path).rmdir()
    assert [one.name for one in tmp_path.iterdir() if "focus" in one.name] == ["focus.csv"]


def test_what_fails_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    with tampering(engine) as connection:
        connection.execute(update(ledger_line).where(ledger_line.c.entry_id == 1).values(cost_nanousd=1))
    (folder := tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match="not what its lines add up to"):
        write_focus(export(engine), folder / "focus.csv")
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_full_in_the_end_leaves_no_companion_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The companion is in its place first: by then the file has to be on disk."""
    sync = os.fsync

    def full(handle: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{handle}")).name.startswith(".focus.csv."):
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    (folder := tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match="focus.csv cannot be written: No space left"):
        write_focus(export(engine), folder / "focus.csv")
    assert list(folder.iterdir()) == []


def test_it_is_told_how_far_it_is(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.exports.focus.TELL_ENTRIES", 1)
    heard: list[int] = []
    write_focus(export(engine), tmp_path / "focus.csv", told=heard.append)
    assert heard == [1, 2] and export(engine).count() == 2
