"""Loading: the collector rests meanwhile, and `talkmeter serve` loads nothing that is needed rarely."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RARELY = {"alembic", "cryptography", "jinja2", "joserfc", "pyarrow", "reportlab", "xlsxwriter"}

DATA_PLANE = "from proxy.cli import load; load(['serve']); import proxy.app"
CONTROL_PLANE = """
import asyncio, socket
from proxy.admin.config import ControlConfig
from proxy.control import serve

async def run():
    listener = socket.create_server(("127.0.0.1", 0))
    config = ControlConfig(listen_fd=listener.fileno(), data_planes=(), database_url="sqlite:///x.db")
    runner = await serve(config, listener)
    await runner.cleanup()

asyncio.run(run())
"""

RESTING = """
import gc
from proxy.loading import for_good

with for_good():
    assert not gc.isenabled()
assert gc.isenabled() and gc.get_freeze_count() > 0
try:
    with for_good():
        raise ImportError
except ImportError:
    assert gc.isenabled()
"""


def loaded_by(code: str) -> set[str]:
    """Return the modules that Python has after it has run `code`, and the packages that they stand in."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(ran.stdout.split())


def test_the_data_plane_loads_nothing_that_is_needed_rarely() -> None:
    loaded = loaded_by(DATA_PLANE)
    assert "proxy.relay.tunnel" in loaded
    assert not loaded & {
        *RARELY,
        "rich",
        "proxy.control",
        "proxy.admin.api",
        "proxy.console",
    }


@pytest.mark.usefixtures("_here")
def test_the_control_plane_loads_nothing_that_is_needed_rarely() -> None:
    """Nor what answers requests to the API and to the console: that comes with the first one."""
    loaded = loaded_by(CONTROL_PLANE)
    assert "proxy.admin.schedules" in loaded
    assert not loaded & {*RARELY, "pydantic", "proxy.admin.api.table", "proxy.console.pages", "proxy.relay"}


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


def test_the_collector_rests_while_modules_are_loaded() -> None:
    """And it works afterwards, whatever happened. In a process of its own: it is all of a process's."""
    ran = subprocess.run(
        [sys.executable, "-c", RESTING], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (ran.returncode, ran.stderr) == (0, "")
