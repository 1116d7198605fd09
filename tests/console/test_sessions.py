"""Sessions and entries: found by URL, turn by turn as the API accounts for them, down to lines."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.live import Live, publish
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.admin.api.test_reratings import unrated
from tests.console.tables import tables
from tests.console.visiting import Shown, visitor
from tests.ledgers import MODEL

OCTOBER = datetime(2026, 10, 5, 8, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'\u202e" + "x" * 150
NAME = HOSTILE[:100]


def converse(api: Asking) -> None:
    """A conversation whose cache breaks once, and which is interrupted once; and one of another tenant."""
    api.books.open("s1", "acme", "web", end_user="zoë", tags={"team": "a"}, at=OCTOBER)
    turns: Any = (
        ("r1", {Meter.TEXT_IN: 900, Meter.AUDIO_OUT: 100}, {}),
        ("i1:0", {Meter.AUDIO_IN: 50, Meter.TEXT_OUT: 10}, {"kind": Kind.TRANSCRIPTION}),
        ("r2", {Meter.TEXT_IN: 100, Meter.TEXT_IN_CACHED: 896, Meter.AUDIO_OUT: 40}, {}),
        (
            "r3",
            {Meter.TEXT_IN: 1_100, Meter.AUDIO_OUT: 20},
            {"status": "cancelled", "status_reason": "turn_detected"},
        ),
        ("r4", {Meter.TEXT_IN: 10}, {"model": "gpt-unknown"}),
    )
    for number, (subject, counts, more) in enumerate(turns):
        api.books.bill("s1", subject, counts, at=OCTOBER + timedelta(seconds=10 * number), **more)
    api.books.close("s1", at=OCTOBER + timedelta(seconds=90))
    api.books.open("s2", "globex", at=OCTOBER + timedelta(days=1))
    api.books.bill("s2", "r9", {Meter.AUDIO_OUT: 10}, at=OCTOBER + timedelta(days=1))


def listed(shown: Shown) -> list[str]:
    rows = tables(shown.html)["sessions"].body if 'id="sessions"' in shown.html else []
    return [row[0].links[0].removeprefix("/sessions/") for row in rows]


async def test_every_filter_stands_in_the_url(api: Asking) -> None:
    converse(api)
    who, key = visitor(api), api.books.key("acme", "web")
    assert listed(await who.get("/sessions")) == ["s2", "s1"]
    for filters in (
        {"tenant": "acme"},
        {"project": "web"},
        {"key": key.id},
        {"end_user": "zoë"},
        {"state": "ended"},
        {"tag": "team=a", "from": "2026-10-01"},
        {"reason": "client_closed", "from": "2026-10-01"},
        {"id": "s1"},
        {"to": "2026-10-06"},
        {"model": MODEL, "to": "2026-10-06", "from": "2026-10-01"},
    ):
        shown = await who.get(f"/sessions?{urlencode(filters)}")
        assert listed(shown) == ["s1"], filters
        [form] = [one for one in shown.forms if one.action == "/sessions"]
        assert {name: value for name, value in form.fields.items() if value} == filters
    assert listed(await who.get("/sessions?state=lost")) == ["s2"]
    nothing = await who.get("/sessions?tenant=acme&state=live")
    assert "No such session" in nothing.text and "/sessions" in nothing.links


async def test_a_row_of_the_list_is_the_apis(embedded: Asking) -> None:
    converse(embedded)
    told = (await embedded.done("GET", "/sessions"))["data"]
    table = tables((await visitor(embedded).get("/sessions")).html)["sessions"]
    assert [row[5].amount for row in table.body] == [one["cost_nanousd"] for one in told]
    assert [row[3].text for row in table.body] == ["–", "1 min 30 s"]
    assert [row[6].text for row in table.body] == ["lost: its instance died", "the app closed it"]
    assert "1 unrated" in table.row("2026-10-05")[5].text
    assert table.foot[0][-2].amount == sum(one["cost_nanousd"] for one in told)


async def test_what_is_wrong_with_a_filter_is_said_at_it(embedded: Asking) -> None:
    converse(embedded)
    shown = await visitor(embedded).get("/sessions?tag=team&tenant=acme", 422)
    assert "write NAME=VALUE" in shown.text and 'aria-invalid="true"' in shown.html
    [form] = [one for one in shown.forms if one.action == "/sessions"]
    assert (form.fields["tag"], form.fields["tenant"]) == ("team", "acme")
    embedded.books.open("s0", "acme", at=OCTOBER - timedelta(days=365))
    long = await visitor(embedded).get("/sessions?tag=team%3Da", 422)
    assert "at most 100 days" in long.text
    [again] = [link for link in long.links if "from=" in link]
    assert again.startswith("/sessions?tag=team%3Da&from=")
    await visitor(embedded).get(again)
    assert "no tenant 'nobody'" in (await visitor(embedded).get("/sessions?tenant=nobody", 404)).text


async def test_pages_of_the_list(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    converse(embedded)
    monkeypatch.setattr("proxy.console.pages.sessions.LIMIT", 1)
    first = await visitor(embedded).get("/sessions?from=2026-10-01")
    [following] = [link for link in first.links if "after=" in link]
    second = await visitor(embedded).get(following)
    assert (listed(first), listed(second)) == (["s2"], ["s1"])
    assert "/sessions?from=2026-10-01" in second.links


async def test_a_session_turn_by_turn(api: Asking) -> None:
    converse(api)
    account = await api.done("GET", "/sessions/s1/account")
    shown = await visitor(api).get("/sessions/s1")
    turns, contexts = (tables(shown.html)[name] for name in ("turns", "contexts"))
    known = [row for row in turns.body if row[3].amounts]
    assert [row[3].amount for row in known] == [
        one["amount_nanousd"] for one in account["things"] if one["rated"]
    ]
    assert [row[4].amount for row in turns.body] == [one["running_nanousd"] for one in account["things"]]
    for row in known:
        assert sum(cell.amounts[0] for cell in row[5:] if cell.amounts) == row[3].amount
    assert turns.foot[0][1].amount == account["total"]["amount_nanousd"]
    assert [row[0].text for row in turns.body] == ["1", "2", "3", "4 ✕ !", "5"]
    assert "interrupted: the user spoke" in turns.body[3][2].text and "cache broke" in turns.body[3][2].text
    assert "unrated" in turns.body[4][2].text and "not known" in turns.body[4][3].text
    tokens = [[cell.text for cell in row[:4]] for row in contexts.body]
    assert tokens == [
        ["1", "0", "900", ""],
        ["3", "896", "100", ""],
        ["4", "0", "140", "960"],
        ["5", "0", "10", ""],
    ]
    broke = account["things"][3]["cache_broke"]
    assert contexts.body[2][6].amount == broke["extra_nanousd"]
    assert [row[0].links for row in turns.body] == [[f"/entries/{one['id']}"] for one in account["things"]]
    assert 'data-chart="bars"' in shown.html and 'data-chart="area"' in shown.html


async def test_a_long_session_is_shown_in_parts(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    converse(embedded)
    monkeypatch.setattr("proxy.console.turns.TURNS_MAX", 2)
    who = visitor(embedded)
    first, last = await who.get("/sessions/s1"), await who.get("/sessions/s1?turns=3")
    assert "Turns 1 to 2 of 5" in first.text and "/sessions/s1?turns=2" in first.links
    assert [row[0].text for row in tables(last.html)["turns"].body] == ["5"]
    total = [tables(one.html)["turns"].foot[0][1].amount for one in (first, last)]
    assert total[0] == total[1], "the totals are of all"
    for beyond in ("99", "0", "x", "٣"):
        await who.get(f"/sessions/s1?{urlencode({'turns': beyond})}")


async def test_a_session_without_an_account_has_its_entries(
    embedded: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    converse(embedded)
    monkeypatch.setattr("proxy.store.session_accounts.ENTRIES_MAX", 2)
    monkeypatch.setattr("proxy.console.turns.TURNS_MAX", 3)
    first = tables((await visitor(embedded).get("/sessions/s1")).html)["turns"]
    assert len(first.body) == 3
    cost = (await embedded.done("GET", "/sessions/s1"))["cost_nanousd"]
    assert first.foot[0][1].amount == cost != first.body[-1][4].amount, "the total is of all pages"
    monkeypatch.setattr("proxy.console.turns.TURNS_MAX", 200)
    shown = await visitor(embedded).get("/sessions/s1")
    assert "has more than 2 entries" in shown.text
    turns = tables(shown.html)["turns"]
    assert (len(turns.body), turns.foot[0][1].amount) == (5, cost)


async def test_a_live_session_says_so(embedded: Asking) -> None:
    now = datetime.now(UTC)
    embedded.books.open("s1", "acme", at=now)
    publish(embedded.engine, "i1", [Live("s1", 5_000_000, 3)], now)
    shown = await visitor(embedded).get("/sessions/s1")
    assert "This conversation goes on" in shown.text and "/live" in shown.links
    assert "Nothing was billed" in shown.text
    assert "live" in (await visitor(embedded).get("/sessions")).text


async def test_an_entry_line_by_line(api: Asking) -> None:
    converse(api)
    entry = await api.done("GET", "/ledger/3")
    shown = await visitor(api).get("/entries/3")
    lines = tables(shown.html)["lines"]
    assert [[cell.text for cell in row[:3]] for row in lines.body] == [
        ["Audio output", "40 tokens", "× $64.00 per million"],
        ["Text input", "100 tokens", "× $4.00 per million"],
        ["Text input, cached", "896 tokens", "× $0.40 per million"],
    ]
    assert [row[4].amount for row in lines.body] == [one["cost_nanousd"] for one in entry["lines"]]
    assert [cell.amount for cell in lines.foot[0][1:4]] == [entry["cost_nanousd"]] * 3
    assert lines.body[0][6].links == [f"/rate-cards/{entry['lines'][0]['rate_card_id']}"]
    assert "/sessions/s1" in shown.links


async def test_what_an_entry_corrects_and_what_corrects_it(embedded: Asking) -> None:
    await unrated(embedded, "acme")
    before = await visitor(embedded).get("/entries/1")
    assert "This has no price" in before.text and "No rate card is there for the model" in before.text
    await embedded.done("POST", "/reratings", {"reason": "the card came late"})
    who = visitor(embedded)
    original, reversal, replacement = [await who.get(f"/entries/{number}") for number in (1, 2, 3)]
    assert {"/entries/2", "/entries/3"} <= set(original.links)
    assert "takes back entry 1" in reversal.text and "/entries/1" in reversal.links
    assert "stands in the place of entry 1" in replacement.text


async def test_from_the_months_total_to_one_line_by_links(api: Asking) -> None:
    """Overview, a tenant's sessions, one session, one response: the sums agree at every step."""
    converse(api)
    who = visitor(api)
    overview = tables((await who.get("/?month=2026-10")).html)["by-tenant"]
    total = (await api.done("GET", "/reports/costs", params={"from": "2026-10-01", "to": "2026-11-01"}))[
        "total"
    ]
    assert overview.foot[0][2].amount == total["cost_nanousd"] == sum(row[2].amount for row in overview.body)
    tenant = overview.row("acme")
    sessions = tables((await who.get(tenant[3].links[0])).html)["sessions"]
    assert sessions.foot[0][-2].amount == tenant[2].amount
    session = sessions.body[0]
    turns = tables((await who.get(session[0].links[0])).html)["turns"]
    assert turns.foot[0][1].amount == session[5].amount
    assert sum(row[3].amounts[0] for row in turns.body if row[3].amounts) == session[5].amount
    turn = turns.body[2]
    lines = tables((await who.get(turn[0].links[0])).html)["lines"]
    assert lines.foot[0][2].amount == turn[3].amount == sum(row[4].amount for row in lines.body)
    line = lines.body[0]
    quantity, price = int(line[1].text.split()[0]), 64_000
    assert line[4].amount == quantity * price


