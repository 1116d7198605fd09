"""Sign-in by OpenID Connect: who comes in, and every way in which nobody does."""

import base64
import gzip
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from proxy.admin.config import Grant, OidcConfig
from proxy.console.asking import ANSWER_BYTES_MAX, FAILED, KEPT, new_http
from proxy.console.attempt import Attempt
from proxy.console.identity import Refused, SignedIn
from proxy.console.oidc import REFRESH, Provider, name_in
from proxy.store.tokens import TENANTS_MAX
from tests.console.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    SUBJECT,
    IdentityProvider,
    encoded,
    identity_provider,
    query_of,
    real_provider,
    rsa_key,
)

BACK = "https://talkmeter.example.com/sign-in/oidc/callback"
GRANTS = {"Platform": Grant("admin"), "Acme": Grant("viewer", ("acme",))}


class Clock:
    """The real time, and what tests add to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Site:
    """Talkmeter's side: a provider as the console uses it, and what a browser does."""

    def __init__(self, at: IdentityProvider, http: aiohttp.ClientSession) -> None:
        self.at = at
        self.clock = Clock()
        self._http = http
        self.set()

    def set(self, answer_s: float = 10.0, **changes: Any) -> None:
        """Start again with other settings."""
        facts = {"issuer": self.at.issuer, "client_id": CLIENT_ID, "grants": GRANTS} | changes
        self.provider = Provider(OidcConfig(**facts), self._http, self.clock, answer_s)

    async def begin(self) -> tuple[str, Attempt]:
        begun = await self.provider.begin(BACK)
        assert not isinstance(begun, Refused), begun.text
        return begun

    async def go(self) -> tuple[Attempt, dict[str, str]]:
        """Go to the provider, and return with its answer."""
        url, attempt = await self.begin()
        async with self._http.get(url, allow_redirects=False) as answer:
            location = answer.headers["Location"]
        assert location.startswith(f"{BACK}?")
        return attempt, query_of(location)

    async def sign_in(self) -> SignedIn | Refused:
        attempt, query = await self.go()
        return await self.provider.finish(attempt, BACK, query)

    async def refusal(self) -> str:
        found = await self.sign_in()
        assert isinstance(found, Refused), found
        return found.text


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with identity_provider() as at, new_http() as http:
        yield Site(at, http)


def refused(found: object) -> str:
    assert isinstance(found, Refused)
    assert found.text.isprintable() and len(found.text) < 600
    return found.text


