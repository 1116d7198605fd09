"""One data plane or several workers, asked over their sockets."""

from pathlib import Path

import pytest

from proxy.admin.data_planes import DataPlanes, Silent
from tests.admin.data_plane import data_plane


async def test_the_only_one_speaks_for_itself(tmp_path: Path) -> None:
    async with data_plane(tmp_path) as path, DataPlanes([str(path)]) as planes:
        assert await planes.problems() == []
        body, workers = await planes.metrics("")
        assert b"talkmeter_x_total 1.0" in body and (workers, planes.workers) == ({}, [])
    async with DataPlanes([str(path)]) as planes:
        assert await planes.problems() == ["the data plane does not answer: UnixClientConnectorError"]
        with pytest.raises(Silent, match="the data plane does not answer"):
            await planes.metrics("")


async def test_a_worker_that_is_down_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    async with data_plane(tmp_path) as path, DataPlanes([str(path), str(tmp_path / "none")]) as planes:
        assert await planes.problems() == ["worker 2 does not answer: UnixClientConnectorError"]
        body, workers = await planes.metrics("")
        assert b'talkmeter_x_total{worker="1"} 1.0' in body and b'worker="2"' not in body
        assert workers == {"1": True, "2": False}


async def test_all_of_them_are_down(tmp_path: Path) -> None:
    """Then that is what is to be seen."""
    async with DataPlanes([str(tmp_path / "1"), str(tmp_path / "2")]) as planes:
        assert await planes.metrics("") == (b"", {"1": False, "2": False})
