"""The ledger's pages: the very entries that the API has, every filter by URL, and booking once."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from proxy.console.figures import usd
from proxy.console.pages import ledger
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.visiting import Shown, stranger, visitor

OCTOBER, NOVEMBER = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><b>\u05d0\u05d1 & {{ 7*7 }}"


def fill(api: Asking) -> None:
    """Four entries: two of acme in October, two of globex in November without a price."""
    api.books.open("s1", "acme", "web", at=OCTOBER)
    api.books.open("s2", "globex", at=NOVEMBER)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10_000, Meter.AUDIO_OUT: 3}, at=OCTOBER)
    api.books.bill("s1", "t1", {Meter.TEXT_IN: 1}, at=OCTOBER, kind=Kind.TRANSCRIPTION)
    api.books.bill("s2", "r2", {Meter.TEXT_IN: 1}, at=NOVEMBER, model="gpt-unknown")
    api.books.bill("s2", "r3", at=NOVEMBER, estimated=True, status="cancelled", status_reason="turn_detected")


def entries_on(shown: Shown) -> list[int]:
    return [int(found) for found in re.findall(r'<th scope="row"><a href="/entries/(\d+)">', shown.html)]


async def test_every_entry_as_the_api_has_it(api: Asking) -> None:
    fill(api)
    shown = await visitor(api).get("/ledger")
    assert entries_on(shown) == [4, 3, 2, 1]
    for one in (await api.done("GET", "/ledger"))["data"]:
        assert one["kind"] in shown.text and one["tenant"] in shown.text
        if one["rated"]:
            assert f'value="{one["cost_usd"]}"' in shown.html and usd(one["cost_nanousd"]) in shown.text
            assert f'value="{one["billed_usd"]}"' in shown.html
        assert f"/sessions/{one['session_id']}" in shown.links
    assert shown.text.count("unrated") == 2 and shown.text.count("estimated") == 1
    assert "turn_detected" in shown.text


FILTERED = [
    ("order=oldest", [1, 2, 3, 4]),
    ("tenant=acme", [2, 1]),
    ("tenant=acme&project=web", [2, 1]),
    ("model=gpt-unknown", [3]),
    ("session=s2", [4, 3]),
    ("kind=transcription", [2]),
    ("unrated=true", [4, 3]),
    ("period=2026-11", [4, 3]),
    ("from=2026-10-05T00:00:00Z&to=2026-11-05", [2, 1]),
    ("from=2026-10-05T00:00:00.000001Z", [4, 3]),
    ("tenant=&period=&from=&to=&kind=&unrated=&order=&project=&key=&model=&session=", [4, 3, 2, 1]),
]


async def test_every_filter_is_in_the_url(embedded: Asking) -> None:
    fill(embedded)
    who = visitor(embedded)
    for query, ids in FILTERED:
        shown = await who.get(f"/ledger?{query}")
        assert entries_on(shown) == ids, query
        form = next(one for one in shown.forms if one.action == "/ledger")
        for name, value in parse_qsl(query):
            assert form.fields[name] == value
        await check_downloads(embedded, shown, query)


async def check_downloads(api: Asking, shown: Shown, query: str) -> None:
    """See that each format is of what is filtered, and that the API takes it so."""
    wanted = {name: value for name, value in parse_qsl(query) if name != "order"}
    downloads = [link for link in shown.links if link.startswith("/reports/download/ledger")]
    given = [dict(parse_qsl(urlsplit(link).query)) for link in downloads]
    assert [one.pop("format") for one in given] == ["csv", "xlsx", "parquet", "jsonl"]
    assert all(one == wanted for one in given)
    await api.done("GET", "/exports/ledger", params=wanted)


async def test_a_key_and_the_pages(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(embedded)
    monkeypatch.setattr(ledger, "LIMIT", 1)
    who, found = visitor(embedded), []
    path = f"/ledger?key={embedded.books.key('globex').id}"
    while True:
        shown = await who.get(path)
        found += entries_on(shown)
        following = [link for link in shown.links if "after=" in link]
        if not following:
            break
        (path,) = following
        assert "key=" in path
    assert found == [4, 3] and "First page" in shown.text


UNMEANT = [
    ("from=soon", 422, "soon"),
    ("from=2026-11-02&to=2026-11-01", 422, "it should be after"),
    ("period=2026-13", 422, "2026-13"),
    ("kind=zodiac", 422, "kind"),
    ("tenant=nobody", 404, "nobody"),
    ("after=!", 422, "after"),
]


async def test_what_cannot_be_meant_is_told_beside_what_was_typed(embedded: Asking) -> None:
    fill(embedded)
    who = visitor(embedded)
    for query, status, text in UNMEANT:
        shown = await who.get(f"/ledger?{query}&model=m", status)
        assert text in shown.text and not entries_on(shown), query
        form = next(one for one in shown.forms if one.action == "/ledger")
        assert form.fields["model"] == "m"
        assert ('aria-invalid="true"' in shown.html) == (status == 422 and "after" not in query)
        for name, value in parse_qsl(query):
            if name not in ("after", "kind"):
                assert form.fields[name] == value


async def test_nothing_yet_and_nothing_so(embedded: Asking) -> None:
    assert "The ledger is empty" in (await visitor(embedded).get("/ledger")).text
    fill(embedded)
    assert "Nothing in the ledger is so" in (await visitor(embedded).get("/ledger?model=none")).text


async def test_who_sees_what(embedded: Asking) -> None:
    fill(embedded)
    with_markup = {"cost_usd": "5", "billed_usd": "7", "kind": "adjustment", "tenant": "acme"}
    await embedded.done("POST", "/adjustments", with_markup | {"key": "k9", "reason": "margin"})
    shown = await visitor(embedded, TokenRole.VIEWER, "acme").get("/ledger")
    assert entries_on(shown) == [5, 2, 1] and "globex" not in shown.text
    assert "$7.00" in shown.text and "$5.00" not in shown.text and 'value="5.' not in shown.html
    assert {link for link in shown.links if "/reports/download" in link} == {
        "/reports/download/ledger?format=csv"
    }
    assert "/ledger/book" not in shown.links and "/ledger/verify" not in shown.links
    await visitor(embedded, TokenRole.VIEWER, "acme").get("/ledger?tenant=globex", 404)
    await visitor(embedded, TokenRole.VIEWER, "acme").get("/ledger/book", 403)
    await visitor(embedded, TokenRole.AUDITOR).get("/ledger/book", 403)
    assert "/ledger/book" not in (await visitor(embedded, TokenRole.AUDITOR).get("/ledger")).links
    await stranger(embedded).get("/ledger", 303)


CREDIT: dict[str, Any] = {"kind": "credit", "tenant": "acme", "billed_usd": "-1.50", "reason": "outage 7"}


async def test_a_credit_is_booked_once(api: Asking) -> None:
    fill(api)
    who = visitor(api, TokenRole.FINANCE, name="ann")
    form = (await who.get("/ledger/book?tenant=acme&corrects=1")).form("/ledger/book")
    assert (form.fields["tenant"], form.fields["corrects"]) == ("acme", "1")
    done = await who.submit(form, **CREDIT)
    assert done.place == "/entries/5"
    again = await who.submit(form, **CREDIT)
    assert again.place == "/entries/5"
    booked = await api.done("GET", "/ledger/5")
    assert (booked["kind"], booked["billed_usd"], booked["status_reason"], booked["corrects"]) == (
        "credit",
        "-1.500000000",
        "outage 7",
        1,
    )
    assert len((await api.done("GET", "/ledger"))["data"]) == 5
    assert [row for row in api.audit() if row[1] == "ledger.credit"] == [
        ("user:ann", "ledger.credit", "outage 7")
    ]
    another = (await who.get("/ledger/book")).form("/ledger/book")
    assert (await who.submit(another, **CREDIT)).place == "/entries/6"


async def test_an_adjustment_with_everything(embedded: Asking) -> None:
    fill(embedded)
    who = visitor(embedded)
    form = (await who.get("/ledger/book")).form("/ledger/book")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    fields: dict[str, Any] = {"project": "web", "cost_usd": "2", "billed_usd": "3", "occurred_at": yesterday}
    await who.submit(form, kind="adjustment", tenant="acme", reason="invoice 3", provider="azure", **fields)
    booked = await embedded.done("GET", "/ledger/5")
    assert (booked["project"], booked["cost_usd"], booked["billed_usd"], booked["occurred_at"]) == (
        "web",
        "2.000000000",
        "3.000000000",
        f"{yesterday}T00:00:00Z",
    )


UNBOOKED: list[tuple[dict[str, Any], int, str]] = [
    ({"billed_usd": "a lot"}, 422, "billed_usd"),
    ({"billed_usd": "", "cost_usd": ""}, 422, ""),
    ({"billed_usd": "5"}, 422, ""),
    ({"reason": ""}, 422, "reason"),
    ({"reason": "x" * 2_000}, 422, "reason"),
    ({"tenant": "nobody"}, 404, ""),
    ({"tenant": ""}, 422, "tenant"),
    ({"corrects": "3"}, 404, ""),
    ({"corrects": "one"}, 422, "corrects"),
    ({"occurred_at": "2199-01-01"}, 422, ""),
    ({"occurred_at": "soon"}, 422, "occurred_at"),
    ({"project": HOSTILE}, 404, ""),
]


async def test_what_cannot_be_booked_is_told_and_what_was_typed_stays(embedded: Asking) -> None:
    fill(embedded)
    who = visitor(embedded)
    form = (await who.get("/ledger/book")).form("/ledger/book")
    for wrong, status, field in UNBOOKED:
        shown = await who.submit(form, status, **(CREDIT | wrong))
        typed = shown.form("/ledger/book").fields
        assert {name: typed[name] for name in CREDIT | wrong} == CREDIT | wrong
        assert not field or f'id="field-{field}-error"' in shown.html, wrong
        assert "problem-title" in shown.html and "<script>alert" not in shown.html
    assert len((await embedded.done("GET", "/ledger"))["data"]) == 4


async def test_hostile_words_are_words(embedded: Asking) -> None:
    fill(embedded)
    who = visitor(embedded)
    form = (await who.get("/ledger/book")).form("/ledger/book")
    await who.submit(form, **(CREDIT | {"reason": HOSTILE}))
    shown = await who.get("/ledger")
    assert HOSTILE in shown.text and "<script>alert" not in shown.html and "& 49" not in shown.text
    for query in (f"tenant={HOSTILE.replace('&', '%26')}", "model=" + "x" * 2_000):
        shown = await who.get(f"/ledger?{query}", 404 if "tenant" in query else 422)
        assert "<script>alert" not in shown.html
