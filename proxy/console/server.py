"""Serving the console: who visits, which page, and what is shown when that fails."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from aiohttp import web

from proxy.admin.api.access import Caller
from proxy.admin.api.calls import EVERYONE
from proxy.admin.api.problems import Problem
from proxy.admin.api.server import Api, told
from proxy.admin.later import Later
from proxy.console.channel import Channel
from proxy.console.desk import KEY, Desk, new_key, routes_by_name
from proxy.console.feeds import FEEDS, Feeds, over, wants_events
from proxy.console.headers import HEADERS
from proxy.console.render import STATIC, environment, render, static_file
from proxy.console.signing_in import SIGN_IN, SigningIn
from proxy.console.views import Item, Moved, Page, View
from proxy.console.visitors import Visitor, Visitors

SAID = "talkmeter-said"  # the cookie that carries what is said after something was done
SAID_S = 60
SAID_CHARS_MAX = 500
KEY_USED = "urn:talkmeter:key-used"
STATIC_S = 365 * 86_400
_TYPES: Mapping[str, str] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Any]


@dataclass(frozen=True, slots=True)
class Console:
    """The pages of one installation."""

    api: Api
    visitors: Visitors
    channel: Channel
    signing_in: SigningIn
    clock: Callable[[], datetime]
    zone: ZoneInfo

    def add_to(self, application: web.Application) -> None:
        """Add all pages; what is added later is not found, since the last of ours takes every path."""
        feeds = application[FEEDS] = Feeds(self.visitors)
        application.on_shutdown.append(feeds.shut_down)
        router = application.router
        router.add_get(f"{STATIC}/{{name}}", self._static)
        for method, path, handle in self.signing_in.routes():
            router.add_route(method, path, self._open(handle))
        router.register_resource(Later(self._fill))

    def _fill(self, router: web.UrlDispatcher, prefix: str) -> None:
        """Add the pages, and load with them what they ask."""
        from proxy.console.pages import PAGES

        environment()
        routes_by_name()
        for page in PAGES:
            router.add_route(page.method, prefix + page.path, self._page(page))
        router.add_get(prefix + "/{path:.*}", self._page(_NOWHERE))

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        content = static_file(name)
        suffix = name[name.rfind(".") :]
        if content is None or suffix not in _TYPES:
            return self._shown(request, None, _problem_view(_nowhere()))
        headers = {**HEADERS, "Cache-Control": f"public, max-age={STATIC_S}, immutable"}
        return web.Response(body=content, content_type=_TYPES[suffix], charset="utf-8", headers=headers)

    def _open(self, handle: Callable[[web.Request, Visitor | None], Any]) -> Handler:
        """Return a handler for a page that is for everybody, such as the one to sign in on."""

        async def handler(request: web.Request) -> web.StreamResponse:
            visitor = None
            try:
                visitor = await self.visitors.who(request)
                if request.method == "POST":
                    self._check_own(request)
                answer = await handle(request, visitor)
            except Exception as error:  # noqa: BLE001  it is told, and logged where it is ours
                answer = _failed(request, error)
            return self._answered(request, None, answer)

        return handler

    def _page(self, page: Page) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            desk = None
            try:
                visitor = await self.visitors.who(request)
                if visitor is None:
                    return _to_sign_in(request)
                desk = Desk(request, self.api, visitor.caller, visitor.csrf, self.clock(), self.zone)
                _check_role(page, desk)
                if page.method == "POST":
                    self._check_own(request)
                    await desk.read_form()
                return self._answered(request, desk, await page.handler(desk), page.key)
            except Exception as error:  # noqa: BLE001  it is told, and logged where it is ours
                return self._answered(request, desk, _failed(request, error), page.key)

        return handler

    def _check_own(self, request: web.Request) -> None:
        if not self.channel.is_own(request):
            raise Problem(
                "forbidden",
                "This was not sent from a page of ours: open the page again. Behind a proxy, set"
                " TALKMETER_PUBLIC_URL to the address that browsers have.",
            )

    def _answered(
        self, request: web.Request, desk: Desk | None, answer: Any, key: str = ""
    ) -> web.StreamResponse:
        if isinstance(answer, web.StreamResponse):
            if not answer.prepared:
                answer.headers.update(HEADERS)
            return answer
        if isinstance(answer, Moved):
            return self._moved(request, answer)
        return self._shown(request, desk, answer, key)

    def _moved(self, request: web.Request, moved: Moved) -> web.Response:
        response = web.Response(status=303, headers={**HEADERS, "Location": moved.to})
        if moved.said:
            self.channel.keep(request, response, SAID, quote(moved.said[:SAID_CHARS_MAX]), SAID_S)
        return response

    def _shown(self, request: web.Request, desk: Desk | None, view: View, key: str = "") -> web.Response:
        said = unquote(self.channel.kept(request, SAID))[:SAID_CHARS_MAX] or None
        shown = {
            "page": key,
            "person": _person(desk.caller) if desk else None,
            "nav": _navigation(desk) if desk else (),
            "csrf": desk.csrf if desk else "",
            "key": _key(desk, view),
            "zone": str(self.zone),
            "flash": said,
            "desk": desk,
            **view.shown,
        }
        response = web.Response(
            text=render(view.template, shown), status=view.status, content_type="text/html", headers=HEADERS
        )
        if said and desk is not None:
            self.channel.forget(request, response, SAID)
        return response


def _key(desk: Desk | None, view: View) -> str:
    """Return the key of forms: where one comes back its own, since what it asks for may be done by now.

    But not where another form was sent with it before: that was done, and this is something else.
    """
    told = view.shown.get("problem")
    is_used = isinstance(told, Mapping) and told.get("type") == KEY_USED
    came_back = desk is not None and view.status >= 400 and not is_used and desk.field(KEY)
    return came_back or new_key()


def _person(caller: Caller) -> Mapping[str, Any]:
    return {"name": caller.name, "role": caller.role, "tenants": [one.name for one in caller.tenants]}


def _navigation(desk: Desk) -> Sequence[Sequence[Item]]:
    """Return the groups of the navigation, with what this person may open."""
    from proxy.console.pages import NAVIGATION, PAGES

    open_to = {page.key for page in PAGES if page.method == "GET" and _is_open(page, desk)}
    groups = ([one for one in items if one.key in open_to] for items in NAVIGATION)
    return [items for items in groups if items]


def _is_open(page: Page, desk: Desk) -> bool:
    return desk.caller.role in page.roles and not (page.installation and desk.caller.within is not None)


def _check_role(page: Page, desk: Desk) -> None:
    if not _is_open(page, desk):
        who = ", ".join(sorted(page.roles))
        whole = ", for people who are not confined to tenants" if page.installation else ""
        raise Problem("forbidden", f"This page is for {who}{whole}; you are signed in as {desk.caller.role}.")


def _problem_view(problem: Problem) -> View:
    if problem.status >= 500:
        logger.warning("a page could not be shown", extra={"problem": problem.detail})
    return View("problem.html", {"problem": problem.as_json()}, problem.status)


def _failed(request: web.Request, error: Exception) -> View:
    """Return the page that says what went wrong; raises the error where half an answer is sent already."""
    if request.writer.output_size > 0:
        raise error
    return _problem_view(told(error, f"{request.method} {request.path}"))


def _nowhere() -> Problem:
    return Problem("not-found", "There is no such page: it may have been renamed, or what it showed is gone.")


async def _show_nowhere(desk: Desk) -> View:
    return _problem_view(_nowhere())


_NOWHERE = Page(path="", roles=EVERYONE, handler=_show_nowhere, key="")


def _to_sign_in(request: web.Request) -> web.Response:
    """Send the browser to sign in, and back here afterwards."""
    back = request.path_qs if request.method == "GET" else "/"
    place = f"{SIGN_IN}?next={quote(back, safe='')}"
    if wants_events(request):  # it would not be sent elsewhere, and try for ever
        return over()
    if request.headers.get("HX-Request") == "true":  # a part of a page would be put where the whole belongs
        return web.Response(status=401, headers={**HEADERS, "HX-Redirect": place})
    return web.Response(status=303, headers={**HEADERS, "Location": place})
