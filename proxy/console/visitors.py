"""Who visits: from the cookie of a request to the person who is signed in, and back."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from sqlalchemy import Connection, Engine

from proxy.admin.api.access import Caller, confined_to
from proxy.console.attempt import Attempt, seal, unseal
from proxy.console.channel import Channel
from proxy.console.identity import SignedIn
from proxy.store import Forbidden, NotFound, local_admin, sign_ins
from proxy.store.audit import Act
from proxy.store.columns import EPOCH
from proxy.store.database import reading, writing
from proxy.store.keys import SIGN_IN_PREFIX, hash_secret, looks_like_secret
from proxy.store.sign_ins import Person, SignIn, Way
from proxy.store.tenants import Tenant, find_tenant
from proxy.store.tokens import TokenRole, TokenTenant

COOKIE = "talkmeter"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in; `csrf` is what their forms carry."""

    sign_in: SignIn
    csrf: str

    @property
    def caller(self) -> Caller:
        """Return them as the API knows them. The local administrator may be anybody with the password."""
        person = self.sign_in.person
        return Caller(
            f"{person.way} {person.subject}",
            person.name,
            person.role,
            confined_to(person.tenants),
            person.tenants,
            self.sign_in.expires_at,
            named_since=EPOCH if person.way is Way.OIDC else None,
            way="user",
            subject=person.subject,
        )


class Visitors:
    """Those who are signed in, in the database. `pepper` is called in a thread."""

    def __init__(
        self,
        engine: Engine,
        pepper: Callable[[], bytes],
        channel: Channel,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._pepper = pepper
        self._channel = channel
        self._clock = clock
        self._checking = asyncio.Semaphore(1)

    async def who(self, request: web.Request) -> Visitor | None:
        """Return who is signed in, None for everybody else."""
        secret = self._channel.kept(request, COOKIE)
        if not looks_like_secret(secret, SIGN_IN_PREFIX) or self._channel.refusal(request):
            return None
        return await asyncio.to_thread(self._look_up, secret)

    async def is_still(self, request: web.Request, caller: Caller) -> bool:
        """Tell whether who was signed in still is, with the same role and tenants. This is no visit."""
        secret = self._channel.kept(request, COOKIE)
        found = await asyncio.to_thread(self._find, secret, self._clock())
        return found is not None and Visitor(found, "").caller == caller

    def _find(self, secret: str, now: datetime) -> SignIn | None:
        with reading(self._engine) as connection:
            return sign_ins.sign_in_of(connection, hash_secret(secret, self._pepper()), now)

    def _look_up(self, secret: str) -> Visitor | None:
        now = self._clock()
        found = self._find(secret, now)
        if found is None:
            return None
        if sign_ins.is_seen_due(found, now):
            with writing(self._engine) as connection:
                sign_ins.seen(connection, found.id, now)
        return Visitor(found, _csrf(secret))

    async def begin(self, person: Person) -> str:
        """Sign a person in; return the secret that the browser keeps. Raises StoreError."""
        return await asyncio.to_thread(self._begin, person)

    def _begin(self, person: Person) -> str:
        with writing(self._engine) as connection:
            _, secret = sign_ins.begin(connection, self._pepper(), person, self._clock())
        return secret

    async def begin_by_link(self, link: str) -> str | None:
        """Sign in the local administrator by a link, using that up; None where it is not good."""
        return await asyncio.to_thread(self._begin_by_link, link)

    def _begin_by_link(self, link: str) -> str | None:
        now, pepper = self._clock(), self._pepper()
        with writing(self._engine) as connection:
            if not local_admin.use_link(connection, pepper, link, now):
                return None
            _, secret = sign_ins.begin(connection, pepper, local_admin.administrator(Way.LINK), now)
        return secret

    def keep(self, request: web.Request, response: web.StreamResponse, secret: str) -> None:
        """Have the browser keep the secret of a sign-in."""
        self._channel.keep(request, response, COOKIE, secret)

    async def sign_out(self, request: web.Request, response: web.StreamResponse, visitor: Visitor) -> None:
        """End a sign-in, here and in the browser."""
        await asyncio.to_thread(self._end, visitor)
        self._channel.forget(request, response, COOKIE)

    def _end(self, visitor: Visitor) -> None:
        with writing(self._engine) as connection:
            sign_ins.end(connection, visitor.sign_in.id, Act(visitor.caller.actor, self._clock()))

    async def is_password(self, password: str) -> bool:
        """Tell whether this is the local administrator's password: slow on purpose, and one at a time."""
        async with self._checking:
            return await asyncio.to_thread(self._check, password)

    def _check(self, password: str) -> bool:
        return local_admin.check_password(self._engine, password)

    async def person(self, found: SignedIn) -> Person:
        """Return whom the provider has signed in, with the tenants that are there; raises StoreError."""
        return await asyncio.to_thread(self._person, found)

    def _person(self, found: SignedIn) -> Person:
        grant = found.grant
        with reading(self._engine) as connection:
            known = [one for name in grant.tenants if (one := _tenant(connection, name)) is not None]
        if grant.tenants and not known:  # without any they would see everything
            raise Forbidden("None of the tenants that your groups may see is there: ask an administrator.")
        tenants = tuple(TokenTenant(one.id, one.name) for one in known)
        return Person(Way.OIDC, found.subject, found.name, TokenRole(grant.role), tenants)

    async def seal(self, attempt: Attempt) -> str:
        """Return an attempt at the provider as the browser keeps it."""
        return seal(attempt, await asyncio.to_thread(self._sealing_key), self._clock())

    async def unseal(self, text: str) -> Attempt | None:
        """Return what the browser kept, None for what we did not give it just now."""
        return unseal(text, await asyncio.to_thread(self._sealing_key), self._clock())

    def _sealing_key(self) -> bytes:
        return hmac.digest(self._pepper(), b"attempts to sign in", "sha256")


def _tenant(connection: Connection, name: str) -> Tenant | None:
    try:
        return find_tenant(connection, name)
    except NotFound:
        return None


def _csrf(secret: str) -> str:
    """Return what only pages shown to this sign-in can know."""
    return hashlib.sha256(f"csrf {secret}".encode()).hexdigest()
