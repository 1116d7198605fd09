"""`/ledger/verify`: what is wrong first, or a digest to keep."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from proxy.admin import verifying
from proxy.admin.api import verification
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.schema import ledger_entry
from proxy.store.tokens import TokenRole
from proxy.store.verify import Verdict, verify
from tests.admin.api.asking import Asking
from tests.archiving import archive_month, year
from tests.ledgers import NOW
from tests.tampering import tampering


async def test_a_ledger_that_adds_up_and_one_that_was_changed(api: Asking) -> None:
    api.books.open("s1", "acme")
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    first = await api.done("GET", "/ledger/verify", token=api.token(TokenRole.AUDITOR))
    assert (first["ok"], first["entries"], first["fault"], first["compared"]) == (True, 1, None, False)
    api.books.bill("s1", "r2", {Meter.TEXT_IN: 10})
    kept = {"digest": first["digest"]}
    second = await api.done("GET", "/ledger/verify", params=kept)
    assert (second["ok"], second["entries"], second["compared"]) == (True, 2, True)
    assert second["digest"].startswith("2:") and second["digest"] != first["digest"]
    unknown = await api.done("GET", "/ledger/verify", params={"digest": "1:" + "0" * 64})
    assert not unknown["ok"] and "was cut off or rewritten" in unknown["fault"]
    with tampering(api.engine) as connection:
        connection.execute(update(ledger_entry).where(ledger_entry.c.id == 2).values(cost_nanousd=1))
    broken = await api.done("GET", "/ledger/verify", params=kept)
    assert (broken["ok"], broken["entries"], broken["digest"]) == (False, 1, None)
    assert broken["fault"].startswith("entry 2: ")


def hold(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let no verifying go on before the event that is returned."""
    may_end = threading.Event()

    def held(*given: Any, **named: Any) -> Verdict:
        assert may_end.wait(30)
        return verify(*given, **named)

    monkeypatch.setattr(verifying, "verify", held)
    return may_end


async def over(api: Asking) -> Any:
    """Wait until what was begun in the background is over; return what came of it."""
    async with asyncio.timeout(30):
        while True:
            last = (await api.done("GET", "/ledger/verify/progress"))["last"]
            if last["ended_at"] is not None:
                return last
            await asyncio.sleep(0.01)


async def test_in_the_background(api: Asking) -> None:
    assert await api.done("GET", "/ledger/verify/progress") == {"last": None}
    api.books.open("s1", "acme")
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    auditor = api.token(TokenRole.AUDITOR)
    answered = await api("POST", "/ledger/verify", {}, token=auditor)
    assert (answered.status, answered.place) == (202, "/ledger/verify/progress")
    last = await over(api)
    assert (last["begun_by"], last["done"], last["total"], last["failed"]) == ("api:auditor", 1, 1, None)
    assert last["verdict"] == await api.done("GET", "/ledger/verify")
    await api.done("POST", "/ledger/verify", {"digest": "1:" + "0" * 64})
    wrong = await over(api)
    assert wrong["compared"] and "was cut off or rewritten" in wrong["verdict"]["fault"]
    await api.problem(422, "POST", "/ledger/verify", {"digest": "9f86"})


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreError("its file is damaged"), "its file is damaged"),
        (OperationalError("SELECT", {}, Exception("away")), "The database did not answer"),
        (ZeroDivisionError(), "This is a fault of Talkmeter's"),
    ],
)
async def test_what_fails_in_the_background_is_told(
    embedded: Asking, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fails(*given: Any, **named: Any) -> Verdict:
        raise error

    monkeypatch.setattr(verifying, "verify", fails)
    await embedded.done("POST", "/ledger/verify", {})
    last = await over(embedded)
    assert told in last["failed"] and last["verdict"] is None
    monkeypatch.undo()
    await embedded.done("POST", "/ledger/verify", {})
    assert (await over(embedded))["verdict"]["ok"], "the next one may begin"


def test_it_ends_with_the_process() -> None:
    """At its next entries; and what is kept says that it did not come to its end."""
    begun = threading.Event()

    def endless(kept: str | None, progress: verifying.Progress | None) -> Verdict:
        assert progress is not None
        while True:
            progress(1, 2)
            begun.set()

    verifier = verifying.Verifier(endless, lambda: NOW)
    verifier.begin(None, "test")
    assert begun.wait(30)
    verifier.stop()
    assert verifier.last is not None
    assert (verifier.last.failed, verifier.last.ended_at) == ("Talkmeter was stopped meanwhile.", NOW)
    assert (verifier.last.done, verifier.last.total) == (1, 2)


def test_where_no_thread_can_be_started_the_next_one_may_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    verifier = verifying.Verifier(lambda kept, progress: Verdict(0, None, "0:" + "0" * 64), lambda: NOW)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            verifier.begin(None, "test")
    assert verifier.last is None
    verifier.begin(None, "test")
    verifier.stop()
    assert verifier.last is not None and verifier.last.verdict is not None


async def test_one_at_a_time_and_no_made_up_digest(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await embedded.problem(422, "GET", "/ledger/verify", params={"digest": "9f86"})
    assert "no digest of a ledger" in told["detail"]
    may_end = hold(monkeypatch)
    begun = await embedded.done("POST", "/ledger/verify", {})
    assert (begun["ended_at"], begun["verdict"], begun["begun_by"]) == (None, None, "api:admin-token")
    answered = await embedded("GET", "/ledger/verify")
    assert (answered.status, answered.headers["Retry-After"]) == (503, str(verification.AGAIN_S))
    await embedded.refused(409, "is being verified already", "POST", "/ledger/verify", {})
    may_end.set()
    await over(embedded)
    assert (await embedded.done("GET", "/ledger/verify"))["ok"]


async def test_it_says_of_which_months_no_line_is_here(api: Asking, tmp_path: Path) -> None:
    """Else nobody who reads the answer knows that lines were not looked at."""
    year(api.engine)
    assert (await api.done("GET", "/ledger/verify"))["archived"] == []
    archive_month(api.engine, "2026-10", tmp_path)
    told = await api.done("GET", "/ledger/verify")
    assert (told["ok"], told["archived"]) == (True, ["2026-10"])