# --- A real provider


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The issuer of `oidc-provider-mock`."""
    with real_provider(tmp_path_factory.mktemp("oidc")) as issuer:
        yield issuer


@asynccontextmanager
async def at_the_mock(issuer: str, **changes: Any) -> AsyncIterator[tuple[Provider, aiohttp.ClientSession]]:
    facts = {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "grants": GRANTS}
    async with new_http() as http, aiohttp.ClientSession() as browser:
        yield Provider(OidcConfig(**(facts | changes)), http), browser


async def fill_in(browser: aiohttp.ClientSession, url: str, **form: str) -> dict[str, str]:
    """Open the provider's form, send it, and return what the browser is sent back with."""
    async with browser.get(url) as page:
        assert page.status == 200 and "<form" in await page.text()
    async with browser.post(url, data=form, allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
        return query_of(answer.headers["Location"])


@pytest.mark.parametrize(
    ("sub", "claims", "groups_claim", "name", "grant"),
    [
        ("ada", {"email": "ada@example.com", "groups": ["Platform"]}, "groups", "ada@example.com", "admin"),
        ("bob", {"realm": {"roles": ["Acme"]}, "preferred_username": "bob"}, "realm.roles", "bob", "viewer"),
    ],
)
async def test_signing_in_at_a_real_provider(
    mock: str, sub: str, claims: dict[str, object], groups_claim: str, name: str, grant: str
) -> None:
    async with at_the_mock(mock, groups_claim=groups_claim) as (provider, browser):
        async with browser.put(f"{mock}/users/{sub}", json=claims) as set_up:
            assert set_up.status == 204
        begun = await provider.begin(BACK)
        assert not isinstance(begun, Refused)
        url, attempt = begun
        query = await fill_in(browser, url, sub=sub)
        found = await provider.finish(attempt, BACK, query)
        assert isinstance(found, SignedIn)
        assert (found.subject, found.name, found.grant.role) == (f"{mock} {sub}", name, grant)
        again = refused(await provider.finish(attempt, BACK, query))
        assert again.startswith("Your identity provider does not take its code back (invalid_grant")


async def test_a_stranger_and_a_change_of_mind_at_a_real_provider(mock: str) -> None:
    """Whom no group grants anything is refused, and so is who says no there."""
    async with at_the_mock(mock) as (provider, browser):
        begun = await provider.begin(BACK)
        assert not isinstance(begun, Refused)
        query = await fill_in(browser, begun[0], sub="stranger")
        assert "did not tell your groups" in refused(await provider.finish(begun[1], BACK, query))
        query = await fill_in(browser, begun[0], action="deny") | {"state": begun[1].state}
        assert "It says: access_denied" in refused(await provider.finish(begun[1], BACK, query))


# --- Beginning, and coming back


async def test_what_the_browser_is_sent_with(site: Site) -> None:
    site.at.metadata = {"authorization_endpoint": f"{site.at.issuer}/authorize?realm=staff"}
    site.set(scopes="openid groups")
    url, attempt = await site.begin()
    assert url.startswith(f"{site.at.issuer}/authorize?realm=staff&")
    assert query_of(url) == {
        "realm": "staff",
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": BACK,
        "scope": "openid groups",
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": attempt.code_challenge,
        "code_challenge_method": "S256",
    }


async def test_who_signs_in(site: Site) -> None:
    assert await site.sign_in() == SignedIn(f"{site.at.issuer} {SUBJECT}", "ada@example.com", Grant("admin"))
    assert site.at.bearers == []  # the ID token said it all
    await site.sign_in()
    assert site.at.asked.count("/keys") == site.at.asked.count("/.well-known/openid-configuration") == 1
    site.clock.ahead = KEPT
    site.at.claims["exp"] = int(time.time()) + 3_600
    assert isinstance(await site.sign_in(), SignedIn)
    assert site.at.asked.count("/keys") == site.at.asked.count("/.well-known/openid-configuration") == 2


@pytest.mark.parametrize("state", [None, "", "another", "ümlaut", "\ud800"])
async def test_another_state(site: Site, state: str | None) -> None:
    """It comes before everything else: the code is not even used."""
    attempt, query = await site.go()
    del query["state"]
    query |= {} if state is None else {"state": state}
    said = refused(await site.provider.finish(attempt, BACK, query))
    assert said.startswith("This is not the sign-in that your browser began.")
    assert "/token" not in site.at.asked


@pytest.mark.parametrize(
    ("names_itself", "issuer", "ok"),
    [(True, "its own", True), (True, None, False), (True, "another", False), (False, None, True)]
    + [(False, "another", False)],
)
async def test_whose_answer_it_is(site: Site, names_itself: bool, issuer: str | None, ok: bool) -> None:
    """A provider that names itself in answers has to (RFC 9207); a wrong name is never right."""
    site.at.metadata = {"authorization_response_iss_parameter_supported": names_itself}
    attempt, query = await site.go()
    if issuer != "its own":
        del query["iss"]
        query |= {} if issuer is None else {"iss": "https://evil.example.com"}
    found = await site.provider.finish(attempt, BACK, query)
    assert isinstance(found, SignedIn) is ok
    assert ok or "This answer is not from" in refused(found)


async def test_what_the_provider_says_is_shown_briefly(site: Site) -> None:
    _, attempt = await site.begin()
    query = {
        "state": attempt.state,
        "error": "login_required",
        "error_description": "no\n\x1b[31m" + "x" * 9_000,
    }
    said = refused(await site.provider.finish(attempt, BACK, query))
    assert "It says: login_required: no [31mxxx" in said
    del query["error_description"]
    assert refused(await site.provider.finish(attempt, BACK, query)).endswith("It says: login_required")


@pytest.mark.parametrize("code", ["", "c" * 5_000])
async def test_no_code_that_can_be_used(site: Site, code: str) -> None:
    attempt, query = await site.go()
    said = refused(await site.provider.finish(attempt, BACK, query | {"code": code}))
    assert said.startswith("Your identity provider sent no code.")


async def test_a_code_is_of_use_only_with_its_verifier(site: Site) -> None:
    """Whoever stole the code, and has a sign-in of their own, does not come in with it."""
    _, query = await site.go()
    _, thief = await site.begin()
    said = refused(await site.provider.finish(thief, BACK, query | {"state": thief.state}))
    assert "does not take its code back (invalid_grant)" in said


# --- The ID token


def unsigned(at: IdentityProvider, nonce: str) -> str:
    return f"{signed_part(at, nonce, {'alg': 'none'}).decode()}."


def signed_part(at: IdentityProvider, nonce: str, header: dict[str, Any]) -> bytes:
    claims = {"iss": at.issuer, "aud": CLIENT_ID, "sub": SUBJECT, "nonce": nonce, "groups": ["Platform"]}
    now = int(time.time())
    return encoded(header) + b"." + encoded(claims | {"iat": now, "exp": now + 300})


def signed_with_the_public_key(at: IdentityProvider, nonce: str) -> str:
    """HS256 with what everybody knows as the secret: the classic confusion."""
    content = signed_part(at, nonce, {"alg": "HS256", "kid": "one"})
    signature = hmac.digest(rsa_key("one").as_pem(private=False), content, hashlib.sha256)
    return f"{content.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def signed_by_the_secret(at: IdentityProvider, nonce: str) -> str:
    content = signed_part(at, nonce, {"alg": "HS256"})
    signature = hmac.digest(CLIENT_SECRET.encode(), content, hashlib.sha256)
    return f"{content.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (unsigned, "it is signed by 'none'"),
        (signed_with_the_public_key, "it is signed by 'HS256'"),
        (signed_by_the_secret, "it is signed by 'HS256'"),
        (lambda at, nonce: "no token", "it is no signed token"),
        (lambda at, nonce: "", "it is no signed token"),
    ],
)
async def test_a_token_that_no_key_of_its_own_signed(
    site: Site, made: Callable[[IdentityProvider, str], str], said: str
) -> None:
    site.set(client_secret=CLIENT_SECRET)
    attempt, query = await site.go()
    site.at.id_token = made(site.at, attempt.nonce)
    assert said in refused(await site.provider.finish(attempt, BACK, query))


