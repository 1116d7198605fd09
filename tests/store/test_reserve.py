"""The reserve: space that is really there, given up once, taken back when there is room."""

import os
from pathlib import Path

import pytest

from proxy.store.reserve import Reserve

SIZE = 256 * 1024


def test_room(tmp_path: Path) -> None:
    """Less has to be free where the reserve is held already; looking takes nothing."""
    path = tmp_path / "reserve"
    free, needed = Reserve(path, size_bytes=SIZE, free_bytes_min=7).room
    assert free > 0 and needed == SIZE + 7 and not path.exists()
    Reserve(path, size_bytes=SIZE, free_bytes_min=7).check()
    assert Reserve(path, size_bytes=SIZE, free_bytes_min=7).room[1] == 7


def test_it_occupies_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    assert Reserve(path, size_bytes=SIZE, free_bytes_min=0).check()
    assert path.stat().st_blocks * 512 >= SIZE


def test_it_is_given_once_and_taken_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", size_bytes=SIZE, free_bytes_min=0)
    reserve.check()
    assert (reserve.release(), reserve.release()) == (True, False)
    assert not (tmp_path / "reserve").exists()
    assert reserve.check()
    assert reserve.release()


def test_what_a_process_before_left_counts(tmp_path: Path) -> None:
    Reserve(tmp_path / "reserve", size_bytes=SIZE, free_bytes_min=0).check()
    assert Reserve(tmp_path / "reserve", size_bytes=SIZE, free_bytes_min=0).is_held


def test_a_file_without_blocks_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    path.touch()
    os.truncate(path, SIZE)
    assert not Reserve(path, size_bytes=SIZE, free_bytes_min=0).is_held


def test_without_room_for_it_nothing_new_starts(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", size_bytes=2**60, free_bytes_min=0)
    assert not reserve.check()
    assert not (tmp_path / "reserve").exists()


def test_little_free_space_besides_it_is_too_little(tmp_path: Path) -> None:
    Reserve(tmp_path / "reserve", size_bytes=SIZE, free_bytes_min=0).check()
    assert not Reserve(tmp_path / "reserve", size_bytes=SIZE, free_bytes_min=2**60).check()


def test_a_broken_disk_is_an_error(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "gone" / "reserve", size_bytes=SIZE)
    with pytest.raises(OSError, match="No such file"):
        reserve.check()
