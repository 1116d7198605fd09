"""A story in a browser: a month is closed by two people, each at a browser of their own. On PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.console.stories import person
from tests.console.test_closing import MONTH, fill

PERIOD = MONTH.rpartition("/")[2]
WHY, IN_SPITE = "the month is over", "its price is not agreed yet"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
async def four_eyes(tmp_path: Path, migrated_postgres_url: str) -> AsyncIterator[Asking]:
    async with asking(tmp_path, migrated_postgres_url, four_eyes=True) as asked:
        fill(asked)
        yield asked


async def state(api: Asking) -> str:
    (month,) = (await api.done("GET", "/periods"))["data"]
    return str(month["state"])


async def test_two_people_close_a_month(browser: Browser, four_eyes: Asking) -> None:
    api = four_eyes
    ann = await person(browser, api, "ann@example.com", TokenRole.FINANCE)
    bob = await person(browser, api, "bob@example.com", TokenRole.FINANCE)

    await ann.open("/")
    await ann.go("Close")
    await ann.follow(ann.link("to be closed next"))
    await ann.sees(f"{PERIOD}: close it")
    await ann.reads("Entries without a price")
    await ann.page.get_by_label("In spite of: entries without a price").fill(IN_SPITE)
    await ann.page.get_by_label("Reason").last.fill(WHY)
    await ann.click(ann.page.get_by_label("I am sure"))
    await ann.follow(ann.button(f"Close {PERIOD} for good"))
    await ann.reads("It is asked for.", "user:ann@example.com has asked for the close")
    assert await state(api) == "over"
    await ann.follow(ann.link("See the request"))
    await ann.reads("You have asked for this yourself")
    await expect(ann.button("Approve, and so do it")).to_have_count(0)

    await bob.open("/")
    await bob.follow(bob.link("1 request waits for a second person"))
    await bob.follow(bob.link(f"Close {PERIOD}"))
    await bob.reads("user:ann@example.com", WHY, IN_SPITE)
    await bob.page.locator("#approve-reason").fill("I looked at it")
    await bob.follow(bob.button("Approve, and so do it"))
    await bob.reads("Approved, and done.")
    assert await state(api) == "closed"
    await bob.follow(bob.link(f"{PERIOD} is closed"))
    (month,) = (await api.done("GET", "/periods"))["data"]
    await bob.reads("Closed in spite of: entries without a price", IN_SPITE, month["seal"])

    await bob.follow(bob.link("2 statements"))
    (told,) = (await api.done("GET", "/statements", params={"tenant": "acme"}))["data"]
    await bob.follow(bob.link(told["number"]))
    await bob.sees(f"Statement {told['number']}")
    lines = [row[-1].amount for row in (await bob.tables())["lines-usage"].body]
    assert await bob.stat("Exact sum") == told["billed_nanousd"] == sum(lines) > 0
    assert (await bob.file(bob.link("PDF"))).startswith(b"%PDF-")

    await ann.page.reload()
    await ann.reads("bob@example.com", "I looked at it", f"{PERIOD} is closed")
    assert ann.complaints == bob.complaints == []