HOUR = 3_600
NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"nonce": "another"}, "its 'nonce' is missing or wrong"),
        ({"nonce": None}, "its 'nonce' is missing or wrong"),
        ({"iss": "https://evil.example.com"}, "its 'iss' is missing or wrong"),
        ({"iss": None}, "its 'iss' is missing or wrong"),
        ({"aud": "another"}, "its 'aud' is missing or wrong"),
        ({"aud": ["another"]}, "its 'aud' is missing or wrong"),
        ({"aud": None}, "its 'aud' is missing or wrong"),
        ({"aud": [CLIENT_ID, "another"]}, "its 'azp' is missing or wrong"),
        ({"azp": "another"}, "its 'azp' is missing or wrong"),
        ({"exp": NOW - HOUR}, "it has expired"),
        ({"exp": None}, "its 'exp' is missing or wrong"),
        ({"exp": "never"}, "its 'exp' is missing or wrong"),
        ({"iat": NOW + HOUR, "exp": NOW + 2 * HOUR}, "its 'iat' is missing or wrong"),
        ({"iat": None}, "its 'iat' is missing or wrong"),
        ({"nbf": NOW + HOUR}, "its 'nbf' is missing or wrong"),
        ({"sub": None}, "its 'sub' is missing or wrong"),
        ({"sub": ""}, "its 'sub' is missing or wrong"),
        ({"sub": "s" * 256}, "its 'sub' is missing or wrong"),
        ({"sub": "a\nb"}, "its 'sub' is missing or wrong"),
        ({"sub": 7}, "its 'sub' is missing or wrong"),
    ],
)
async def test_a_token_that_is_not_for_this_sign_in(site: Site, claims: dict[str, Any], said: str) -> None:
    """One thing is wrong with each; without it the same person comes in."""
    site.at.claims = claims
    assert said in await site.refusal()
    site.at.claims = {}
    assert isinstance(await site.sign_in(), SignedIn)


