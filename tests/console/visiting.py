"""Visiting the console as browsers do, without a browser: cookies, forms, and pages as text."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from html.parser import HTMLParser
from typing import Any

import aiohttp

from proxy.clock import utc_now
from proxy.console.visitors import COOKIE
from proxy.store import sign_ins
from proxy.store.database import writing
from proxy.store.sign_ins import Person, Way
from proxy.store.tenants import find_tenant
from proxy.store.tokens import TokenRole, TokenTenant
from tests.admin.api.asking import Asking
from tests.ledgers import PEPPER

_SPACE = re.compile(r"\s+")


@dataclass
class Form:
    """A form on a page: where it goes, and what it would send if nobody touched it."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    """Reads what people see, links and forms out of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._select = ""
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        if not self.forms:
            return
        fields = self.forms[-1].fields
        if tag == "input" and "name" in given:
            is_off = given.get("type") in ("checkbox", "radio") and "checked" not in given
            if not is_off:
                fields[given["name"]] = given.get("value", "")
        if tag == "select":
            self._select = given.get("name", "")
        if tag == "option" and self._select and ("selected" in given or self._select not in fields):
            fields[self._select] = given.get("value", "")
        if tag == "textarea":
            self._area = given.get("name", "")
            fields[self._area] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1].fields[self._area] += data
        self.words.append(data)


@dataclass
class Shown:
    """A page: its status, its HTML, what people read on it, its links and forms."""

    status: int
    html: str
    headers: Any

    @cached_property
    def _reader(self) -> _Reader:
        return _read(self.html)

    @cached_property
    def text(self) -> str:
        return _SPACE.sub(" ", " ".join(self._reader.words)).strip()

    @property
    def links(self) -> list[str]:
        return self._reader.links

    @property
    def forms(self) -> list[Form]:
        return self._reader.forms

    @property
    def place(self) -> str:
        return str(self.headers["Location"])

    def form(self, action: str) -> Form:
        """Return the form that goes to `action`."""
        [found] = [one for one in self.forms if one.action == action]
        return found


@dataclass
class Visitor:
    """Somebody with a cookie."""

    url: str
    http: aiohttp.ClientSession
    secret: str | None

    async def get(self, path: str, *statuses: int, **headers: str) -> Shown:
        """Open a page; it has to answer with 200, or with one of `statuses`."""
        return await self._ask("GET", path, statuses or (200,), None, headers)

    async def status(self, path: str) -> int:
        """Open a page that may not be there."""
        cookies = {"Cookie": f"{COOKIE}={self.secret}"}
        async with self.http.get(f"{self.url}{path}", headers=cookies, allow_redirects=False) as answer:
            return answer.status

    async def submit(self, form: Form, status: int = 303, path: str = "", **fields: Any) -> Shown:
        """Send a form with some fields changed; `path` is that of its page, where it has no action."""
        return await self.post(form.action or path, {**form.fields, **fields}, status)

    async def post(self, path: str, fields: dict[str, str], status: int = 303, **headers: str) -> Shown:
        sent = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self._ask("POST", path, (status,), fields, sent)

    async def _ask(
        self,
        method: str,
        path: str,
        statuses: tuple[int, ...],
        fields: dict[str, str] | None,
        headers: dict[str, str],
    ) -> Shown:
        cookies = {"Cookie": f"{COOKIE}={self.secret}"} if self.secret else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(
            method, f"{self.url}{path}", data=fields, headers={**cookies, **named}, allow_redirects=False
        ) as answer:
            html = await answer.text()
        assert answer.status in statuses, (
            path,
            answer.status,
            _read(html).words if html else answer.headers,
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return Shown(answer.status, html, answer.headers)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    return reader


def visitor(
    api: Asking,
    role: TokenRole = TokenRole.ADMIN,
    *tenants: str,
    name: str | None = None,
    at: datetime | None = None,
    subject: str | None = None,
) -> Visitor:
    """Return somebody who has signed in at the provider, with this role and these tenants."""
    who = name or " ".join((role.value, *tenants)) + "@example.com"
    with writing(api.engine) as connection:
        found = [find_tenant(connection, one) for one in tenants]
        confined = tuple(TokenTenant(one.id, one.name) for one in found)
        person = Person(Way.OIDC, subject or f"https://id.example.com {who}", who, role, confined)
        _, secret = sign_ins.begin(connection, PEPPER, person, at or utc_now())
    return Visitor(api.url, api.http, secret)


def stranger(api: Asking) -> Visitor:
    return Visitor(api.url, api.http, None)
