"""This machine: its clock, and how many files a process may have open."""

import resource
from collections.abc import Iterator
from datetime import UTC, datetime

from proxy.checks.findings import Finding, failed, ok, warning
from proxy.clock import utc_now
from proxy.settings import Settings

BUILT_AFTER = datetime(2026, 1, 1, tzinfo=UTC)  # no Talkmeter is older, so no right clock says less
FILES_PER_SESSION = 2  # its client's connection and its upstream's
FILES_BESIDE = 256  # databases, the journal, pages, what is on its way


def ask_machine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of "clock" and "files"."""
    yield clock(utc_now())
    yield files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], settings.sessions_max)


def clock(now: datetime) -> Finding:
    """Return whether this can be the time at all: usage is priced and filed by it."""
    if now < BUILT_AFTER:
        return failed("clock", f"this machine says that it is {now:%Y-%m-%d}", "set its clock, by NTP")
    return ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def files(hard_limit: int, sessions_max: int) -> Finding:
    """Return whether so many open files are enough. `serve` raises its own limit to the hard one."""
    needed = sessions_max * FILES_PER_SESSION + FILES_BESIDE
    if hard_limit == resource.RLIM_INFINITY:
        return ok("files", f"as many as wanted, for {sessions_max:,} sessions")
    if hard_limit >= needed:
        return ok("files", f"{hard_limit:,} may be open, {needed:,} are needed for {sessions_max:,} sessions")
    enough_for = max(0, (hard_limit - FILES_BESIDE) // FILES_PER_SESSION)
    return warning(
        "files",
        f"{hard_limit:,} may be open here, and {sessions_max:,} sessions need {needed:,}",
        f"let `talkmeter serve` open {needed:,} (systemd: LimitNOFILE; else `ulimit -Hn`), or set"
        f" TALKMETER_SESSIONS_MAX to {max(1, enough_for)}",
    )
