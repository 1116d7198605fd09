"""Sign-in by OpenID Connect: the authorization code flow with PKCE, for one identity provider.

`Provider.begin` says where to send the browser, and what it has to keep meanwhile: an `Attempt`, sealed in a
cookie. `Provider.finish` takes both back, asks the provider who it is, and returns a value: who signed in and
what they may do, or a text that says why not. Nothing is stored here.

Sources: OpenID Connect Core 1.0 and Discovery 1.0; RFC 6749, 7636 (PKCE), 9207 (`iss` in answers).
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import msgspec
from joserfc.jwk import Key

from proxy import __version__
from proxy.admin.config import Grant, OidcConfig
from proxy.console.grants import granted, groups_in
from proxy.console.id_token import BadToken, Claims, Expected, UnknownKey, checked_claims, keys_in
from proxy.setting_values import is_loopback
from proxy.store.tokens import TENANTS_MAX

ATTEMPT = timedelta(minutes=10)  # for a person to sign in at the provider
SEALED_CHARS_MAX = 1_000
ANSWER_BYTES_MAX = 256 * 1024
ANSWER_S = 10.0
KEPT = timedelta(minutes=10)  # for what a provider says of itself, and for its keys
REFRESH = timedelta(seconds=30)  # keys are not asked for again sooner, whatever tokens name
FAILED = timedelta(seconds=2)  # a failure is remembered so long: who waited meanwhile hears of it at once
NAME_CHARS_MAX = 100
SAID_CHARS_MAX = 200  # of the provider's own words
CODE_CHARS_MAX = 4_000
_SEALED_AS = b"talkmeter sign-in attempt v1\n"
_DISCOVERY = "/.well-known/openid-configuration"
_AGAIN = "Start again from the sign-in page, in one browser, and within ten minutes."
_ASK = "ask whoever administers Talkmeter"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a browser keeps from `begin` to `finish`. All of it is random."""

    state: str
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who may come in. `subject` tells people apart for good; `name` is for reading."""

    subject: str  # issuer, a space, and what the issuer calls the person
    name: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody signed in. The text says why, and what the person can do."""

    text: str


# --- What the browser keeps


def seal(attempt: Attempt, key: bytes, now: datetime) -> str:
    """Return an attempt as a cookie's value, which cannot be changed, and lasts for `ATTEMPT`."""
    ends_at = int((now + ATTEMPT).timestamp())
    body = msgspec.json.encode([attempt.state, attempt.nonce, attempt.code_verifier, ends_at])
    return f"{_base64(body)}.{_base64(_signature(key, body))}"


def unseal(text: str, key: bytes, now: datetime) -> Attempt | None:
    """Return the attempt, None for anything that `seal` did not make with this key in the last minutes."""
    if len(text) > SEALED_CHARS_MAX or not text.isascii():
        return None
    parts = text.split(".")
    try:
        body, signature = (base64.b64decode(one + "==", b"-_", validate=True) for one in parts)
    except (ValueError, binascii.Error):
        return None
    if not hmac.compare_digest(signature, _signature(key, body)):
        return None
    state, nonce, code_verifier, ends_at = msgspec.json.decode(body, type=tuple[str, str, str, int])
    return Attempt(state, nonce, code_verifier) if now.timestamp() < ends_at else None


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, _SEALED_AS + body, hashlib.sha256)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# --- What the provider says


class _Unusable(Exception):
    """The provider, or what it says, cannot be used. The text is for the person who signs in."""


@dataclass(frozen=True, slots=True)
class _Discovered:
    """What a provider says of itself."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    methods: Sequence[str]
    names_itself: bool  # in answers, as RFC 9207 has it


class _Kept(Generic[T]):
    """What was fetched last, for a while; asked for by one at a time."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: tuple[datetime, T] | None = None
        self._failed: tuple[datetime, str] | None = None

    async def get(self, lasts: timedelta = KEPT) -> T:
        """Return what is at most so old, fetched now if need be.

        Raises:
            _Unusable: it cannot be had.
        """
        async with self._lock:
            if self._last is not None and self._clock() - self._last[0] < lasts:
                return self._last[1]
            if self._failed is not None and self._clock() - self._failed[0] < FAILED:
                raise _Unusable(self._failed[1])
            try:
                found = await self._fetch()
            except _Unusable as error:
                self._failed = (self._clock(), str(error))
                raise
            self._last = (self._clock(), found)
            return found