async def test_a_token_that_somebody_else_signed(site: Site) -> None:
    """With a key of their own, under the name of the provider's."""
    site.at.key = rsa_key("two")
    assert "its signature is wrong" in await site.refusal()


async def test_a_new_key(site: Site) -> None:
    """It is fetched when it is first seen, but not again and again for names that nobody has."""
    assert isinstance(await site.sign_in(), SignedIn)
    site.at.key, site.at.header = rsa_key("two"), {"alg": "RS256", "kid": "two"}
    assert "a key that the provider does not publish" in await site.refusal()
    assert site.at.asked.count("/keys") == 1  # they were fetched a moment ago
    site.clock.ahead = REFRESH
    site.at.published = [rsa_key("one"), rsa_key("two")]
    assert isinstance(await site.sign_in(), SignedIn)
    assert site.at.asked.count("/keys") == 2


# --- What stands beside it


async def test_groups_beside_the_token(site: Site) -> None:
    """They are asked for where the token has none, with what else is missing; what it has it keeps."""
    site.at.claims = {"groups": None, "email": None}
    site.at.userinfo = {"sub": SUBJECT, "groups": ["Acme"], "email": "ada@example.org", "iss": "another"}
    assert await site.sign_in() == SignedIn(
        f"{site.at.issuer} {SUBJECT}", "ada@example.org", Grant("viewer", ("acme",))
    )
    assert site.at.bearers == ["Bearer opaque"]


async def test_what_the_token_says_is_not_said_otherwise_beside_it(site: Site) -> None:
    site.at.claims = {"groups": None}
    site.at.userinfo = {"sub": SUBJECT, "groups": ["Platform"], "email": "boss@example.com"}
    found = await site.sign_in()
    assert isinstance(found, SignedIn) and found.name == "ada@example.com"


@pytest.mark.parametrize("userinfo", [{"sub": "another", "groups": ["Platform"]}, {"groups": ["Platform"]}])
async def test_groups_of_somebody_else(site: Site, userinfo: dict[str, Any]) -> None:
    site.at.claims = {"groups": None}
    site.at.userinfo = userinfo
    assert "told of somebody else" in await site.refusal()


async def test_groups_nowhere(site: Site) -> None:
    site.at.claims = {"groups": None}
    assert "did not tell your groups (claim 'groups')" in await site.refusal()
    site.at.metadata = {"userinfo_endpoint": None}
    site.set()
    assert "did not tell your groups (claim 'groups')" in await site.refusal()
    assert len(site.at.bearers) == 1


@pytest.mark.parametrize("token", [None, 7, "a\nb", "ü"])
async def test_no_access_token_to_ask_with(site: Site, token: object) -> None:
    site.at.claims = {"groups": None}
    attempt, query = await site.go()
    answer = {"id_token": site.at.token(attempt.nonce), "access_token": token}
    site.at.answers["/token"] = web.json_response(answer)
    assert "no access token" in refused(await site.provider.finish(attempt, BACK, query))


@pytest.mark.parametrize("groups", [[], ["Strangers"], "platform", {"Platform": True}, [["Platform"]]])
async def test_no_group_no_way_in(site: Site, groups: object) -> None:
    """Groups that are empty are no reason to look elsewhere for some."""
    site.at.claims = {"groups": groups}
    site.at.userinfo = {"sub": SUBJECT, "groups": ["Platform"]}
    assert "You are in none of the groups that may use Talkmeter" in await site.refusal()


