"""Chromium for the tests of pages: Debian's own, driven by playwright in the test's event loop.

Nothing is downloaded: `CHROMIUM` names the program, otherwise the first of `PROGRAMS` is taken. Without
one these tests skip and say the command that installs it; in CI (`CI=true`) they fail, since nobody reads
skips there.

A page is watched from its beginning: `Watched.complaints` has what the browser's console, the content
security policy and the page's own scripts have complained about.
"""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import pytest_asyncio
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = "no Chromium to test pages with: apt-get install chromium (or name a program in CHROMIUM)"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
PAGE_MS_MAX = 20_000
expect.set_options(timeout=PAGE_MS_MAX)  # the machine may be busy with other tests

Scheme = Literal["light", "dark"]

_RUN_AXE = "only => axe.run({runOnly: only, resultTypes: ['violations']})"
_WATCH_POLICY = """
document.addEventListener("securitypolicyviolation", event => console.error(
    `content security policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Watched:
    """A page of a browser, and what it has complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")


def chromium_program() -> str:
    """Return the path of Chromium. Without one the test is skipped, in CI it fails."""
    given = os.environ.get("CHROMIUM")
    found = given or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Run a Chromium, in this event loop."""
    program = chromium_program()
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        await started.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium of this test's own."""
    async with launched() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_browser() -> AsyncIterator[Browser]:
    """A Chromium for all tests of a module whose `asyncio` mark has `loop_scope="module"`."""
    async with launched() as started:
        yield started


async def open_page(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 900,
    scheme: Scheme = "light",
    scripts: bool = True,
    **options: Any,
) -> Watched:
    """Return an empty page in a context of its own: its cookies are nobody else's."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=scripts,
        reduced_motion="reduce",
        timezone_id="Europe/Berlin",
        **options,
    )
    context.set_default_timeout(PAGE_MS_MAX)
    page = await context.new_page()
    watched = Watched(page)
    page.on("console", watched.hear)
    page.on("pageerror", lambda error: watched.complaints.append(f"script: {error}"))
    if scripts:
        await page.add_init_script(_WATCH_POLICY)
    return watched


async def violations(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """Return what axe finds against WCAG 2.0 to 2.2, A and AA: a line for each element, what and where.

    `rules` are the only ones to look at, by axe's names.
    """
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT + "; undefined")
    only = {"type": "rule", "values": [*rules]} if rules else {"type": "tag", "values": RULES}
    found = (await page.evaluate(_RUN_AXE, only))["violations"]
    return [
        f"{rule['id']} at {' '.join(map(str, node['target']))}: {_why(node)}"
        for rule in found
        for node in rule["nodes"]
    ]


def _why(node: dict[str, Any]) -> str:
    checks = [*node["any"], *node["all"], *node["none"]]
    return "; ".join(check["message"] for check in checks) or node["html"][:120]


async def overflow(page: Page) -> list[str]:
    """Return the elements that make the page wider than its window, if it is."""
    return list(await page.evaluate(_OVERFLOW))


_OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  return [...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > wide + 1)
    .map(one => `${one.tagName.toLowerCase()}.${one.getAttribute("class") ?? ""}`);
}"""
