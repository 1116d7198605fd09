"""`/ledger/verify`: what is wrong first, or a digest to keep."""

from pathlib import Path

from sqlalchemy import update

from proxy.admin.api import verification
from proxy.core.usage import Meter
from proxy.store.schema import ledger_entry
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.archiving import archive_month, year
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


async def test_one_at_a_time_and_no_made_up_digest(embedded: Asking) -> None:
    told = await embedded.problem(422, "GET", "/ledger/verify", params={"digest": "9f86"})
    assert "no digest of a ledger" in told["detail"]
    with verification._alone:
        answered = await embedded("GET", "/ledger/verify")
        assert (answered.status, answered.headers["Retry-After"]) == (503, str(verification.AGAIN_S))
    assert (await embedded.done("GET", "/ledger/verify"))["ok"]


async def test_it_says_of_which_months_no_line_is_here(api: Asking, tmp_path: Path) -> None:
    """Else nobody who reads the answer knows that lines were not looked at."""
    year(api.engine)
    assert (await api.done("GET", "/ledger/verify"))["archived"] == []
    archive_month(api.engine, "2026-10", tmp_path)
    told = await api.done("GET", "/ledger/verify")
    assert (told["ok"], told["archived"]) == (True, ["2026-10"])
