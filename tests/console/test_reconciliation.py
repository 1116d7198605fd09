"""Reconciliation's pages: a run beside the API's figures, gaps that stand out, and rules about lines."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import reconciling
from proxy.admin.config import BillConfig
from proxy.admin.provider_bill import BillError
from proxy.console.pages import reconciliation
from proxy.console.pages.reconciliation import CAUSES
from proxy.core.reconcile import Cause
from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.console.visiting import Shown, stranger, visitor
from tests.provider import ADMIN_KEY, MODEL, Provider, providing

WHEN = (datetime.now(UTC) - timedelta(days=3)).replace(hour=12, minute=0, second=0, microsecond=0)
DAYS: dict[str, Any] = {"from": WHEN.date().isoformat(), "to": (WHEN + timedelta(days=1)).date().isoformat()}
PATH = "/reconciliation"
RULES = "/reconciliation/rules"
HOSTILE = "<script>alert(1)</script>\"'><b>\u05d0\u05d1 & {{ 7*7 }}"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
async def api(sqlite_url: str, tmp_path: Path, provider: Provider) -> AsyncIterator[Asking]:
    bill = BillConfig(url=provider.url, admin_key=ADMIN_KEY, usd=0, percent=0)
    async with asking(tmp_path, sqlite_url, bill=bill) as found:
        found.books.open("s1", at=WHEN)
        found.books.bill("s1", "r1", {Meter.AUDIO_IN: 1_000}, at=WHEN)
        yield found


def amounts(html: str) -> list[str]:
    return re.findall(r'<data class="money" value="([^"]*)"', html)


def section(shown: Shown, id: str) -> str:
    """Return the HTML of a table."""
    found = re.search(f'<table id="{id}">(.*?)</table>', shown.html, re.DOTALL)
    assert found is not None
    return found[1]


async def test_days_are_compared_on_a_page(api: Asking, provider: Provider) -> None:
    provider.bill(WHEN, 1_100)
    who = visitor(api, TokenRole.FINANCE, name="ann")
    empty = await who.get(f"{PATH}?from={DAYS['from']}&to={DAYS['to']}")
    assert "Nothing was compared yet" in empty.text
    form = empty.form(PATH)
    assert (form.fields["from"], form.fields["to"]) == (DAYS["from"], DAYS["to"])
    place = (await who.submit(form)).place
    run = (await api.done("GET", "/reconciliations"))["data"][0]
    assert place == f"{PATH}/{run['id']}" and run["actor"] == "user:ann"
    assert ("user:ann", "reconciliation.run", None) in api.audit()
    shown = await who.get(place)
    names = ("ours", "theirs", "difference", *(cause.value for cause in CAUSES), "unexplained")
    (day,) = run["days"]
    days = section(shown, "days")
    found = [day[f"{name}_usd"] for name in names if name not in list(CAUSES) or day[f"{name}_nanousd"]]
    assert amounts(days) == [*found, *(run[f"{name}_usd"] for name in names)]
    assert "above $0.00" in days and 'class="bad"' in days
    (row,) = (await api.done("GET", f"/reconciliations/{run['id']}/rows"))["data"]
    rows = section(shown, "rows")
    assert amounts(rows) == [row[f"{name}_usd"] for name in ("ours", "theirs", "difference", "unexplained")]
    assert MODEL in rows and "Audio input" in rows and "1,000" in rows and "1,100" in rows
    assert '<b class="bad">' in rows, "the gap stands out"
    listed = await who.get(PATH)
    assert place in listed.links
    assert amounts(section(listed, "runs")) == [
        run[f"{name}_usd"] for name in ("ours", "theirs", "difference", "unexplained")
    ]
    again = await who.get(place)
    assert f"{PATH}?from={DAYS['from']}&to={DAYS['to']}" in again.links


async def test_lines_that_no_rule_is_about_lead_to_one(api: Asking, provider: Provider) -> None:
    provider.bill(WHEN, 1_000)
    who = visitor(api)
    for rule in (await api.done("GET", "/line-items"))["data"]:
        await api.done("DELETE", "/line-items", params={"name": rule["name"]})
    place = (await who.submit((await who.get(PATH)).form(PATH), **DAYS)).place
    shown = await who.get(place)
    assert "no rule" in shown.text
    links = [link for link in shown.links if link.startswith(f"{RULES}?name=")]
    form = (await who.get(links[0].partition("#")[0])).form(RULES)
    assert form.fields["name"].endswith(", audio input")
    assert "No rules" in (await who.get(RULES)).text


async def test_pages_of_runs_and_rows(
    api: Asking, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.bill(WHEN, 1_000)
    provider.bill(WHEN, 1_000, payer=("proj_b", "key_2"))
    monkeypatch.setattr(reconciliation, "LIMIT", 1)
    monkeypatch.setattr(reconciliation, "ROWS", 1)
    made = [(await api.done("POST", "/reconciliations", DAYS))["id"] for _ in range(2)]
    who = visitor(api)
    first = await who.get(PATH)
    assert f"{PATH}/{made[1]}" in first.links and f"{PATH}/{made[0]}" not in first.links
    following = next(link for link in first.links if "after=" in link)
    assert f"{PATH}/{made[0]}" in (await who.get(following)).links
    shown = await who.get(f"{PATH}/{made[0]}")
    following = next(link for link in shown.links if "after=" in link)
    assert section(shown, "rows") != section(await who.get(following), "rows")


async def test_what_cannot_be_compared_is_told(api: Asking, provider: Provider) -> None:
    who = visitor(api)
    form = (await who.get(PATH)).form(PATH)
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"from": "2026-13-01", "to": ""}, 422, "it should be a day"),
        ({"from": DAYS["to"], "to": DAYS["from"]}, 422, "end before they begin"),
        ({"from": "2025-01-01", "to": "2026-01-01"}, 422, "At most 92 days"),
        ({"from": HOSTILE, "to": ""}, 422, "from"),
    )
    for days, status, text in cases:
        shown = await who.submit(form, status, **days)
        assert text in shown.text and shown.form(PATH).fields["from"] == days["from"]
        assert "<script>alert" not in shown.html
    provider.simulator.reports.failures = [403]
    assert "may not read it (403)" in (await who.submit(form, 503, **DAYS)).text
    await who.get(f"{PATH}/rec_0", 404)
    assert ADMIN_KEY not in (await who.get(PATH)).html


async def test_one_comparison_at_a_time(
    api: Asking, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds a thread of the API's for as long as the provider takes: six clicks held all."""
    asked, may_go_on = threading.Event(), threading.Event()

    def slow(*given: Any) -> Any:
        asked.set()
        assert may_go_on.wait(30)
        raise BillError("The provider's bill could not be read within 180 s: try fewer days.")

    monkeypatch.setattr(reconciling, "read_bill", slow)
    who = visitor(api)
    page = await who.get(PATH)
    assert "after 3 min 00 s without all of it" in page.text
    first = asyncio.create_task(who.submit(page.form(PATH), 503, **DAYS))
    assert await asyncio.to_thread(asked.wait, 30)
    for _ in range(8):
        shown = await who.submit(page.form(PATH), 409, **DAYS)
        assert "being compared with the bill already" in shown.text
        assert shown.form(PATH).fields["from"] == DAYS["from"]
    may_go_on.set()
    assert "within 180 s: try fewer days" in (await first).text


