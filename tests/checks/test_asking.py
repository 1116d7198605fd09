"""Questions beside each other: what fails, what is late, and what is a bug."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from proxy.checks.asking import Ask, Question, ask_all
from proxy.checks.findings import Finding, Status, ok
from proxy.checks.questions import QUESTIONS
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


def test_nothing_is_waited_for_at_the_end(tmp_path: Path) -> None:
    """Servers that take a connection and never answer: no thread keeps the process, once all was said."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = settings_in(
            tmp_path,
            f"http://{at}/v1",
            database_url=f"postgresql://app:x@{at}/x",
            upstream_admin_key=SecretStr("sk-admin"),
            smtp_url=SecretStr(f"smtp://{at}"),
            smtp_from="a@example.com",
            oidc_issuer=f"http://{at}",
            oidc_client_id="talkmeter",
            oidc_grants={"Platform": "admin"},
        )
        before = set(threading.enumerate())
        late = [one.name for one in ask_all(QUESTIONS, settings, question_s=1) if "within 1 s" in one.found]
        assert late == ["database", "upstream", "provider's bill", "sign-in", "mail"]
        assert all(thread.daemon for thread in set(threading.enumerate()) - before)


def test_a_bug_comes_out(tmp_path: Path) -> None:
    """It is no finding, and is not taken for one."""

    def ask(settings: Settings) -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        asked(tmp_path, ask)
