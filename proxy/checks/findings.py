"""What a look came to, and what two clocks that differ mean. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

CLOCK_S_WARNED = 2.0
CLOCK_S_MAX = 60.0


class Status(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    WARNING = "warning"  # it works, and somebody should know
    FAILED = "failed"
    NOT_ASKED = "not asked"  # it is off, or something before it failed


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, what was found, and what to do about it: empty where nothing is."""

    name: str
    status: Status
    found: str
    to_do: str = ""


def ok(name: str, found: str) -> Finding:
    return Finding(name, Status.OK, found)


def warning(name: str, found: str, to_do: str) -> Finding:
    return Finding(name, Status.WARNING, found, to_do)


def failed(name: str, found: str, to_do: str) -> Finding:
    return Finding(name, Status.FAILED, found, to_do)


def not_asked(name: str, found: str) -> Finding:
    return Finding(name, Status.NOT_ASKED, found)


_WORSE = (Status.OK, Status.NOT_ASKED, Status.WARNING, Status.FAILED)


def of_all(findings: Sequence[Finding]) -> Finding:
    """Return what several findings of one name come to: as the worst of them, and all that was found."""
    worst = max(findings, key=lambda one: _WORSE.index(one.status))
    found = dict.fromkeys(one.found for one in findings if one.status is worst.status)
    return replace(worst, found="; ".join(found))


def is_good(findings: Iterable[Finding]) -> bool:
    """Return whether nothing failed: warnings alone keep nobody from serving."""
    return all(finding.status is not Status.FAILED for finding in findings)


def compared_clock(name: str, whose: str, ahead_s: float, warned_s: float = CLOCK_S_WARNED) -> Finding:
    """Return what it means that this machine's clock is so many seconds ahead of another one.

    `whose` is the other one, such as "the database's". What is within `warned_s` may be the way between them.
    """
    apart_s = abs(ahead_s)
    if apart_s <= warned_s:
        return ok(name, f"this machine's clock and {whose} agree, to {max(apart_s, 0.1):.1f} s")
    where = "ahead of" if ahead_s > 0 else "behind"
    found = f"this machine's clock is {apart_s:,.0f} s {where} {whose}"
    to_do = "set both by NTP: budgets' windows, leases and months end by them"
    return (failed if apart_s > CLOCK_S_MAX else warning)(name, found, to_do)
