"""Every component of the console's pages on one page, over HTTP, with the console's own policy.

`python -m tests.console.gallery.server FOLDER` takes pictures of it: light and dark, at three widths.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from jinja2 import ChoiceLoader, Environment, FileSystemLoader

from proxy.console.headers import HEADERS
from proxy.console.pages import NAVIGATION
from proxy.console.render import environment

ROOT = Path(__file__).parents[3]
CONSOLE = ROOT / "proxy" / "console"
PERSON = SimpleNamespace(name="ada@example.com", role="administrator", tenants=["acme", "globex"])
USD = 1_000_000_000


def templates() -> Environment:
    """Return the console's templates, and the gallery's."""
    folders = [FileSystemLoader(CONSOLE / "templates"), FileSystemLoader(Path(__file__).parent)]
    return environment().overlay(loader=ChoiceLoader(folders))


def figures() -> dict[str, Any]:
    """Return what the gallery's tables show; amounts in nano-dollars."""
    days = [
        (f"2026-11-{d:02}", (28 + (d * 7) % 11) * USD, (9 + (d * 5) % 7) * USD, (2 + d % 3) * USD)
        for d in range(1, 30)
    ]
    spent = [d * 41 * USD if d < 21 else None for d in range(1, 31)]
    ahead = [d * 41 * USD if d > 19 else None for d in range(1, 31)]
    forecast = [(f"2026-11-{d:02}", spent[d - 1], ahead[d - 1], 1000 * USD) for d in range(1, 31)]
    months = [
        (f"2026-{m:02}", (300 + 37 * m) * USD, (120 + (m * 53) % 90) * USD, -(m % 3) * 25 * USD)
        for m in range(5, 12)
    ]
    budgets = [
        ("acme", 812_400_000_000, 12 * USD, 1000 * USD, "warning", "82 %"),
        ("acme / callcentre", 62_007_205_600, 3 * USD, 400 * USD, "ok", "16 %"),
        ("acme / night", 7_205_600, 0, 50 * USD, "quiet", "unused"),
        ("globex", 501_200_000_000, 0, 500 * USD, "bad", "exhausted"),
    ]
    return {"days": days, "forecast": forecast, "months": months, "budgets": budgets}


def rendered(**instead: Any) -> str:
    """Return the gallery as HTML; `instead` replaces what the frame is given."""
    frame = {
        "title": "Gallery",
        "page": "sessions",
        "person": PERSON,
        "nav": NAVIGATION,
        "csrf": "token",
        "zone": "Europe/Berlin",
        "flash": "The budget is saved.",
    }
    return templates().get_template("page.html").render(**{**frame, **figures(), **instead})


async def events(request: web.Request) -> web.StreamResponse:
    """Send the live region ten times a second, its cost one dollar more each time."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    template = templates().from_string(_FRAGMENT)
    cost = 0
    while not request.app[ENDING].is_set() and request.transport and not request.transport.is_closing():
        cost += USD
        html = " ".join(template.render(cost=cost, csrf="token").split("\n"))
        await response.write(f"data: {html}\n\n".encode())
        await asyncio.sleep(0.1)
    return response


_FRAGMENT = """{% import "macros/ui.html" as ui %}
{% set columns = [
  ui.column("Conversation"), ui.column("Started"), ui.column("Cost", "number"), ui.column("Stop", "action")
] %}
{% call ui.table("Running conversations", "running", columns) %}
<tr id="sess-1"><th scope="row">sess_1</th><td>{{ ui.instant("2026-11-29T01:40:11Z") }}</td>
<td class="number" id="cost-1">{{ ui.money(cost) }}</td>
<td class="action" id="stop-sess-1">
{% call ui.confirm("stop-live-1", "Stop", "Stop sess_1?", "/stop", csrf, "Stop it") %}
{{ ui.field("Reason", "reason", id="live-reason") }}{% endcall %}</td></tr>
{% endcall %}"""

ENDING = web.AppKey("ending", asyncio.Event)
POSTS = web.AppKey("posts", list[str])


async def page(request: web.Request) -> web.Response:
    signed_out: dict[str, Any] = {"person": None, "nav": [], "title": "Sign in"}
    html = rendered(**signed_out if "signed-out" in request.query else {})
    return web.Response(text=html, content_type="text/html", headers=HEADERS)


async def progress(request: web.Request) -> web.Response:
    done = '{% import "macros/ui.html" as ui %}{{ ui.progress("Rating again", 1000, 1000, "/progress") }}'
    return web.Response(text=templates().from_string(done).render(), content_type="text/html")


async def post(request: web.Request) -> web.Response:
    request.app[POSTS].append(request.path)
    await asyncio.sleep(0.3)  # long enough for a second press
    raise web.HTTPSeeOther("/")


def application() -> web.Application:
    """Return the gallery as a server."""
    app = web.Application()
    app[ENDING] = asyncio.Event()
    app[POSTS] = []
    app.router.add_static("/static", CONSOLE / "static")
    app.router.add_get("/", page)
    app.router.add_get("/events", events)
    app.router.add_get("/progress", progress)
    app.router.add_post("/{any:.*}", post)
    return app


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """The URL of the gallery for as long as the block runs."""
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        app[ENDING].set()
        await runner.cleanup()


async def shoot(folder: Path) -> None:
    """Write pictures of the gallery into `folder`."""
    from playwright.async_api import async_playwright

    from tests.console.browser import ARGUMENTS, chromium_program, open_page

    async with serving(application()) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)
        for width in (360, 1000, 1600):
            for scheme in ("light", "dark"):
                watched = await open_page(browser, width=width, scheme=scheme)
                await watched.page.goto(url)
                await watched.page.wait_for_selector(".uplot canvas")
                await watched.page.wait_for_timeout(300)
                await watched.page.screenshot(path=folder / f"{width}-{scheme}.png", full_page=True)
                print(width, scheme, *watched.complaints)
                await watched.page.context.close()
        await browser.close()


if __name__ == "__main__":
    asyncio.run(shoot(Path(sys.argv[1])))
