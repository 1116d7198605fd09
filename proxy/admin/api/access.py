"""Who asks: from the bearer token of a request to what its holder may see and do.

Work for strangers is bounded. What does not look like a token costs nothing. Of those that do and were not
good lately, one is looked up at a time, and a few may wait.
"""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from proxy.admin.api.problems import BUSY_S, Problem
from proxy.store.database import reading, writing
from proxy.store.keys import TOKEN_PREFIX, hash_secret, looks_like_secret
from proxy.store.pages import Within
from proxy.store.pepper import pepper_for
from proxy.store.tokens import ADMIN_TOKEN, TokenRole, TokenTenant, is_use_due, token_of, used

STRANGERS_WAITING_MAX = 20
KNOWN_MAX = 1_000
SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, with a token or signed in. `within` are the tenants they are confined to; None: they are not.

    `named_since` is when there began to be one person behind the name, None where that may be anybody.
    `subject` is who is signed in, whatever they are called.
    """

    id: str
    name: str
    role: TokenRole
    within: Within = None
    tenants: Sequence[TokenTenant] = ()
    expires_at: datetime | None = None
    named_since: datetime | None = None
    way: str = "api"
    subject: str | None = None

    @property
    def actor(self) -> str:
        """Return what the audit log calls them."""
        return f"{self.way}:{self.name}"


ADMIN = Caller(ADMIN_TOKEN, ADMIN_TOKEN, TokenRole.ADMIN)


class Door:
    """Recognises callers by their tokens. `run` calls a function in a thread."""

    def __init__(
        self,
        engine: Engine,
        admin_token: str | None,
        key_pepper: str | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._admin_token = admin_token.encode() if admin_token else None
        self._key_pepper = key_pepper
        self._clock = clock
        self._pepper: bytes | None = None
        self._known: OrderedDict[bytes, None] = OrderedDict()  # digests of tokens that were good lately
        self._strangers = asyncio.Semaphore(1)
        self._waiting = 0

    async def recognise(self, authorization: str, run: Callable[..., Awaitable[Caller | None]]) -> Caller:
        """Return who has this `Authorization`.

        Raises:
            Problem: nobody, or too many are trying.
        """
        given = _bearer(authorization)
        if self._admin_token is not None and hmac.compare_digest(
            given.encode("utf-8", "surrogateescape"), self._admin_token
        ):
            return ADMIN
        if not looks_like_secret(given, TOKEN_PREFIX):
            raise _unauthorized("This is no API token: those begin with tma_.")
        mark = hmac.digest(b"known", given.encode(), "sha256")
        if mark in self._known:
            found = await run(self._look_up, given)
        else:
            found = await self._for_a_stranger(given, run)
        if found is None:
            self._known.pop(mark, None)
            raise _unauthorized("This token is unknown, revoked or expired.")
        self._remember(mark)
        return found

    async def _for_a_stranger(
        self, given: str, run: Callable[..., Awaitable[Caller | None]]
    ) -> Caller | None:
        if self._waiting >= STRANGERS_WAITING_MAX:
            raise Problem(
                "too-many",
                "Too many unknown tokens are being tried: repeat the request later.",
                headers={"Retry-After": str(BUSY_S)},
            )
        self._waiting += 1
        try:
            async with self._strangers:
                return await run(self._look_up, given)
        finally:
            self._waiting -= 1

    def _remember(self, mark: bytes) -> None:
        self._known[mark] = None
        self._known.move_to_end(mark)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _look_up(self, secret: str) -> Caller | None:
        """In a thread: find a token, and write down that it is used."""
        now = self._clock()
        digest = hash_secret(secret, self.pepper())
        with reading(self._engine) as connection:
            found = token_of(connection, digest, now)
        if found is None:
            return None
        if is_use_due(found, now):
            with writing(self._engine) as connection:
                used(connection, found.id, now)
        return Caller(
            found.id,
            found.name,
            TokenRole(found.role),
            confined_to(found.tenants),
            found.tenants,
            found.expires_at,
            named_since=found.created_at,
        )

    def pepper(self) -> bytes:
        """In a thread: return what secrets are hashed with; raises StoreError where there is none."""
        if self._pepper is None:
            self._pepper = pepper_for(self._engine, self._key_pepper)
        return self._pepper


def confined_to(tenants: Sequence[TokenTenant]) -> Within:
    """Return the ids of tenants, None where there are none: that is no confinement."""
    return frozenset(one.id for one in tenants) or None


def _bearer(authorization: str) -> str:
    if authorization[: len(SCHEME)].lower() != SCHEME:
        raise _unauthorized("Send an API token as `Authorization: Bearer tma_…`.")
    return authorization[len(SCHEME) :].strip()


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