async def test_too_many_tenants(site: Site) -> None:
    grants = {f"g{n}": Grant("viewer", (f"t{n}",)) for n in range(TENANTS_MAX + 1)}
    site.set(grants=grants)
    site.at.claims = {"groups": list(grants)}
    assert f"about {TENANTS_MAX + 1} tenants" in await site.refusal()
    site.at.claims = {"groups": list(grants)[1:]}
    found = await site.sign_in()
    assert isinstance(found, SignedIn) and len(found.grant.tenants) == TENANTS_MAX


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "ada@example.com", "preferred_username": "ada"}, "ada@example.com"),
        ({"email": "ada@example.com", "email_verified": True}, "ada@example.com"),
        ({"email": "boss@example.com", "email_verified": False, "preferred_username": "ada"}, "ada"),
        ({"email": "boss@example.com", "email_verified": "false"}, "sub-1"),
        ({"email": "boss@example.com", "email_verified": None}, "sub-1"),
        ({"email": "boss@example.com", "email_verified": 0}, "sub-1"),
        ({"email": 7, "preferred_username": " \n "}, "sub-1"),
        ({"preferred_username": "a\u202e\x00b"}, "a b"),
        ({"email": "x" * 9_000}, "x" * 100),
    ],
)
def test_names(claims: dict[str, Any], name: str) -> None:
    assert name_in({"sub": "sub-1"} | claims) == name


# --- How Talkmeter proves who it is


@pytest.mark.parametrize(
    ("methods", "secret", "form", "header"),
    [
        (None, CLIENT_SECRET, {}, "talkmeter:s3cret%3A+with+%25+and+%2B"),
        (
            ["client_secret_post"],
            CLIENT_SECRET,
            {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
            None,
        ),
        (["client_secret_post"], None, {"client_id": CLIENT_ID}, None),
    ],
)
async def test_how_the_secret_is_sent(
    site: Site, methods: list[str] | None, secret: str | None, form: dict[str, str], header: str | None
) -> None:
    site.at.metadata = {"token_endpoint_auth_methods_supported": methods}
    site.set(client_secret=secret)
    assert isinstance(await site.sign_in(), SignedIn)
    ((sent,), (authorization,)) = site.at.forms, site.at.authorizations
    assert {name: value for name, value in sent.items() if name.startswith("client_")} == form
    basic = header and f"Basic {base64.b64encode(header.encode()).decode()}"
    assert authorization == basic


@pytest.mark.parametrize("methods", [["private_key_jwt"], "client_secret_basic", []])
async def test_a_provider_that_takes_no_secret(site: Site, methods: object) -> None:
    site.at.metadata = {"token_endpoint_auth_methods_supported": methods}
    site.set(client_secret=CLIENT_SECRET)
    assert "takes no client secret" in await site.refusal()
    assert site.at.forms == []


# --- A provider that answers oddly


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"issuer": "https://evil.example.com"}, "calls itself 'https://evil.example.com'"),
        ({"issuer": None}, "calls itself 'None'"),
        ({"authorization_endpoint": "http://login.example.com/a"}, "no authorization_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "no authorization_endpoint"),
        ({"token_endpoint": "https://"}, "no token_endpoint"),
        ({"token_endpoint": "https://[::1/token"}, "no token_endpoint"),
        ({"token_endpoint": None}, "no token_endpoint"),
        ({"jwks_uri": 7}, "no jwks_uri"),
        ({"userinfo_endpoint": "https://login.example.com/u#f"}, "no userinfo_endpoint"),
    ],
)
async def test_a_provider_that_describes_itself_badly(
    site: Site, metadata: dict[str, Any], said: str
) -> None:
    site.at.metadata = metadata
    assert said in refused(await site.provider.begin(BACK))


