"""`make shots`: a picture of every page, light and dark, at three widths, of a console that is full.

The ledger is the demo's made-up past, and one of everything else. Pictures go to `shots/`. With `--readme`
only those of the README are taken, and go to `docs/images/`.
"""

import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from playwright.async_api import Browser, async_playwright
from rich.console import Console

from proxy.console.visitors import COOKIE
from proxy.demo.past import HABITS, book_past
from proxy.store.audit import Act
from proxy.store.database import migrate, open_database, writing
from proxy.store.tenants import create_key, create_tenant
from tests.admin.api.asking import Asking, asking
from tests.admin.api.world import fill
from tests.closing import close_month
from tests.console.browser import ARGUMENTS, Scheme, Watched, chromium_program, open_page
from tests.console.every_page import addresses, ids_of
from tests.console.visiting import visitor
from tests.ledgers import PEPPER

FOLDER = Path(__file__).parents[2] / "shots"
WIDTHS = (360, 1000, 1600)
README = FOLDER.parent / "docs" / "images"
IN_README = {
    "overview": "/",
    "session": "/sessions/{session_id}",
    "reports": "/reports",
    "budgets": "/budgets",
}
BUDGETS = (
    {"scope": "organisation", "window": "month", "amount_usd": "30"},
    {"scope": "tenant", "tenant": "Bakery", "window": "month", "amount_usd": "12"},
    {"scope": "tenant", "tenant": "Hotline", "window": "month", "amount_usd": "7"},
    {"scope": "tenant", "tenant": "Storyland", "window": "day", "amount_usd": "0.50"},
)


async def main() -> int:
    """Take the pictures; return 1 if a page complained."""
    console, complaints = Console(), []
    with tempfile.TemporaryDirectory(prefix="talkmeter-shots-") as name:
        async with asking(Path(name), migrated(name)) as api, async_playwright() as playwright:
            book_demo(api)
            close_month(api.engine, "2026-09")  # `fill` closes the next one
            ids = {**ids_of(await fill(api)), **await lively(api)}
            browser = await playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)
            for scheme in get_args(Scheme):
                if "--readme" in sys.argv:
                    complaints += await take_readme(browser, api, ids, scheme)
                    continue
                for width in WIDTHS:
                    complaints += await take_all(browser, api, ids, scheme, width)
            await browser.close()
    console.print("pictures are in shots/ or docs/images/", *complaints, sep="\n", highlight=False)
    return 1 if complaints else 0


def migrated(folder: str) -> str:
    url = f"sqlite:///{folder}/talkmeter.db"
    engine = open_database(url)
    migrate(engine)
    engine.dispose()
    return url


def book_demo(api: Asking) -> None:
    act, keys = Act("demo", datetime.now(UTC)), {}
    with writing(api.engine) as connection:
        for tenant in HABITS:
            create_tenant(connection, tenant, act)
            keys[tenant], _ = create_key(connection, PEPPER, tenant_name=tenant, act=act, name="demo")
        book_past(connection, keys, act.at)


async def lively(api: Asking) -> dict[str, str]:
    """Set budgets; return ids of what has more to show than what a test needs."""
    for budget in BUDGETS:
        await api.done("POST", "/budgets", budget)
    calls = (await api.done("GET", "/sessions", params={"tenant": "Hotline", "limit": "50"}))["data"]
    longest = max(calls, key=lambda one: one["responses"])["id"]
    entries = await api.done("GET", "/ledger", params={"session": longest, "limit": "3"})
    return {"session_id": longest, "entry_id": str(entries["data"][-1]["id"])}


async def take_readme(browser: Browser, api: Asking, ids: dict[str, str], scheme: Scheme) -> list[str]:
    """Take the pictures of the README: as much of each page as a screen shows."""
    watched = await signed_in(browser, api, width=1280, height=800, scheme=scheme)
    README.mkdir(exist_ok=True)
    for name, path in IN_README.items():
        await watched.page.goto(f"{api.url}{path.format(**ids)}")
        await watched.page.screenshot(path=README / f"{name}-{scheme}.png")
    await watched.page.context.close()
    return [f"{scheme}: {one}" for one in watched.complaints]


async def signed_in(browser: Browser, api: Asking, **options: Any) -> Watched:
    """Return a page of a browser in which somebody is signed in."""
    watched = await open_page(browser, **options)
    secret = visitor(api).secret or ""
    await watched.page.context.add_cookies([{"name": COOKIE, "value": secret, "url": api.url}])
    return watched


async def take_all(
    browser: Browser, api: Asking, ids: dict[str, str], scheme: Scheme, width: int
) -> list[str]:
    """Take a picture of every page; return what pages complained about."""
    watched = await open_page(browser, width=width, scheme=scheme)
    folder = FOLDER / f"{scheme}-{width}"
    folder.mkdir(parents=True, exist_ok=True)
    await watched.page.goto(f"{api.url}/sign-in")
    await watched.page.screenshot(path=folder / "sign-in.png", full_page=True)
    secret = visitor(api).secret or ""
    await watched.page.context.add_cookies([{"name": COOKIE, "value": secret, "url": api.url}])
    for page, address in named(ids).items():
        await watched.page.goto(f"{api.url}{address}")
        await watched.page.screenshot(path=folder / f"{page}.png", full_page=True)
    await watched.page.context.close()
    return [f"{scheme} {width}: {one}" for one in watched.complaints]


def named(ids: dict[str, str]) -> dict[str, str]:
    """Return addresses by what their picture is called."""
    return {
        page.path.strip("/").replace("/", "-").replace("{", "").replace("}", "") or "overview": address
        for page, address in addresses(ids).items()
    }


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
