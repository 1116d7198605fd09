"""What holds of every page: who may see it, what axe says, that nothing that is stored becomes script."""

import pytest
from playwright.async_api import Browser, Dialog

from proxy.console.visitors import COOKIE
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.admin.api.world import World, fill
from tests.console.browser import Watched, open_page, overflow, violations
from tests.console.every_page import addresses, ids_of
from tests.console.visiting import visitor

WIDTHS = (360, 1280)
# Headings and tables that nobody sees, but for those that open on demand; or that there is not one heading.
HIDDEN = """() => [...document.querySelectorAll("main :is(h1, table)")]
    .filter(one => !one.closest("details:not([open]), [popover]"))
    .filter(one => !one.checkVisibility({visibilityProperty: true}) || !one.getBoundingClientRect().height)
    .map(one => one.outerHTML)
    .concat(document.querySelectorAll("main h1").length === 1 ? [] : ["not one heading"])"""
HEIGHT = 900
HOSTILE = (
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror='window.pwned=1'>",
    "'-window.pwned=1-'",
    "</title></textarea></select><svg onload=window.pwned=1>",
    "{{ 7*7 }}${7*7}#{7*7}",
    "javascript:window.pwned=1",
    "\u202etxt.exe\u2066 and so on",
)


@pytest.fixture
async def world(embedded: Asking) -> World:
    return await fill(embedded)


async def signed_in(
    browser: Browser, api: Asking, role: TokenRole = TokenRole.ADMIN, **options: object
) -> Watched:
    """Return a page of a browser in which somebody is signed in."""
    watched = await open_page(browser, **options)  # type: ignore[arg-type]
    secret = visitor(api, role).secret
    assert secret is not None
    await watched.page.context.add_cookies([{"name": COOKIE, "value": secret, "url": api.url}])
    return watched


async def test_every_page_shows_what_is_there(embedded: Asking, world: World) -> None:
    person = visitor(embedded)
    for page, address in addresses(ids_of(world)).items():
        shown = await person.get(address, 200, 303)
        assert shown.status == 303 or "Sign out" in shown.text, page.path


async def test_what_is_anothers_is_not_there_for_the_confined(embedded: Asking, world: World) -> None:
    """Neither by its id, nor in a list, nor in a sum."""
    for role in TokenRole:
        person = visitor(embedded, role, "globex")
        for page, address in addresses(ids_of(world)).items():
            shown = await person.get(address, 200, 303, 403, 404)
            if shown.status == 200:
                assert "acme" not in shown.text and "s1-r1" not in shown.text, (role, page.path)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_pages_as_people_see_them(embedded: Asking, world: World, browser: Browser) -> None:
    """Axe finds nothing in light and in dark, and no page is wider than its window, on a phone either."""
    watched = await signed_in(browser, embedded)
    page, wrong = watched.page, []
    for shown, address in addresses(ids_of(world)).items():
        await page.goto(f"{embedded.url}{address}")
        found = await violations(page)
        await page.emulate_media(color_scheme="dark")
        found += await violations(page, rules=("color-contrast",))  # the scheme changes colours only
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": HEIGHT})
            found += await overflow(page)
        await page.emulate_media(color_scheme="light")
        wrong += [f"{shown.path}: {one}" for one in found]
    assert wrong == []
    assert watched.complaints == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_pages_are_read_without_scripts(embedded: Asking, world: World, browser: Browser) -> None:
    """What is shown with them is there without, in tables, links and forms."""
    watched = await signed_in(browser, embedded, scripts=False)
    for page, address in addresses(ids_of(world)).items():
        await watched.page.goto(f"{embedded.url}{address}")
        assert await watched.page.evaluate(HIDDEN) == [], page.path
    assert watched.complaints == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_that_is_stored_becomes_script(embedded: Asking, browser: Browser) -> None:
    """Names, tags, reasons and models come from apps and people: on pages they are text."""
    world = await fill(embedded)
    await store_hostile(embedded, world)
    watched = await signed_in(browser, embedded)
    said: list[str] = []

    async def heard(dialog: Dialog) -> None:
        said.append(dialog.message)
        await dialog.dismiss()

    watched.page.on("dialog", heard)
    for page, address in addresses(ids_of(world)).items():
        await watched.page.goto(f"{embedded.url}{address}")
        assert await watched.page.evaluate("window.pwned") is None, page.path
        assert await watched.page.locator("script:not([src]), img[onerror], svg[onload]").count() == 0, (
            page.path
        )
    assert (said, watched.complaints) == ([], [])


async def store_hostile(api: Asking, world: World) -> None:
    """Put hostile text into every field that takes text."""
    for number, text in enumerate(HOSTILE):
        if not text.isprintable():  # the API takes no such names; records may hold it all the same
            api.books.bill("s1", f"unprintable{number}", {}, model=text, status_reason=text)
            continue
        made = await api.done("POST", "/tenants", {"name": text})
        tenant = made["id"]
        project = await api.done("POST", "/projects", {"tenant": tenant, "name": text})
        await api.done(
            "POST",
            "/keys",
            {"tenant": tenant, "project": project["id"], "name": text, "tags": {"team": text}},
        )
        budget = {"scope": "end_user", "tenant": world.tenant, "end_user": text, "window": "day"}
        await api.done("POST", "/budgets", budget | {"amount_usd": "1", "reason": text})
        await api.done(
            "POST", "/saved-reports", {"name": text, "span": "last-month", "filters": {"tag": f"a={text}"}}
        )
        await api.done(
            "POST",
            "/schedules",
            {"name": text, "content": "digest", "every": "week", "to": ["mailto:a@example.com"]},
        )
        await api.done("POST", "/tokens", {"name": text, "role": "auditor", "reason": text})
        await api.done(
            "POST", "/adjustments",
            {"kind": "credit", "tenant": tenant, "key": f"h{number}", "reason": text, "billed_usd": "-1"},
        )  # fmt: skip
        await api.done("PUT", "/line-items", {"name": text.replace("*", "×"), "meter": None, "reason": text})
        await api.done("PUT", f"/models/{world.tenant}/hostile{number}", {"allowed": False, "reason": text})
        books = api.books
        session = f"hostile{number}"
        books.open(session, "acme", "web", tags={"team": text}, end_user=text)
        books.bill(session, f"{session}-r1", {}, model=text, status=text[:60], status_reason=text)
        books.bill(session, f"{session}-r2", model=text)
