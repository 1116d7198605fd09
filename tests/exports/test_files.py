"""A file is complete or it is not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.exports.files import PART, complete_file
from proxy.exports.formats import Format
from proxy.store import Conflict, StoreError

ROOT = Path(__file__).parents[2]


def test_it_is_there_when_the_block_has_ended_well(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with complete_file(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_when_it_has_not(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), complete_file(tmp_path / "a.csv") as file:
        file.write(b"%d" % (1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_written_over_only_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with pytest.raises(Conflict, match="is there already"), complete_file(path):
        pass
    with complete_file(path, overwrite=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_what_came_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(Conflict), complete_file(path):
        path.write_bytes(b"another's")
    assert path.read_bytes() == b"another's" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "a.csv", tmp_path / "link.csv"
    path.write_bytes(b"old")
    link.symlink_to(path)
    with complete_file(link, overwrite=True) as file:
        file.write(b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"


def test_a_link_that_leads_nowhere_is_no_place(tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(link)
    with pytest.raises(StoreError, match="leads nowhere"), complete_file(link, overwrite=True):
        pass
    assert link.is_symlink()


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "\U0001f600" * 62])
def test_the_longest_name_that_a_folder_takes(tmp_path: Path, name: str) -> None:
    with complete_file(tmp_path / name) as file:
        file.write(b"one")
    assert (tmp_path / name).read_bytes() == b"one"


@pytest.mark.parametrize("name", ["", "no/such/folder.csv"])
def test_where_no_file_can_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError), complete_file(tmp_path / name, overwrite=True):
        pass


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    told = pytest.raises(StoreError, match=r"a\.csv cannot be written: No space left")
    with told, complete_file(tmp_path / "a.csv"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(StoreError, match="not a file"), complete_file(Path("/dev/null"), overwrite=True):
        pass


@pytest.mark.parametrize("format", [Format.CSV, Format.PARQUET])
def test_a_kill_leaves_nothing_half_done(tmp_path: Path, format: Format) -> None:
    """Neither a file where there was none nor half of one in place of the old; the next is undisturbed."""
    path = tmp_path / f"ledger.{format}"
    for before in (None, b"old"):
        if before is not None:
            path.write_bytes(before)
        _kill_in_the_midst(format, path)
        assert (path.read_bytes() if path.exists() else None) == before
        parts = [one for one in tmp_path.iterdir() if one.name.endswith(PART)]
        assert parts
    with complete_file(path, overwrite=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def _kill_in_the_midst(format: Format, path: Path) -> None:
    command = [sys.executable, "-m", "tests.exports.endless_worker", format, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == b"under way\n"
        worker.send_signal(signal.SIGKILL)
