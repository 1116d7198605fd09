"""Asking the API as its users do: a control plane on a filled database, and tokens of every role."""

import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from sqlalchemy import Engine

from proxy.admin.api.repeats import REPLAYED
from proxy.admin.config import ControlConfig
from proxy.admin.listen import bind
from proxy.clock import utc_now
from proxy.control import serve
from proxy.exports.formats import CONTENT_TYPES
from proxy.store import tokens
from proxy.store.audit import Act
from proxy.store.database import open_database, writing
from proxy.store.tokens import TokenRole
from tests.ledgers import PEPPER, Books

ADMIN_TOKEN = "an admin token for tests"
ISSUER = "Voices Ltd"
PROBLEM = "application/problem+json"
DOWNLOADS = {*CONTENT_TYPES.values(), "application/pdf"}
UNSAID: Any = object()


@dataclass(frozen=True)
class Answered:
    """An answer: its status, its JSON (of a download its bytes) and its headers."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def place(self) -> str:
        """Return the path of what was made."""
        return self.headers["Location"].removeprefix("/api/v1")


@dataclass
class Asking:
    """Asks the API of a control plane, with the admin token unless told otherwise."""

    url: str
    http: aiohttp.ClientSession
    engine: Engine
    books: Books
    secrets: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = UNSAID,
        *,
        token: str | None = ADMIN_TOKEN,
        params: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Answered:
        """Ask; header names are written with underscores. See that the answer is one of the API's."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data: io.BytesIO | None = None
        if body is not UNSAID:
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
            sent.setdefault("Content-Type", "application/json")
        url = f"{self.url}/api/v1{path}"
        async with self.http.request(method, url, data=data, headers=sent, params=params) as answer:
            is_json = answer.content_type in (PROBLEM, "application/json")
            told = await (answer.json(content_type=None) if is_json else answer.read())
            answered = Answered(answer.status, told, answer.headers)
        assert answered.headers["Cache-Control"] == "no-store", answered
        assert answered.headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in answered.headers if name.startswith("Access-Control")]
        kinds = (
            {PROBLEM}
            if answered.status >= 400
            else DOWNLOADS
            if "/exports/" in path or path.endswith("/file")
            else {"application/json"}
        )
        assert answered.headers["Content-Type"].partition(";")[0] in kinds, answered
        if answered.status >= 400:
            assert answered.json["status"] == answered.status and answered.json["detail"], answered
            assert answered.json["type"].startswith("urn:talkmeter:") and answered.json["title"]
        return answered

    async def done(self, method: str, path: str, body: Any = UNSAID, **more: Any) -> Any:
        """Ask for what has to succeed; return its JSON."""
        answered = await self(method, path, body, **more)
        assert answered.status < 300, answered
        return answered.json

    async def problem(self, status: int, method: str, path: str, body: Any = UNSAID, **more: Any) -> Any:
        """Ask for what has to fail with this status; return the problem."""
        answered = await self(method, path, body, **more)
        assert answered.status == status, answered
        return answered.json

    async def refused(
        self, status: int, text: str, method: str, path: str, body: Any = UNSAID, **more: Any
    ) -> None:
        """Ask for what has to fail with this status, and to be told this."""
        told = (await self.problem(status, method, path, body, **more))["detail"]
        assert text in told, (body, told)

    async def twice(self, path: str, body: Any = UNSAID, **more: Any) -> Answered:
        """POST the same with one Idempotency-Key; return the first answer, which the second one repeats."""
        key = uuid4().hex
        first = await self("POST", path, body, Idempotency_Key=key, **more)
        again = await self("POST", path, body, Idempotency_Key=key, **more)
        assert first.status < 300, first
        assert (again.status, again.json) == (first.status, first.json)
        for name in ("ETag", "Location"):
            assert again.headers.get(name) == first.headers.get(name)
        assert (again.headers.get(REPLAYED), first.headers.get(REPLAYED)) == ("true", None)
        return first

    async def pages(self, path: str, limit: int, **params: str) -> list[list[Any]]:
        """Return all pages of a list."""
        found: list[list[Any]] = []
        after: dict[str, str] = {}
        while True:
            given = {"limit": str(limit), **params, **after}
            page = await self.done("GET", path, params=given)
            found.append(page["data"])
            if page["next"] is None:
                return found
            after = {"after": page["next"]}

    def token(self, role: TokenRole, *tenants: str) -> str:
        """Return the secret of a token of this role, made when missing."""
        key = (role.value, tenants)
        if key not in self.secrets:
            name = " ".join((role.value, *tenants))
            with writing(self.engine) as connection:
                _, self.secrets[key] = tokens.create_token(
                    connection,
                    PEPPER,
                    name=name,
                    role=role,
                    tenants=tenants,
                    act=Act("test", utc_now()),
                )
        return self.secrets[key]

    async def acts(self, **params: str) -> list[dict[str, Any]]:
        """Return the audit log as the API tells it, the newest first, without what is different each time."""
        told = await self.done("GET", "/audit", params=params)
        return [{name: one[name] for name in one if name not in ("id", "at")} for one in told["data"]]

    def audit(self) -> list[tuple[str, str, str | None]]:
        """Return actor, action and reason of every row of the audit log."""
        from proxy.store.audit import list_audit
        from proxy.store.database import reading

        with reading(self.engine) as connection:
            return [(one.actor, one.action, one.reason) for one in list_audit(connection, limit=1_000)]


@contextlib.asynccontextmanager
async def asking(folder: Path, database_url: str, **changes: Any) -> AsyncIterator[Asking]:
    """Serve a control plane on a migrated database in this event loop."""
    facts: dict[str, Any] = {
        "listen_fd": 0,
        "data_planes": (str(folder / "s"),),
        "database_url": database_url,
        "admin_token": ADMIN_TOKEN,
        "key_pepper": PEPPER.decode(),
        "statement_issuer": ISSUER,
    }
    listener = bind("127.0.0.1", 0, "ADMIN_LISTEN")
    runner = await serve(ControlConfig(**(facts | changes)), listener)
    engine = open_database(database_url)
    try:
        async with aiohttp.ClientSession() as http:
            port = listener.getsockname()[1]
            yield Asking(f"http://127.0.0.1:{port}", http, engine, Books(engine))
    finally:
        await runner.cleanup()
        engine.dispose()