def new_http() -> aiohttp.ClientSession:
    """Return a client that keeps no cookies, unpacks nothing, and takes no proxy from the environment."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"talkmeter/{__version__}",
        },
        auto_decompress=False,
        trust_env=False,
    )


class Provider:
    """One identity provider. `answer_s` is how long each of its answers may take."""

    def __init__(
        self,
        config: OidcConfig,
        http: aiohttp.ClientSession,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        answer_s: float = ANSWER_S,
    ) -> None:
        self._config = config
        self._http = http
        self._clock = clock
        self._answer_s = answer_s
        self._discovered = _Kept(self._discover, clock)
        self._keys = _Kept(self._fetch_keys, clock)

    async def begin(self, redirect_uri: str) -> tuple[str, Attempt] | Refused:
        """Return where to send the browser, and what it has to keep until it comes back."""
        try:
            found = await self._discovered.get()
        except _Unusable as error:
            return Refused(str(error))
        attempt = Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._config.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": _base64(hashlib.sha256(attempt.code_verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(found.authorization).query else "?"
        return f"{found.authorization}{joint}{urlencode(query)}", attempt

    async def finish(
        self, attempt: Attempt, redirect_uri: str, query: Mapping[str, str]
    ) -> SignedIn | Refused:
        """Return who came back with this query. `redirect_uri` is the one that `begin` was given."""
        try:
            code = await self._code(attempt, query)
            claims = await self._who(attempt, redirect_uri, code)
        except _Unusable as error:
            return Refused(str(error))
        return self._let_in(claims)

    async def _code(self, attempt: Attempt, query: Mapping[str, str]) -> str:
        state = query.get("state", "")
        if not hmac.compare_digest(state.encode(errors="replace"), attempt.state.encode()):
            raise _Unusable(f"This is not the sign-in that your browser began. {_AGAIN}")
        issuer = query.get("iss")
        names_itself = (await self._discovered.get()).names_itself
        if issuer != self._config.issuer and (issuer is not None or names_itself):
            raise _Unusable(f"This answer is not from {self._config.issuer}. {_AGAIN}")
        if (refused := query.get("error")) is not None:
            said = _printable(f"{refused}: {query.get('error_description', '')}".rstrip(": "), SAID_CHARS_MAX)
            raise _Unusable(f"Your identity provider did not sign you in. It says: {said}")
        code = query.get("code", "")
        if not 0 < len(code) <= CODE_CHARS_MAX:
            raise _Unusable(f"Your identity provider sent no code. {_AGAIN}")
        return code

    async def _who(self, attempt: Attempt, redirect_uri: str, code: str) -> Claims:
        """Return what the provider says of the person: in the ID token, and without groups there, beside it."""
        answer = await self._exchange(attempt, redirect_uri, code)
        claims = await self._claims(str(answer.get("id_token", "")), attempt.nonce)
        userinfo = (await self._discovered.get()).userinfo
        if groups_in(claims, self._config.groups_claim) is not None or userinfo is None:
            return claims
        return {**await self._userinfo(userinfo, answer.get("access_token"), claims["sub"]), **claims}

    async def _exchange(self, attempt: Attempt, redirect_uri: str, code: str) -> Mapping[str, Any]:
        found = await self._discovered.get()
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.code_verifier,
        }
        headers = {}
        client_id, secret = self._config.client_id, self._config.client_secret
        if secret is None:
            body["client_id"] = client_id
        elif "client_secret_basic" in found.methods:
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif "client_secret_post" in found.methods:
            body |= {"client_id": client_id, "client_secret": secret}
        else:
            raise _Unusable(
                f"Your identity provider takes no client secret, only {', '.join(found.methods)[:100]}: {_ASK}."
            )
        return await self._ask("token endpoint", "POST", found.token, data=body, headers=headers)

    async def _claims(self, token: str, nonce: str) -> Claims:
        expected = Expected(self._config.issuer, self._config.client_id, nonce, self._clock())
        try:
            try:
                return checked_claims(token, await self._keys.get(), expected)
            except UnknownKey:
                return checked_claims(token, await self._keys.get(REFRESH), expected)
        except BadToken as error:
            raise _Unusable(
                f"Your identity provider's ID token cannot be trusted: {error}. Try again, or {_ASK}."
            ) from error

    async def _userinfo(self, url: str, access_token: object, subject: str) -> Claims:
        if not isinstance(access_token, str) or not access_token.isascii() or not access_token.isprintable():
            raise _Unusable(f"Your identity provider sent no access token that can be used: {_ASK}.")
        headers = {"Authorization": f"Bearer {access_token}"}
        found = await self._ask("userinfo endpoint", "GET", url, headers=headers)
        if found.get("sub") != subject:
            raise _Unusable(f"Your identity provider told of somebody else than it signed in: {_ASK}.")
        return found

    def _let_in(self, claims: Claims) -> SignedIn | Refused:
        groups = groups_in(claims, self._config.groups_claim)
        if groups is None:
            return Refused(
                f"Your identity provider did not tell your groups (claim {self._config.groups_claim!r}): {_ASK}"
                " to have it send them."
            )
        grant = granted(groups, self._config.grants)
        if grant is None:
            return Refused(
                f"You are in none of the groups that may use Talkmeter: {_ASK} to add you to one of them."
            )
        if len(grant.tenants) > TENANTS_MAX:
            return Refused(
                f"Your groups are about {len(grant.tenants)} tenants, and one person sees at most {TENANTS_MAX}:"
                f" {_ASK} for fewer, or for a role that is not confined."
            )
        return SignedIn(f"{self._config.issuer} {claims['sub']}", name_in(claims), grant)

    # --- Asking

    async def _discover(self) -> _Discovered:
        issuer = self._config.issuer
        found = await self._ask("description of itself", "GET", issuer.rstrip("/") + _DISCOVERY)
        named = found.get("issuer")
        if named != issuer:
            raise _Unusable(
                f"The identity provider at {issuer} calls itself {_printable(str(named), SAID_CHARS_MAX)!r}:"
                f" {_ASK}. TALKMETER_OIDC_ISSUER has to be exactly that name."
            )
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return _Discovered(
            authorization=self._endpoint(found, "authorization_endpoint"),
            token=self._endpoint(found, "token_endpoint"),
            keys=self._endpoint(found, "jwks_uri"),
            userinfo=self._endpoint(found, "userinfo_endpoint") if "userinfo_endpoint" in found else None,
            methods=[str(one) for one in methods] if isinstance(methods, list) else [],
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _endpoint(self, found: Mapping[str, Any], name: str) -> str:
        """Return an address that the provider names: https, unless the issuer itself is on this machine."""
        url = found.get(name)
        if isinstance(url, str) and url.isprintable():
            try:
                parts = urlsplit(url)
                is_plain = self._config.issuer.startswith("http:") and parts.scheme == "http"
                if parts.hostname and not parts.fragment:
                    if parts.scheme == "https" or (is_plain and is_loopback(parts.hostname)):
                        return url
            except ValueError:
                url = None
        raise _Unusable(f"Your identity provider names no {name} with https:// that can be used: {_ASK}.")

    async def _fetch_keys(self) -> Sequence[Key]:
        url = (await self._discovered.get()).keys
        return keys_in(await self._ask("list of keys", "GET", url))

    async def _ask(self, what: str, method: str, url: str, **request: Any) -> Mapping[str, Any]:
        """Return the JSON object that the provider answers.

        Raises:
            _Unusable: it answered something else, or too much, or nothing in time.
        """
        try:
            async with (
                asyncio.timeout(self._answer_s),
                self._http.request(method, url, allow_redirects=False, **request) as answer,
            ):
                status, body = answer.status, await _body(answer, what)
        except TimeoutError as error:
            raise _away(what, f"it did not answer within {self._answer_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that is no name
            raise _away(what, f"it cannot be reached ({type(error).__name__})") from error
        found = _object(body)
        if status != 200:
            raise _refused(what, status, found)
        if found is None:
            raise _Unusable(f"Your identity provider's {what} is no JSON object: {_ASK}.")
        return found


async def _body(answer: aiohttp.ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise _Unusable(f"Your identity provider's {what} has more than {ANSWER_BYTES_MAX} bytes: {_ASK}.")
    return bytes(body)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _away(what: str, why: str) -> _Unusable:
    return _Unusable(f"Your identity provider's {what} is not there: {why}. Try again in a minute, or {_ASK}.")


def _refused(what: str, status: int, found: Mapping[str, Any] | None) -> _Unusable:
    if 300 <= status < 400:
        return _Unusable(f"Your identity provider's {what} is elsewhere ({status}), and is not followed: {_ASK}.")
    error = found.get("error") if found else None
    said = _printable(f"{error}: {found.get('error_description', '')}".rstrip(": "), SAID_CHARS_MAX) if found else ""
    match error:
        case "invalid_grant":
            return _Unusable(f"Your identity provider does not take its code back ({said}). {_AGAIN}")
        case "invalid_client" | "unauthorized_client":
            return _Unusable(
                f"Your identity provider does not know Talkmeter ({said}): {_ASK}. TALKMETER_OIDC_CLIENT_ID or"
                " TALKMETER_OIDC_CLIENT_SECRET is wrong."
            )
    detail = f"{status}, {said}" if isinstance(error, str) else str(status)
    return _Unusable(f"Your identity provider's {what} answered {detail}. Try again in a minute, or {_ASK}.")


def name_in(claims: Claims) -> str:
    """Return how a person is called in lists and in the audit log: it is for reading, and may change."""
    has_email = str(claims.get("email_verified", True)).lower() != "false"
    for name in (claims.get("email") if has_email else None, claims.get("preferred_username")):
        if isinstance(name, str) and (shown := _printable(name, NAME_CHARS_MAX)):
            return shown
    return _printable(claims["sub"], NAME_CHARS_MAX)


def _printable(text: str, chars_max: int) -> str:
    """Return a text that others wrote on one line, and not longer than that."""
    shown = "".join(one if one.isprintable() else " " for one in text[: 4 * chars_max])
    return " ".join(shown.split())[:chars_max]