async def test_without_an_admin_key_it_says_so(embedded: Asking) -> None:
    who = visitor(embedded)
    form = (await who.get(PATH)).form(PATH)
    shown = await who.submit(form, 409)
    assert "TALKMETER_UPSTREAM_ADMIN_KEY is not set" in shown.text


async def test_rules_are_set_changed_and_removed(api: Asking) -> None:
    who = visitor(api, TokenRole.FINANCE, name="ann")
    shown = await who.get(RULES)
    for rule in (await api.done("GET", "/line-items"))["data"]:
        assert rule["name"] in shown.text
    form = shown.form(RULES)
    fields: dict[str, Any] = {
        "name": HOSTILE,
        "meter": "audio_in",
        "model": MODEL,
        "reason": "seen on a bill",
    }
    assert (await who.submit(form, **fields)).place == RULES
    assert (await who.submit(form, **fields)).place == RULES, "twice is once"
    after = await who.get(RULES)
    assert HOSTILE in after.text and "<script>alert" not in after.html
    mine = [one for one in (await api.done("GET", "/line-items"))["data"] if one["name"] == HOSTILE]
    assert [(one["meter"], one["model"]) for one in mine] == [("audio_in", MODEL)]
    await who.submit(form, name="gpt-4o*", meter="ignored")
    (ignored,) = [one for one in (await api.done("GET", "/line-items"))["data"] if one["name"] == "gpt-4o*"]
    assert ignored["meter"] is None and "nothing of ours" in (await who.get(RULES)).text
    removals = [one for one in (await who.get(RULES)).forms if one.action == f"{RULES}/remove"]
    (remove,) = [one for one in removals if one.fields["name"] == HOSTILE]
    assert (await who.submit(remove, reason="mistyped")).place == RULES
    assert HOSTILE not in (await who.get(RULES)).text
    assert "There is no rule" in (await who.submit(remove, 404)).text
    acts = [row for row in api.audit() if row[1].startswith("line_item")]
    assert acts[0] == ("user:ann", "line_item.set", "seen on a bill")
    assert acts[-1] == ("user:ann", "line_item.remove", "mistyped")


async def test_a_rule_that_cannot_be(api: Asking) -> None:
    who = visitor(api)
    form = (await who.get(f"{RULES}?name=x")).form(RULES)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"name": "x", "meter": "audio_in"}, "which model"),
        ({"name": "", "meter": "audio_in"}, "name"),
        ({"name": "y" * 2_000, "meter": "audio_in"}, "name"),
        ({"name": "x", "meter": "zodiac"}, "meter"),
    )
    for fields, text in cases:
        shown = await who.submit(form, 422, **fields)
        assert text in shown.text and shown.form(RULES).fields["name"] == fields["name"]


async def test_who_sees_what(api: Asking, provider: Provider) -> None:
    provider.bill(WHEN, 1_100)
    run = (await api.done("POST", "/reconciliations", DAYS))["id"]
    auditor = visitor(api, TokenRole.AUDITOR)
    for path in (PATH, f"{PATH}/{run}", RULES):
        shown = await auditor.get(path)
        assert [one.action for one in shown.forms] == ["/sign-out"], path
        for who in (visitor(api, TokenRole.VIEWER, "acme"), visitor(api, TokenRole.FINANCE, "acme")):
            assert "$" not in (await who.get(path, 403)).text
        await stranger(api).get(path, 303)
    token = {"csrf": shown.form("/sign-out").fields["csrf"]}
    for path in (PATH, RULES, f"{RULES}/remove"):
        await auditor.post(path, {**token, **DAYS, "name": "x", "meter": "audio_in"}, 403)
    assert len((await api.done("GET", "/reconciliations"))["data"]) == 1


def test_every_cause_has_a_column() -> None:
    assert CAUSES.keys() == set(Cause)
