"""Verifying the ledger on a page: begun once, its progress told as it is, and what it cannot prove."""

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import update

from proxy.admin import verifying
from proxy.core.usage import Meter
from proxy.store.schema import ledger_entry
from proxy.store.tokens import TokenRole
from proxy.store.verify import Verdict
from tests.admin.api.asking import Asking
from tests.console.visiting import Shown, Visitor, stranger, visitor
from tests.tampering import tampering

PATH = "/ledger/verify"


def fill(api: Asking) -> None:
    api.books.open("s1", "acme")
    for number in range(3):
        api.books.bill("s1", f"r{number}", {Meter.TEXT_IN: 10})


async def verified(who: Visitor, digest: str = "") -> Shown:
    """Verify through the page; return it once it has a verdict."""
    form = (await who.get(PATH)).form(PATH)
    assert (await who.submit(form, digest=digest)).place == PATH
    async with asyncio.timeout(30):
        while True:
            shown = await who.get(PATH)
            if "<progress" not in shown.html:
                return shown
            await asyncio.sleep(0.02)


async def test_a_ledger_that_adds_up_and_one_that_does_not(api: Asking) -> None:
    fill(api)
    auditor = visitor(api, TokenRole.AUDITOR)
    assert "before is not kept" in (await auditor.get(PATH)).text
    shown = await verified(auditor)
    told = await api.done("GET", "/ledger/verify")
    assert "All 3 entries add up" in shown.text and told["digest"] in shown.text
    assert "No digest was given" in shown.text and "cut off at its end" in shown.text
    assert "user:auditor@example.com" in shown.text
    again = await verified(auditor, told["digest"])
    assert "begins with all that the kept digest was made of" in again.text
    assert "No digest was given" not in again.text
    wrong = await verified(auditor, "1:" + "0" * 64)
    assert "it does not add up" in wrong.text and "was cut off or rewritten" in wrong.text
    with tampering(api.engine) as connection:
        connection.execute(update(ledger_entry).where(ledger_entry.c.id == 2).values(cost_nanousd=1))
    broken = await verified(auditor)
    assert "entry 2: cost_nanousd is 1" in broken.text and "digest to keep" not in broken.text


async def test_progress_is_told_as_it_is(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(embedded)
    may_go_on, at = threading.Event(), threading.Event()

    def slow(engine: Any, zone: Any, progress: Any, *, kept: str | None = None) -> Verdict:
        progress(1_500, 1_000_000)
        at.set()
        assert may_go_on.wait(30)
        return Verdict(3, None, "3:" + "a" * 64)

    monkeypatch.setattr(verifying, "verify", slow)
    who = visitor(embedded)
    form = (await who.get(PATH)).form(PATH)
    await who.submit(form)
    assert await asyncio.to_thread(at.wait, 30)
    shown = await who.get(PATH)
    assert "1,500 of 1,000,000 entries" in shown.text and "Checking entries" in shown.text
    assert 'value="1500" max="1000000"' in shown.html and PATH in shown.links
    assert PATH not in {one.action for one in shown.forms}, "one at a time"
    busy = await who.submit(form)
    assert busy.place == PATH and "talkmeter-said" in busy.headers["Set-Cookie"]
    may_go_on.set()


async def test_what_is_no_digest_and_who_may(embedded: Asking) -> None:
    fill(embedded)
    who = visitor(embedded)
    form = (await who.get(f"{PATH}?digest=3%3Aab")).form(PATH)
    assert form.fields["digest"] == "3:ab"
    for digest in ("9f86", "<script>alert(1)</script>", "x" * 2_000):
        shown = await who.submit(form, 422, digest=digest)
        assert shown.form(PATH).fields["digest"] == digest and "<script>alert" not in shown.html
        assert 'id="field-digest-error"' in shown.html
    assert (await embedded.done("GET", "/ledger/verify/progress"))["last"] is None
    for other in (visitor(embedded, TokenRole.VIEWER, "acme"), visitor(embedded, TokenRole.ADMIN, "acme")):
        await other.get(PATH, 403)
    await stranger(embedded).get(PATH, 303)