async def test_a_slash_at_the_end_belongs_to_the_name(site: Site) -> None:
    site.set(issuer=f"{site.at.issuer}/")
    assert "TALKMETER_OIDC_ISSUER has to be exactly that name" in refused(await site.provider.begin(BACK))
    site.at.metadata = {"issuer": f"{site.at.issuer}/"}
    site.clock.ahead = FAILED
    await site.begin()


async def test_plain_text_is_for_issuers_on_this_machine(site: Site) -> None:
    """An issuer with https that names an address here is one that leads us astray."""
    site.set(issuer="https://login.example.com")
    assert not site.provider._may_be_asked("http://127.0.0.1/keys")
    assert site.provider._may_be_asked("https://keys.example.com/keys")


def packed() -> web.Response:
    """A small answer that would be a large one: we said that we unpack nothing."""
    body = gzip.compress(b"{" + b" " * ANSWER_BYTES_MAX + b"}")
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


ODD_ANSWERS: list[tuple[Callable[[], web.Response], str]] = [
    (
        lambda: web.Response(status=302, headers={"Location": "https://evil.example.com"}),
        "is elsewhere (302)",
    ),
    (lambda: web.Response(text="<html>"), "is no JSON object"),
    (lambda: web.json_response([1]), "is no JSON object"),
    (packed, "is no JSON object"),
    (lambda: web.Response(body=b"[" * 100_000), "is no JSON object"),
    (lambda: web.Response(body=b" " * (ANSWER_BYTES_MAX + 1)), f"has more than {ANSWER_BYTES_MAX} bytes"),
    (lambda: web.Response(status=503, text="busy"), "answered 503."),
    (
        lambda: web.json_response({"error": "busy", "error_description": "a\nb"}, status=500),
        "500, busy: a b.",
    ),
]


@pytest.mark.parametrize(("answer", "said"), ODD_ANSWERS)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys", "/userinfo"])
async def test_odd_answers(site: Site, path: str, answer: Callable[[], web.Response], said: str) -> None:
    """Wherever they come from: they are refused with a reason, and are not followed."""
    site.at.answers[path] = answer()
    site.at.claims = {"groups": None}
    begun = await site.provider.begin(BACK)
    found = begun if isinstance(begun, Refused) else await site.sign_in()
    assert said in refused(found)


async def test_no_cookie_of_one_sign_in_is_shown_at_the_next(site: Site) -> None:
    site.at.issuer = site.at.issuer.replace("127.0.0.1", "localhost")  # cookies are for hosts with names
    site.set()
    description = web.json_response(site.at.described())
    description.set_cookie("who", "ada")
    site.at.answers["/.well-known/openid-configuration"] = description
    await site.sign_in()
    assert len(site.at.cookies) == 4 and not any(site.at.cookies)


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
async def test_a_wrong_secret(site: Site, error: str) -> None:
    site.at.answers["/token"] = web.json_response({"error": error}, status=401)
    assert "TALKMETER_OIDC_CLIENT_SECRET is wrong" in await site.refusal()


async def test_a_slow_provider(site: Site) -> None:
    """It has so long, and is then not asked by everybody who waited."""
    site.set(answer_s=1.0)  # a busy machine needs some of that for a quick answer
    site.at.slow_s = 10.0
    assert "did not answer within 1 s" in refused(await site.provider.begin(BACK))
    assert "did not answer within 1 s" in refused(await site.provider.begin(BACK))
    assert len(site.at.asked) == 1
    site.at.slow_s, site.clock.ahead = 0.0, FAILED
    await site.begin()


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:70000"])
async def test_a_provider_that_is_away(site: Site, issuer: str) -> None:
    site.set(issuer=issuer)
    assert "cannot be reached" in refused(await site.provider.begin(BACK))


def test_no_secret_shows() -> None:
    config = OidcConfig(issuer="https://a", client_id="b", client_secret="canary", grants=GRANTS)
    assert "canary" not in repr(config)
    assert msgspec.json.decode(msgspec.json.encode(config), type=OidcConfig) == config