async def test_a_viewer_sees_its_tenants_and_what_is_billed(embedded: Asking) -> None:
    converse(embedded)
    viewer = visitor(embedded, TokenRole.VIEWER, "acme")
    assert listed(await viewer.get("/sessions")) == ["s1"]
    assert "globex" not in (await viewer.get("/sessions")).html
    shown = await viewer.get("/sessions/s1")
    assert "Owed" in shown.text
    entry = await viewer.get("/entries/1")
    assert "What the tenant owes" in entry.text and "What the provider charges" not in entry.text
    assert not [link for link in entry.links if "rate-cards" in link] and "per million" not in entry.text
    for path in ("/sessions/s2", "/entries/6", "/sessions/none", "/entries/99", "/sessions?tenant=globex"):
        hidden = await viewer.get(path, 404)
        assert "$" not in hidden.text
    await viewer.get("/entries/one", 422)


async def test_texts_that_nobody_should_send(embedded: Asking) -> None:
    embedded.books.open("s1", "acme", end_user=HOSTILE, tags={"team": HOSTILE, HOSTILE[:50]: "x"}, at=OCTOBER)
    embedded.books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=OCTOBER, status=HOSTILE, status_reason=HOSTILE)
    embedded.books.bill("s1", "r2", {Meter.TEXT_IN: 10}, at=OCTOBER, model=HOSTILE, flags=(HOSTILE,))
    for path in ("/sessions", "/sessions/s1", "/entries/1", "/entries/2"):
        shown = await visitor(embedded).get(path)
        assert "<script>alert" not in shown.html and HOSTILE in shown.text, path
    asked = dict.fromkeys(("tenant", "project", "key", "end_user", "model", "tag", "reason", "id"), HOSTILE)
    for name, value in asked.items():
        given = NAME if name in ("tenant", "project") else value
        query = urlencode({name: given, "from": "2026-10-01"})
        shown = await visitor(embedded).get(
            f"/sessions?{query}",
            {"end_user": 200, "model": 200, "tenant": 404, "project": 404}.get(name, 422),
        )
        assert "<script>alert" not in shown.html


async def test_no_sessions_yet(embedded: Asking) -> None:
    assert "No sessions yet" in (await visitor(embedded).get("/sessions")).text
