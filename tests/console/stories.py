"""What stories in a browser share: a person who clicks, types and reads.

Clicks are counted; amounts are read exactly, in nano-dollars; whatever a page complains about is kept.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from playwright.async_api import Browser, Locator, expect

from proxy.console.visitors import COOKIE
from proxy.core.money import parse_usd
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.browser import PAGE_MS_MAX, Watched, open_page
from tests.console.tables import Table, tables
from tests.console.visiting import visitor

_SETTLE_MS = 500  # between two looks at a page that does not change by itself


class Person:
    """Somebody at a browser of their own: cookies are nobody else's."""

    def __init__(self, watched: Watched, url: str) -> None:
        self.watched = watched
        self.page = watched.page
        self.url = url
        self.clicks = 0

    @property
    def main(self) -> Locator:
        """Return the page without its frame."""
        return self.page.locator("main")

    def link(self, name: str, *, exact: bool = True) -> Locator:
        return self.main.get_by_role("link", name=name, exact=exact)

    def button(self, name: str, *, exact: bool = True) -> Locator:
        return self.page.get_by_role("button", name=name, exact=exact)

    async def open(self, path: str) -> None:
        """Type an address."""
        await self.page.goto(f"{self.url}{path}")

    async def go(self, name: str) -> None:
        """Choose a page in the navigation."""
        await self.follow(self.page.get_by_label("Pages").get_by_role("link", name=name, exact=True))

    async def click(self, target: Locator) -> None:
        """Click what leads to no other page."""
        self.clicks += 1
        await target.click()

    async def follow(self, target: Locator) -> None:
        """Click what leads to another page, and wait until that is there."""
        async with self.page.expect_navigation():
            await self.click(target)

    async def sees(self, heading: str) -> None:
        """Wait for the page of this heading."""
        await expect(self.main.locator("h1")).to_have_text(heading)

    async def reads(self, *texts: str) -> None:
        """Wait for texts on the page."""
        for text in texts:
            await expect(self.main).to_contain_text(text)

    async def type(self, text: str) -> None:
        """Type to what has the focus."""
        await self.page.keyboard.type(text)

    async def tables(self) -> dict[str, Table]:
        """Return the tables of the page by their ids."""
        return tables(await self.page.content())

    async def stat(self, label: str) -> int:
        """Return the amount of a tile."""
        tile = self.main.locator(".stat").filter(has=self.page.get_by_text(label, exact=True))
        return await amount(tile.locator(".value"))

    async def until(self, shown: Locator, path: str) -> None:
        """Load a page again until something is shown on it."""

        async def look() -> bool:
            await self.open(path)
            return await shown.count() > 0

        await self.wait_until(look)

    async def wait_until(self, look: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Look again and again until it is so."""
        waited_ms = 0
        while not await look():
            assert waited_ms < PAGE_MS_MAX, await self.main.inner_text()
            await self.page.wait_for_timeout(_SETTLE_MS)
            waited_ms += _SETTLE_MS

    async def file(self, target: Locator) -> bytes:
        """Click a download; return what came."""
        async with self.page.expect_download() as coming:
            await self.click(target)
        path = await (await coming.value).path()
        return path.read_bytes()

    @property
    def complaints(self) -> list[str]:
        """Return what pages have complained about."""
        return self.watched.complaints


async def amount(shown: Locator) -> int:
    """Return the one exact amount in what is shown."""
    value = await shown.locator("data.money").get_attribute("value")
    assert value is not None
    return parse_usd(value)


async def stranger(browser: Browser, url: str) -> Person:
    """Return somebody whom nobody knows yet."""
    return Person(await open_page(browser), url)


async def person(browser: Browser, api: Asking, name: str, role: TokenRole = TokenRole.ADMIN) -> Person:
    """Return somebody who has signed in at the provider."""
    who = await stranger(browser, api.url)
    secret = visitor(api, role, name=name).secret
    assert secret is not None
    await who.page.context.add_cookies([{"name": COOKIE, "value": secret, "url": api.url}])
    return who
