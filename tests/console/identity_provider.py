"""Identity providers: a small one that answers over HTTP as tests say, and one that others wrote.

The small one is right unless tests say otherwise.
"""

import asyncio
import base64
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, RSAKey

CLIENT_ID = "talkmeter"
CLIENT_SECRET = "s3cret: with % and +"
SUBJECT = "248289761001"


@cache
def rsa_key(kid: str) -> RSAKey:
    """Return a key that signs. Making one takes long."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@cache
def ec_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid})


def encoded(part: Mapping[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


@dataclass
class IdentityProvider:
    """What it does is in its fields; what it was asked for, too."""

    issuer: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)  # None takes a field away
    claims: dict[str, Any] = field(default_factory=dict)  # of the ID token; None takes one away
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": SUBJECT})
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "one"})
    key: Key = field(default_factory=lambda: rsa_key("one"))
    published: list[Key] = field(default_factory=lambda: [rsa_key("one")])
    id_token: str | None = None  # in place of a signed one
    answers: dict[str, web.Response] = field(default_factory=dict)  # by path, in place of its own
    slow_s: float = 0.0
    asked: list[str] = field(default_factory=list)  # paths
    cookies: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)  # at the token endpoint
    forms: list[dict[str, str]] = field(default_factory=list)
    bearers: list[str | None] = field(default_factory=list)
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        own = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
        }
        return {name: value for name, value in (own | self.metadata).items() if value is not None}

    def token(self, nonce: str) -> str:
        if self.id_token is not None:
            return self.id_token
        now = int(time.time())
        own = {"iss": self.issuer, "aud": CLIENT_ID, "sub": SUBJECT, "exp": now + 300, "iat": now}
        own |= {"nonce": nonce, "groups": ["Platform"], "email": "ada@example.com"}
        claims = {name: value for name, value in (own | self.claims).items() if value is not None}
        return jwt.encode(self.header, claims, self.key, algorithms=[self.header["alg"]])

    # --- Over HTTP

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response(self.described())

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response(KeySet(self.published).as_dict())

    async def authorize(self, request: web.Request) -> web.Response:
        """Send the browser back at once: whoever asks is signed in."""
        query = request.query
        self.codes[code := f"code-{len(self.codes)}"] = dict(query)
        back = urlencode({"code": code, "state": query["state"], "iss": self.issuer})
        raise web.HTTPFound(f"{query['redirect_uri']}?{back}")

    async def exchange(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        self.authorizations.append(request.headers.get("Authorization"))
        begun = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun is None or begun["code_challenge"] != challenge or begun["code_challenge_method"] != "S256":
            return web.json_response({"error": "invalid_grant"}, status=400)
        if begun["redirect_uri"] != form["redirect_uri"] or form["grant_type"] != "authorization_code":
            return web.json_response({"error": "invalid_request"}, status=400)
        tokens = {"access_token": "opaque", "token_type": "Bearer", "id_token": self.token(begun["nonce"])}
        return web.json_response(tokens)

    async def told(self, request: web.Request) -> web.Response:
        self.bearers.append(request.headers.get("Authorization"))
        return web.json_response(self.userinfo)

    @web.middleware
    async def as_tests_say(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        self.cookies.append(request.headers.get("Cookie", ""))
        await asyncio.sleep(self.slow_s)
        if request.path in self.answers:
            return self.answers[request.path]
        found: web.StreamResponse = await handler(request)
        return found


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """A provider on a port of its own."""
    found = IdentityProvider()
    application = web.Application(middlewares=[found.as_tests_say])
    application.router.add_get("/.well-known/openid-configuration", found.discovery)
    application.router.add_get("/keys", found.keys)
    application.router.add_get("/authorize", found.authorize)
    application.router.add_post("/token", found.exchange)
    application.router.add_get("/userinfo", found.told)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found.issuer = site_url(runner)
        yield found
    finally:
        await runner.cleanup()


def site_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


# --- One that others wrote


@contextmanager
def real_provider(folder: Path) -> Iterator[str]:
    """Run `oidc-provider-mock` in a process of its own; yield its issuer."""
    log = folder / "log"
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", "0", "--require-nonce", "true"]
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr, stdout=stderr) as process:
        try:
            yield _listening(log, process)
        finally:
            process.terminate()


def _listening(log: Path, process: "subprocess.Popen[bytes]") -> str:
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at and process.poll() is None:
        if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the provider did not start: {log.read_text()}")
