"""Signing in: through the provider of the house, as the local administrator, or by a link that works once."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from aiohttp import web

from proxy.admin.api.problems import Problem
from proxy.console.channel import Channel
from proxy.console.desk import FORM, check_form_type
from proxy.console.identity import Refused
from proxy.console.views import Answer, Moved, View
from proxy.console.visitors import Visitor, Visitors
from proxy.core.attempts import Attempts
from proxy.store.local_admin import administrator
from proxy.store.sign_ins import Way

if TYPE_CHECKING:
    from proxy.console.oidc import Provider

SIGN_IN = "/sign-in"
CALLBACK = f"{SIGN_IN}/oidc/callback"
ATTEMPT = "talkmeter-attempt"  # the cookie that keeps an attempt at the provider
ATTEMPT_S = 600
FORM_S = 10.0  # for a form to arrive
BYTES_MAX = 10_000  # of a form, by somebody whom nobody knows yet
NEXT_CHARS_MAX = 2_000

_A_PAGE = re.compile(r"/(?![/\\])[!-~]*")  # browsers take // and /\ for the beginning of another host

Handler = Callable[[web.Request, Visitor | None], Any]


@dataclass(slots=True)
class SigningIn:
    """The pages that are for everybody. `provider` is None where none is configured."""

    visitors: Visitors
    channel: Channel
    clock: Callable[[], datetime]
    attempts: Attempts
    provider: "Provider | None" = None

    def routes(self) -> Iterator[tuple[str, str, Handler]]:
        """Yield methods, paths and handlers."""
        yield "GET", SIGN_IN, self.show
        yield "POST", f"{SIGN_IN}/password", self.with_password
        yield "GET", f"{SIGN_IN}/link/{{secret}}", self.show_link
        yield "POST", f"{SIGN_IN}/link/{{secret}}", self.with_link
        yield "GET", f"{SIGN_IN}/oidc", self.to_provider
        yield "GET", CALLBACK, self.from_provider
        yield "POST", "/sign-out", self.sign_out

    async def show(self, request: web.Request, visitor: Visitor | None) -> Answer:
        """GET /sign-in."""
        if visitor is not None:
            return Moved(_next(request))
        return self._page(request)

    def _page(
        self,
        request: web.Request,
        refused: str | None = None,
        status: int = 200,
        *,
        with_password: bool = False,
    ) -> View:
        """Return the page; `with_password` shows the field for it, which is folded beside a provider."""
        refusal = self.channel.refusal(request)
        shown = {
            "refusal": refusal,
            "refused": refused,
            "next": _next(request),
            "with_provider": self.provider is not None,
            "with_password": with_password or self.provider is None,
        }
        return View("sign_in.html", shown, 403 if refusal else status)

    async def with_password(self, request: web.Request, visitor: Visitor | None) -> Answer:
        """POST /sign-in/password: as the local administrator."""
        if self.channel.refusal(request):
            return self._page(request)
        password = await _posted(request, "password")
        who, now = request.remote or "", self.clock()
        if wait_s := self.attempts.wait_s(who, now):
            told = f"Too many attempts: try again in {wait_s:.0f} seconds."
            return self._page(request, told, 429, with_password=True)
        self.attempts.failed(who, now)  # until it is known to be right: of many at once each one counts
        if not await self.visitors.is_password(password):
            told = "This is not the local administrator's password."
            return self._page(request, told, 401, with_password=True)
        self.attempts.succeeded(who)
        secret = await self.visitors.begin(administrator(Way.PASSWORD))
        return self._signed_in(request, secret, _next(request))

    async def show_link(self, request: web.Request, visitor: Visitor | None) -> Answer:
        """GET a link: it is used up by a click, not by whatever looks at links before people do."""
        return View("sign_in_link.html", {"refusal": self.channel.refusal(request)})

    async def with_link(self, request: web.Request, visitor: Visitor | None) -> Answer:
        """POST a link that works once."""
        if refusal := self.channel.refusal(request):
            return View("sign_in_link.html", {"refusal": refusal}, 403)
        secret = await self.visitors.begin_by_link(request.match_info["secret"])
        if secret is None:
            refused = "This link was used already, or is too old: `talkmeter console link` makes another one."
            return self._page(request, refused, 401)
        return self._signed_in(request, secret, "/")

    async def to_provider(self, request: web.Request, visitor: Visitor | None) -> Answer:
        """GET /sign-in/oidc: send the browser to the provider."""
        if self.provider is None or self.channel.refusal(request):
            return self._page(request)
        begun = await self.provider.begin(self._callback(request))
        if isinstance(begun, Refused):
            return self._page(request, begun.text, 502)
        url, attempt = begun
        response = web.Response(status=303, headers={"Location": url})
        kept = f"{await self.visitors.seal(attempt)}|{quote(_next(request))}"
        self.channel.keep(request, response, ATTEMPT, kept, ATTEMPT_S)
        return response

    async def from_provider(self, request: web.Request, visitor: Visitor | None) -> Answer:
        """GET the callback: the provider has sent the browser back."""
        sealed, _, then = self.channel.kept(request, ATTEMPT).partition("|")
        attempt = await self.visitors.unseal(sealed)
        if self.provider is None or attempt is None:
            return self._page(request, "This took too long, or was begun elsewhere: sign in again.", 401)
        found = await self.provider.finish(attempt, self._callback(request), request.query)
        if isinstance(found, Refused):
            return self._page(request, found.text, 403)
        secret = await self.visitors.begin(await self.visitors.person(found))
        response = self._signed_in(request, secret, _page_of_ours(unquote(then)))
        self.channel.forget(request, response, ATTEMPT)
        return response

    def _callback(self, request: web.Request) -> str:
        return self.channel.origin(request) + CALLBACK

    def _signed_in(self, request: web.Request, secret: str, then: str) -> web.Response:
        response = web.Response(status=303, headers={"Location": then})
        self.visitors.keep(request, response, secret)
        return response

    async def sign_out(self, request: web.Request, visitor: Visitor | None) -> Answer:
        """POST /sign-out."""
        response = web.Response(status=303, headers={"Location": SIGN_IN})
        if visitor is not None:
            await self.visitors.sign_out(request, response, visitor)
        return response


def _next(request: web.Request) -> str:
    """Return the page that was wanted before: one of ours, whatever the address says."""
    return _page_of_ours(request.query.get("next", "/"))


def _page_of_ours(wanted: str) -> str:
    parts = urlsplit(wanted)
    is_ours = not parts.scheme and not parts.netloc and _A_PAGE.fullmatch(wanted) is not None
    return wanted if is_ours and len(wanted) <= NEXT_CHARS_MAX else "/"


async def _posted(request: web.Request, name: str) -> str:
    check_form_type(request, FORM)
    try:
        async with asyncio.timeout(FORM_S):
            value = (await request.clone(client_max_size=BYTES_MAX).post()).get(name)
    except TimeoutError:
        raise Problem("too-slow", f"A form has to arrive within {FORM_S:g} s.") from None
    except web.HTTPRequestEntityTooLarge:
        raise Problem("too-large", f"A form here has at most {BYTES_MAX:,} bytes.") from None
    except ValueError:
        raise Problem("malformed", "This form cannot be read: send it again from its page.") from None
    return value if isinstance(value, str) else ""
