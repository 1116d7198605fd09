"""The console's components and its script in a browser: both schemes, phone to wide."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from tests.console.browser import Scheme, open_page, overflow, violations
from tests.console.gallery.server import POSTS, application, serving

DRAWN = "canvases => canvases.every(one => one.width > 100 && one.height > 100)"
AS_WIDE = """() => [...document.querySelectorAll("[data-plot]:not([hidden])")].every(
    box => box.querySelector(".uplot").offsetWidth === box.clientWidth)"""
CHARTS = 4
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def app() -> web.Application:
    return application()


@pytest_asyncio.fixture(loop_scope="module")
async def url(app: web.Application) -> AsyncIterator[str]:
    async with serving(app) as at:
        yield at


@pytest_asyncio.fixture(loop_scope="module")
async def browser(shared_browser: Browser) -> AsyncIterator[Browser]:
    """The browser of all these tests; what one has opened is closed after it."""
    yield shared_browser
    for context in shared_browser.contexts:
        await context.close()


async def opened(browser: Browser, url: str, scheme: Scheme = "light", width: int = 1280) -> Page:
    watched = await open_page(browser, scheme=scheme, width=width)
    await watched.page.goto(url)
    return watched.page


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_component(browser: Browser, url: str, scheme: Scheme) -> None:
    """At three widths axe finds nothing, nothing is blocked or logged, nothing sticks out."""
    watched = await open_page(browser, scheme=scheme, width=360)
    page = watched.page
    await page.goto(url)
    for width in (360, 1000, 1600):
        await page.set_viewport_size({"width": width, "height": 900})
        await expect(page.locator(".uplot canvas")).to_have_count(CHARTS)
        assert await page.locator(".uplot canvas").evaluate_all(DRAWN)
        assert await violations(page) == []
        assert await overflow(page) == []
    await page.get_by_role("button", name="Stop all").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await violations(page) == []
    await page.goto(f"{url}?signed-out")
    assert await violations(page) == []
    assert watched.complaints == []


async def test_without_scripts_everything_can_be_read(browser: Browser, url: str) -> None:
    page = (await open_page(browser, scripts=False, width=360)).page
    await page.goto(url)
    await expect(page.locator("#by-day")).to_be_visible()
    await expect(page.locator("[data-plot]").first).to_be_hidden()
    await expect(page.locator("time[data-local]").first).to_have_text("2026-11-29 01:40:11 UTC")
    await expect(page.locator("[data-zone-note]")).to_have_text("Times are in UTC.")
    await expect(page.get_by_text("load it again for newer figures")).to_be_visible()
    nav = page.get_by_role("navigation", name="Pages")
    await expect(nav).to_be_hidden()
    await page.get_by_role("button", name="Menu").click()
    await expect(nav.get_by_role("link", name="Sessions")).to_have_attribute("aria-current", "page")
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_instants_are_in_the_viewers_zone_and_in_utc_on_hover(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    instant = page.locator("#budgets time").first
    await expect(instant).to_have_text("2026-11-29 02:40:11")
    await expect(instant).to_have_attribute("title", "2026-11-29 01:40:11 UTC")
    await expect(page.locator("[data-zone-note]")).to_contain_text("Europe/Berlin")


async def test_a_chart_is_read_with_the_keyboard(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    figure = page.locator("figure", has_text="Spend by day").first
    await figure.locator("[data-plot]").focus()
    for key in ("End", "ArrowLeft"):
        await page.keyboard.press(key)
    await expect(figure.locator("[data-said]")).to_contain_text("2026-11-28: gpt-realtime $37.000000000,")
    await expect(figure.locator(".legend")).to_contain_text("$37.000000000")
    await expect(page.locator("#by-day")).to_be_hidden()
    await figure.get_by_text("Table").click()
    await expect(page.locator("#by-day")).to_be_visible()


async def test_charts_follow_the_scheme(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    first = await page.locator(".uplot canvas").first.evaluate("one => one.toDataURL()")
    await page.emulate_media(color_scheme="dark")
    # They are drawn anew when the page hears of it, which is a moment later.
    await page.wait_for_function(
        "first => (document.querySelector('.uplot canvas')?.toDataURL() ?? first) !== first", arg=first
    )
    await expect(page.locator(".uplot canvas")).to_have_count(CHARTS)


async def test_charts_follow_their_page(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    for width in (360, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.wait_for_function(AS_WIDE)


async def test_a_chart_that_has_yet_to_follow_does_not_widen_its_page(browser: Browser, url: str) -> None:
    """A browser may show its page a moment before it tells the chart of the new width."""
    page = (await open_page(browser, width=1280)).page
    await page.add_init_script("window.ResizeObserver = class { observe() {} disconnect() {} }")
    await page.goto(url)
    await page.set_viewport_size({"width": 360, "height": 900})
    assert not await page.evaluate(AS_WIDE)
    assert await overflow(page) == []


async def test_live_figures_tick_below_an_open_dialog(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    state = page.locator("[data-live-state]")
    await expect(state).to_have_text("Live")
    await page.get_by_role("region", name="Running conversations").get_by_role("button", name="Stop").click()
    await page.keyboard.press("Tab")
    await page.keyboard.type("runs away")
    cost = page.locator("#cost-1")
    before = await cost.text_content()
    await expect(cost).not_to_have_text(str(before))
    await expect(page.locator("#live-reason")).to_have_value("runs away")
    await expect(page.locator("#live-reason")).to_be_focused()
    await expect(page.locator("#sess-1 time")).to_have_text("2026-11-29 02:40")


async def test_a_lost_connection_is_said_and_found_again(browser: Browser, url: str) -> None:
    """Not by the browser alone: it gives up once the server answers anything else than events."""
    page = (await open_page(browser)).page
    await page.route("**/events", lambda route: route.fulfill(status=503))
    await page.goto(url)
    state = page.locator("[data-live-state]")
    await expect(state).to_contain_text("Connection lost")
    await page.unroute("**/events")
    await expect(state).to_have_text("Live")
    await expect(page.locator("#cost-1")).to_contain_text(".00")


async def test_nothing_is_asked_while_the_tab_is_hidden(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    state = page.locator("[data-live-state]")
    await expect(state).to_have_text("Live")
    await page.evaluate(HIDE, True)
    await expect(state).to_contain_text("Paused")
    cost = await page.locator("#cost-1").text_content()
    await page.wait_for_timeout(300)  # three messages
    await expect(page.locator("#cost-1")).to_have_text(str(cost))
    await page.evaluate(HIDE, False)
    await expect(state).to_have_text("Live")


async def test_a_form_that_writes_is_sent_once(browser: Browser, app: web.Application, url: str) -> None:
    page = await opened(browser, url)
    await page.get_by_role("button", name="Save").dblclick()
    await expect(page.get_by_text("The budget is saved.")).to_be_visible()
    await page.wait_for_load_state()
    assert app[POSTS] == ["/budgets"]


async def test_filters_are_in_the_address_at_once(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    await page.get_by_label("Tenant", exact=True).select_option("globex")
    await page.wait_for_url("**/?q=&tenant=globex&from=2026-11-01")


async def test_keys_and_copying(browser: Browser, url: str) -> None:
    page = await opened(browser, url)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert (await page.evaluate("navigator.clipboard.readText()")).startswith("tm_9f2k")


async def test_long_work_shows_how_far_it_is(browser: Browser, url: str) -> None:
    page = (await open_page(browser)).page
    answer = await page.goto(url)
    assert answer is not None and "340 of 1000" in await answer.text()  # a busy browser is later than that
    await expect(page.get_by_text("1000 of 1000")).to_be_visible()
