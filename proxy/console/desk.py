"""The desk: what a page's handler is given. It asks the API's routes as the person who is signed in."""

import asyncio
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aiohttp import web

from proxy.admin.api.access import Caller
from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.server import Api, Asked

if TYPE_CHECKING:
    from proxy.admin.api.routes import AnyRoute

FORM_S = 30.0  # for a form to arrive, with its files
FIELDS_MAX = 200  # of a form
FORM = "application/x-www-form-urlencoded"
FORM_WITH_FILES = "multipart/form-data"
ENCODING = "utf-8"
FORM_BYTES_MAX = 8 * 1024 * 1024
CSRF = "csrf"
KEY = "key"  # what a form that makes something carries, so that it is made once


@cache
def routes_by_name() -> "Mapping[str, AnyRoute]":
    """Return the API's routes, such as "GET /budgets"; all that they do is loaded with them."""
    from proxy.admin.api.table import ROUTES

    return {route.name: route for route in ROUTES}


class Desk:
    """One request of somebody who is signed in."""

    def __init__(
        self, request: web.Request, api: Api, caller: Caller, csrf: str, at: datetime, zone: ZoneInfo
    ) -> None:
        self.request = request
        self.caller = caller
        self.csrf = csrf
        self.at = at
        self.zone = zone  # the ledger's
        self._api = api
        self._form: dict[str, list[str]] = {}

    # --- What was asked for

    @property
    def path(self) -> Mapping[str, str]:
        """Return the parameters in the path."""
        return self.request.match_info

    @property
    def query(self) -> Mapping[str, str]:
        """Return the parameters behind the question mark, the first of each name; empty ones are left out."""
        return {name: self.request.query[name] for name in self.request.query if self.request.query[name]}

    @property
    def is_partial(self) -> bool:
        """Tell whether only a part of the page is wanted, to be put into the page that is there."""
        return self.request.headers.get("HX-Request") == "true"

    def href(self, path: str | None = None, **changes: str | None) -> str:
        """Return this page's address, or another one's with the same parameters; None takes one out."""
        given: dict[str, str | None] = {**self.query, **changes}
        kept = {name.rstrip("_"): value for name, value in given.items() if value}
        return (path or self.request.path) + (f"?{urlencode(kept)}" if kept else "")

    # --- A form

    async def read_form(self) -> None:
        """Read what was posted; raises Problem where it is no form of ours. A file counts as its text."""
        check_form_type(self.request, FORM, FORM_WITH_FILES)
        try:
            async with asyncio.timeout(FORM_S):
                posted = await self.request.clone(client_max_size=FORM_BYTES_MAX).post()
        except TimeoutError:
            raise Problem("too-slow", f"A form has to arrive within {FORM_S:g} s.") from None
        except web.HTTPRequestEntityTooLarge:
            raise Problem("too-large", f"A form here has at most {FORM_BYTES_MAX:,} bytes.") from None
        except ValueError:
            raise Problem("malformed", "This form cannot be read: send it again from its page.") from None
        if len(posted) > FIELDS_MAX:
            raise Problem("too-large", f"A form here has at most {FIELDS_MAX} fields.")
        for name, value in posted.items():
            self._form.setdefault(name, []).append(_field_text(name, value))
        if not hmac.compare_digest(self.field(CSRF).encode(), self.csrf.encode()):
            raise Problem("forbidden", "This form is not from this sign-in: open the page again.")

    def field(self, name: str) -> str:
        """Return a field of the form, stripped; empty where there is none."""
        return self._form.get(name, [""])[0].strip()

    def fields(self, name: str) -> list[str]:
        """Return all values of a field, such as of check boxes, without empty ones."""
        return [value.strip() for value in self._form.get(name, []) if value.strip()]

    def filled(self, *names: str) -> dict[str, str]:
        """Return those of the form's fields that are not empty."""
        return {name: value for name in names if (value := self.field(name))}

    # --- Asking the API

    def may(self, route: str) -> bool:
        """Tell whether the person may ask a route, such as "POST /budgets": else nobody should offer it."""
        found = routes_by_name()[route]
        return (
            self.caller.role in found.roles
            and not (found.installation and self.caller.within is not None)
            and not (found.named and self.caller.named_since is None)
        )

    async def get(self, path: str, **params: object) -> Any:
        """Return the JSON of GET `path`, a route's: `params` are those of its path and its query.

        None is left out; a trailing underscore too, so that `from_` can be said. Raises Problem.
        """
        return (await self.ask("GET", path, params))[0]

    async def get_with_etag(self, path: str, **params: object) -> tuple[Any, str]:
        """Return the same, and the ETag that a change of it has to name."""
        answer, headers = await self.ask("GET", path, params)
        return answer, headers["ETag"]

    async def all_of(self, path: str, pages_max: int = 10, **params: object) -> list[Any]:
        """Return the rows of a list, of so many pages at most."""
        rows: list[Any] = []
        after: str | None = None
        for _ in range(pages_max):
            page = await self.get(path, **params, limit=1_000, after=after)
            rows += page["data"]
            after = page["next"]
            if after is None:
                break
        return rows

    async def post(self, path: str, body: Mapping[str, Any] | None = None, **params: object) -> Any:
        """Return the JSON of POST `path`. A form with a key makes a thing once, however often it is sent."""
        return (await self.ask("POST", path, params, body))[0]

    async def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        if_match: str | None = None,
        reason: str | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """Return the JSON and the headers of a route's answer; raises Problem."""
        route = routes_by_name()[f"{method} {path}"]
        in_path, in_query = _placed(route, params or {})
        key = self.field(KEY) if route.creates else ""
        asked = Asked(
            in_path=in_path,
            in_query=in_query,
            raw=json.dumps(body or {}).encode() if route.has_body else b"",
            if_match=if_match,
            reason=reason or self.field("reason") or None if route.reasons else None,
            key=f"console-{key}" if key else None,
            as_sent=f"{path}?{urlencode([*in_path.items(), *in_query])}",
        )
        sent = await self._api.ask(self.caller, route, asked)
        return json.loads(sent.body), sent.headers

    async def download(self, path: str, params: Mapping[str, object]) -> web.StreamResponse:
        """Send a download of the API's to the browser; raises Problem before the first bytes."""
        route = routes_by_name()[f"GET {path}"]
        in_path, in_query = _placed(route, params)
        return await self._api.download(
            self.request, self.caller, route, Asked(in_path=in_path, in_query=in_query)
        )


def check_form_type(request: web.Request, *types: str) -> None:
    """See that a form is sent as one of these types, in the encoding of our pages; raises Problem."""
    if request.content_type not in types or (request.charset or ENCODING).casefold() != ENCODING:
        raise Problem("unsupported-media-type", f"Send the form as {FORM}, in {ENCODING.upper()}.")


def _field_text(name: str, value: str | bytes | bytearray | web.FileField) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, web.FileField):
        with value.file as file:
            raw = file.read()
    else:
        raw = bytes(value)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise invalid("body", name, "the file is not UTF-8 text: save it as that") from None


def _placed(
    route: "AnyRoute", params: Mapping[str, object]
) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Return parameters as those of the path, and those of the query."""
    texts = dict(_texts(params))
    in_path = {name: texts.pop(name) for name in route.path_names}
    return in_path, tuple(texts.items())


def _texts(params: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield name.rstrip("_"), text


def new_key() -> str:
    """Return a key for a form that makes something."""
    return secrets.token_urlsafe(16)
