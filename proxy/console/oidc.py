"""Sign-in by OpenID Connect: the authorization code flow with PKCE, for one identity provider.

`Provider.begin` says where to send the browser, and what it has to keep meanwhile: an `Attempt`, sealed in a
cookie. `Provider.finish` takes both back, asks the provider who it is, and returns a value: who signed in and
what they may do, or a text that says why not. Nothing is stored here.

Sources: OpenID Connect Core 1.0 and Discovery 1.0; RFC 6749, 7636 (PKCE), 9207 (`iss` in answers).
"""

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
from joserfc.jwk import Key

from proxy.admin.config import OidcConfig
from proxy.clock import utc_now
from proxy.console.asking import (
    ANSWER_S,
    ASK,
    SAID_CHARS_MAX,
    START_AGAIN,
    Kept,
    Unusable,
    ask,
    for_administrators,
    in_its_words,
    printable,
)
from proxy.console.attempt import Attempt, new_attempt
from proxy.console.grants import granted, groups_in
from proxy.console.id_token import BadToken, Claims, Expected, UnknownKey, checked_claims, keys_in
from proxy.console.identity import Refused, SignedIn
from proxy.core.mail_relay import is_loopback
from proxy.store.tokens import TENANTS_MAX

REFRESH = timedelta(seconds=30)  # keys are not asked for again sooner, whatever tokens name
NAME_CHARS_MAX = 100
CODE_CHARS_MAX = 4_000
_DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class _Discovered:
    """What a provider says of itself."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    methods: Sequence[str]
    names_itself: bool  # in answers, as RFC 9207 has it


class Provider:
    """One identity provider. `answer_s` is how long each of its answers may take."""

    def __init__(
        self,
        config: OidcConfig,
        http: aiohttp.ClientSession,
        clock: Callable[[], datetime] = utc_now,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._config = config
        self._http = http
        self._clock = clock
        self._answer_s = answer_s
        self._discovered = Kept(self._discover, clock)
        self._keys = Kept(self._fetch_keys, clock)

    async def begin(self, redirect_uri: str) -> tuple[str, Attempt] | Refused:
        """Return where to send the browser, and what it has to keep until it comes back."""
        try:
            found = await self._discovered.get()
        except Unusable as error:
            return Refused(str(error))
        attempt = new_attempt()
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._config.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.code_challenge,
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
            claims, groups = await self._who(attempt, redirect_uri, code)
        except Unusable as error:
            return Refused(str(error))
        return self._let_in(claims, groups)

    async def look(self) -> int | Refused:
        """Return how many keys the provider publishes that can sign, once it has described itself well."""
        try:
            await self._discovered.get()
            return len(await self._keys.get())
        except Unusable as error:
            return Refused(for_administrators(str(error)))

    async def _code(self, attempt: Attempt, query: Mapping[str, str]) -> str:
        state = query.get("state", "")
        if not hmac.compare_digest(state.encode(errors="replace"), attempt.state.encode()):
            raise Unusable(f"This is not the sign-in that your browser began. {START_AGAIN}")
        issuer = query.get("iss")
        names_itself = (await self._discovered.get()).names_itself
        if issuer != self._config.issuer and (issuer is not None or names_itself):
            raise Unusable(f"This answer is not from {self._config.issuer}. {START_AGAIN}")
        if (refused := query.get("error")) is not None:
            said = in_its_words(refused, query.get("error_description"))
            raise Unusable(f"Your identity provider did not sign you in. It says: {said}")
        code = query.get("code", "")
        if not 0 < len(code) <= CODE_CHARS_MAX:
            raise Unusable(f"Your identity provider sent no code. {START_AGAIN}")
        return code

    async def _who(
        self, attempt: Attempt, redirect_uri: str, code: str
    ) -> tuple[Claims, Sequence[str] | None]:
        """Return what the provider says of the person, and the groups: in the ID token or beside it."""
        answer = await self._exchange(attempt, redirect_uri, code)
        claims = await self._claims(str(answer.get("id_token", "")), attempt.nonce)
        groups = groups_in(claims, self._config.groups_claim)
        url = (await self._discovered.get()).userinfo
        if groups is not None or url is None:
            return claims, groups
        beside = await self._userinfo(url, answer.get("access_token"), claims["sub"])
        return {**beside, **claims}, groups_in(beside, self._config.groups_claim)

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
            raise Unusable(
                "Your identity provider takes no client secret, only"
                f" {printable(', '.join(found.methods), SAID_CHARS_MAX)}: {ASK}."
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
            raise Unusable(
                f"Your identity provider's ID token cannot be trusted: {error}. Try again, or {ASK}."
            ) from error

    async def _userinfo(self, url: str, access_token: object, subject: str) -> Claims:
        if not isinstance(access_token, str) or not access_token.isascii() or not access_token.isprintable():
            raise Unusable(f"Your identity provider sent no access token that can be used: {ASK}.")
        headers = {"Authorization": f"Bearer {access_token}"}
        found = await self._ask("userinfo endpoint", "GET", url, headers=headers)
        if found.get("sub") != subject:
            raise Unusable(f"Your identity provider told of somebody else than it signed in: {ASK}.")
        return found

    def _let_in(self, claims: Claims, groups: Sequence[str] | None) -> SignedIn | Refused:
        if groups is None:
            return Refused(
                f"Your identity provider did not tell your groups (claim {self._config.groups_claim!r}):"
                f" {ASK} to have it send them."
            )
        grant = granted(groups, self._config.grants)
        if grant is None:
            return Refused(
                f"You are in none of the groups that may use Talkmeter: {ASK} to add you to one of them."
            )
        if len(grant.tenants) > TENANTS_MAX:
            return Refused(
                f"Your groups are about {len(grant.tenants)} tenants, and one person sees at most"
                f" {TENANTS_MAX}: {ASK} for fewer, or for a role that is not confined."
            )
        return SignedIn(f"{self._config.issuer} {claims['sub']}", name_in(claims), grant)

    # --- Asking

    async def _discover(self) -> _Discovered:
        issuer = self._config.issuer
        found = await self._ask("description of itself", "GET", issuer.rstrip("/") + _DISCOVERY)
        named = found.get("issuer")
        if named != issuer:
            raise Unusable(
                f"The identity provider at {issuer} calls itself {printable(str(named), SAID_CHARS_MAX)!r}:"
                f" {ASK}. TALKMETER_OIDC_ISSUER has to be exactly that name."
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
        if not isinstance(url, str) or not self._may_be_asked(url):
            raise Unusable(f"Your identity provider names no {name} with https:// that can be used: {ASK}.")
        return url

    def _may_be_asked(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        is_here = parts.scheme == "http" and is_loopback(parts.hostname or "")
        is_safe = parts.scheme == "https" or (is_here and self._config.issuer.startswith("http:"))
        return is_safe and bool(parts.hostname) and not parts.fragment and url.isprintable()

    async def _fetch_keys(self) -> Sequence[Key]:
        url = (await self._discovered.get()).keys
        return keys_in(await self._ask("list of keys", "GET", url))

    async def _ask(self, what: str, method: str, url: str, **request: Any) -> Mapping[str, Any]:
        return await ask(self._http, self._answer_s, what, method, url, **request)


def name_in(claims: Claims) -> str:
    """Return how a person is called in lists and in the audit log: it is for reading, and may change."""
    has_email = str(claims.get("email_verified", True)).lower() == "true"
    for name in (claims.get("email") if has_email else None, claims.get("preferred_username")):
        if isinstance(name, str) and (shown := printable(name, NAME_CHARS_MAX)):
            return shown
    return printable(claims["sub"], NAME_CHARS_MAX)
