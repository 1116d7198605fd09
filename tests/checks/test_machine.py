"""The clock of this machine, and its limit of open files."""

import resource
from datetime import UTC, datetime
from pathlib import Path

from proxy.checks.machine import ask_machine, clock, files
from tests.checks.looking import FAILED, OK, WARNING, found


def test_this_machine(tmp_path: Path) -> None:
    """One session needs few files; nothing is raised by looking."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    findings = found(tmp_path, ask_machine, sessions_max=1)
    assert [one.status for one in findings.values()] == [OK, OK]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_clock_from_before_talkmeter() -> None:
    """A machine without a battery wakes up in 1970."""
    finding = clock(datetime(1970, 1, 1, tzinfo=UTC))
    assert finding.status is FAILED and "1970-01-01" in finding.found


def test_too_few_files() -> None:
    """It says how many sessions there is room for, and where to change either."""
    finding = files(4_096, 10_000)
    assert finding.status is WARNING
    assert "4,096 may be open here, and 10,000 sessions need 20,256" in finding.found
    assert "LimitNOFILE" in finding.to_do and finding.to_do.endswith("TALKMETER_SESSIONS_MAX to 1920")
    assert files(4_096, 1_920).status is OK
    assert files(resource.RLIM_INFINITY, 10**6).status is OK
