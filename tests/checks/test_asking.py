"""Questions beside each other: what fails, what is late, and what is a bug."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.checks.asking import Ask, Question, ask_all
from proxy.checks.findings import Finding, Status, ok
from proxy.settings import Settings
from proxy.store import StoreError
from tests.apps import settings_in
from tests.checks.looking import NOWHERE


def asked(folder: Path, *asks: Ask, question_s: float = 5) -> list[Finding]:
    questions = [Question((f"{n} one", f"{n} two", f"{n} three"), ask, "do it") for n, ask in enumerate(asks)]
    return ask_all(questions, settings_in(folder, NOWHERE), question_s=question_s)


def good(settings: Settings) -> Iterator[Finding]:
    yield from (ok(f"0 {name}", "found") for name in ("one", "two", "three"))


def test_what_stands_behind_a_failure_is_not_asked(tmp_path: Path) -> None:
    def ask(settings: Settings) -> Iterator[Finding]:
        yield ok("1 one", "found")
        raise StoreError("it is away")

    findings = asked(tmp_path, good, ask)
    assert [one.status for one in findings[:4]] == [Status.OK] * 4
    assert findings[4] == Finding("1 two", Status.FAILED, "it is away", "do it")
    assert findings[5] == Finding("1 three", Status.NOT_ASKED, "'1 two' has to be right first")


def test_what_never_answers_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Nor does it take the time of the others: all have the same, and begin together."""
    never = threading.Event()

    def ask(settings: Settings) -> Iterator[Finding]:
        yield ok("0 one", "found")
        never.wait()
        yield ok("0 two", "too late")

    begun = time.monotonic()
    first, second, third = asked(tmp_path, ask, question_s=0.2)
    assert time.monotonic() - begun < 5
    assert first.status is Status.OK and second.found == "no answer within 0.2 s"
    assert (second.status, third.status) == (Status.FAILED, Status.NOT_ASKED)
    never.set()


def test_a_bug_comes_out(tmp_path: Path) -> None:
    """It is no finding, and is not taken for one."""

    def ask(settings: Settings) -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        asked(tmp_path, ask)
