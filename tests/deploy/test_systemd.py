"""The systemd units: every directive exists, systemd itself finds nothing, and they fit Talkmeter."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.cli import load
from tests.deploy.files import (
    DEPLOY,
    ROOT,
    SCHEMAS,
    SETTINGS,
    UNITS,
    directive,
    read,
    seconds,
    stop_s_max,
    unit,
    variables,
)

TEMPLATES = ("talkmeter.env", "owner.env")
EXPOSURE_MAX = 2.0  # as `systemd-analyze security` counts it: 0 is shut off, 10 is everything
TARGETS = ("sysinit", "basic", "shutdown", "multi-user", "network-online")
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze here: that the units hold together is not looked at by systemd itself",
)


def known_directives() -> dict[str, set[str]]:
    """Return which directives systemd has in which section."""
    sections: dict[str, set[str]] = {}
    for line in read(SCHEMAS / "systemd-252.txt").splitlines():
        if line.startswith("["):
            known = sections[line.strip("[]")] = set()
        else:
            known.add(line)
    return sections


@pytest.mark.parametrize("name", UNITS)
def test_every_directive_exists(name: str) -> None:
    known = known_directives()
    assert [one for one in unit(name) if one.name not in known[one.section]] == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_variable_is_a_setting_and_no_secret_is_told(name: str) -> None:
    assert variables(name) and variables(name).keys() <= SETTINGS
    assert set(variables(name).values()) == {""}


@pytest.mark.parametrize("name", UNITS)
def test_what_it_runs_exists(name: str) -> None:
    program, command, *_ = directive(name, "ExecStart").split()
    assert program == "/opt/talkmeter/.venv/bin/talkmeter"
    assert ">.venv/bin/talkmeter" in read(ROOT / "requirements" / "venv.sh")
    assert command in {
        one.name or one.callback.__name__ for one in load().registered_commands if one.callback
    }
    named = Path(directive(name, "Documentation").removeprefix("file:///opt/talkmeter/"))
    assert (ROOT / named).exists()


@pytest.mark.parametrize("name", UNITS)
def test_it_reads_a_file_that_there_is_a_template_of(name: str) -> None:
    read_from = Path(directive(name, "EnvironmentFile"))
    assert str(read_from.parent) == "/etc/talkmeter"
    template = read(DEPLOY / "systemd" / read_from.name)
    assert template.startswith(f"# {read_from}, owned by root, mode 0600")


def test_only_the_migration_reads_the_owners_url() -> None:
    assert [directive(name, "EnvironmentFile") for name in UNITS] == [
        "/etc/talkmeter/talkmeter.env",
        "/etc/talkmeter/owner.env",
    ]


def test_a_stop_has_the_time_it_can_take() -> None:
    assert seconds(directive("talkmeter.service", "TimeoutStopSec")) >= stop_s_max()


def test_the_journal_is_where_it_may_write() -> None:
    folder = f"/var/lib/{directive('talkmeter.service', 'StateDirectory')}"
    assert directive("talkmeter.service", "WorkingDirectory") == folder
    assert directive("talkmeter.service", "ProtectSystem") == "strict"
    assert "TALKMETER_JOURNAL_PATH" not in variables("talkmeter.env"), "unset it lies in that folder"


def test_a_failed_journal_starts_it_again() -> None:
    assert directive("talkmeter.service", "Restart") == "on-failure"
    assert directive("talkmeter.service", "KillMode") == "mixed"


@needs_systemd
def test_systemd_finds_nothing(tmp_path: Path) -> None:
    root = place(tmp_path)
    assert verified(root) == ""
    broken = root / "etc/systemd/system/talkmeter.service"
    broken.write_text(read(broken).replace("RestartSec=", "RestartSek="), encoding="utf-8")
    assert "RestartSek" in verified(root)


def place(root: Path) -> Path:
    """Lay out a root folder with the units, what they start, and the targets that they name."""
    units, program = root / "etc/systemd/system", root / "opt/talkmeter/.venv/bin/talkmeter"
    units.mkdir(parents=True)
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    for name in UNITS:
        shutil.copy(DEPLOY / "systemd" / name, units)
    for name in TARGETS:
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n", encoding="utf-8")
    return root


def verified(root: Path) -> str:
    """Return what `systemd-analyze verify` has to say."""
    command = ["systemd-analyze", "verify", "--man=no", f"--root={root}", *UNITS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_little_of_the_machine_is_open_to_it(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(DEPLOY / "systemd" / name)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert float(exposure) <= EXPOSURE_MAX
