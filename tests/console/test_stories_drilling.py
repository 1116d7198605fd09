"""A story in a browser: from a month's total down to a rate card, by links only, and every step agrees."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.admin.api.asking import Asking
from tests.console.reporting import fill
from tests.console.stories import Person, person

MONTH, DAY, HOUR, SESSION, RESPONSE = "2026-11", "2026-11-05", "2026-11-05 08:00", "s0", "r0"
LINES = 2  # of the response: what went in, and what came out

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Entry = dict[str, Any]


class Ledger:
    """All entries, summed up here and not by the pages' own queries."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries

    def of(self, **prefixes: str) -> int:
        """Return what the entries cost whose fields begin so, in nano-dollars."""
        return sum(
            one["cost_nanousd"] or 0
            for one in self.entries
            if all(one[name].startswith(text) for name, text in prefixes.items())
        )


def row_of(ann: Person, table: str, name: str) -> Locator:
    """Return the row of a table whose first cell is called so."""
    rows = ann.main.locator(f"#{table} tbody tr")
    return rows.filter(has=ann.page.get_by_role("rowheader", name=name))


async def check_report(ann: Person, name: str, whole: int, cost: Callable[[str], int]) -> None:
    """See that a report says `whole`, in its tile and its foot, and of each row what the ledger says."""
    assert await ann.stat("Cost") == whole
    table = (await ann.tables())["report"]
    assert table.foot[0][1].amount == whole
    assert {row[0].text: row[1].amount for row in table.body} == {
        row[0].text: cost(row[0].text) for row in table.body
    }
    assert sum(row[1].amount for row in table.body) == whole
    assert table.row(name)


async def test_from_a_month_to_a_rate_card(browser: Browser, embedded: Asking) -> None:
    fill(embedded)
    ledger = Ledger((await embedded.done("GET", "/ledger", params={"limit": "1000"}))["data"])
    ann = await person(browser, embedded, "ann@example.com")

    await ann.open(f"/?month={MONTH}")
    whole = await ann.stat(f"Spent in {MONTH}")
    assert whole == ledger.of(occurred_at=MONTH) > 0
    await ann.follow(ann.link(f"Spent in {MONTH}"))

    await ann.reads("By day")
    await check_report(ann, DAY, whole, lambda day: ledger.of(occurred_at=day))
    await ann.follow(row_of(ann, "report", DAY).get_by_role("link", name="By hour"))

    await ann.reads("By hour")
    await check_report(
        ann, HOUR, ledger.of(occurred_at=DAY), lambda hour: ledger.of(occurred_at=hour[:13].replace(" ", "T"))
    )
    await ann.follow(row_of(ann, "report", HOUR).get_by_role("link", name="By session"))

    await ann.reads("By session")
    in_hour = {"occurred_at": HOUR[:13].replace(" ", "T")}
    await check_report(
        ann, SESSION, ledger.of(**in_hour), lambda session: ledger.of(**in_hour, session_id=session)
    )
    await ann.follow(ann.link(SESSION))

    await ann.sees(f"Session {SESSION}")
    await check_session(ann, ledger)
    await ann.follow(row_of(ann, "turns", "1").get_by_role("link"))
    await check_entry(ann, embedded, ledger)
    assert ann.complaints == []


async def check_session(ann: Person, ledger: Ledger) -> None:
    """See that a session's tile, its foot and its running sum are the ledger's, and each turn its entry's."""
    cost = ledger.of(session_id=SESSION)
    assert await ann.stat("Cost") == cost
    turns = (await ann.tables())["turns"]
    assert turns.foot[0][1].amount == turns.body[-1][4].amount == cost
    entries = [one for one in ledger.entries if one["session_id"] == SESSION]
    assert sorted(row[3].amount for row in turns.body) == sorted(one["cost_nanousd"] for one in entries)


async def check_entry(ann: Person, api: Asking, ledger: Ledger) -> None:
    """See that a response is quantity × price of its lines, by the prices of the card that each leads to."""
    (entry,) = [one for one in ledger.entries if one["subject_id"] == RESPONSE]
    await ann.sees(f"Entry {entry['id']}")
    assert await ann.stat("What the provider charges") == entry["cost_nanousd"]
    told = (await api.done("GET", f"/ledger/{entry['id']}"))["lines"]
    lines = (await ann.tables())["lines"]
    assert len(lines.body) == len(told) == LINES
    assert lines.foot[0][2].amount == sum(row[4].amount for row in lines.body) == entry["cost_nanousd"]
    for row, line in zip(lines.body, told, strict=True):
        assert row[4].amount == line["cost_nanousd"] == line["quantity"] * line["price_nanousd"]
        assert row[6].links == [f"/rate-cards/{line['rate_card_id']}"]
    meters = {row[0].text: row[2].text for row in lines.body}
    await ann.follow(ann.main.locator("#lines tbody tr").first.get_by_role("link"))

    await expect(ann.main.locator("h1")).to_contain_text(str(entry["model"]))
    prices = {row[0].text: (row[1].text, row[2].text) for row in (await ann.tables())["prices"].body}
    for meter, price in meters.items():
        usd, per = prices[meter]
        assert price == f"× {usd} per {per}", "as the entry's line says"
