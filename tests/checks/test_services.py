"""The provider's bill, the identity provider and the mail server: asked where set, and left alone."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from proxy.checks import services
from proxy.checks.findings import Finding
from proxy.checks.services import ask_bill, ask_mail, ask_sign_in
from tests.admin.mailbox import mailbox
from tests.checks.looking import FAILED, NOT_ASKED, OK, found
from tests.console.identity_provider import CLIENT_ID, IdentityProvider, identity_provider
from tests.provider import ADMIN_KEY, providing


def test_what_is_not_set_is_not_asked(tmp_path: Path) -> None:
    findings = found(tmp_path, ask_bill, ask_mail, ask_sign_in)
    assert {one.status for one in findings.values()} == {NOT_ASKED}


def test_the_bill(tmp_path: Path) -> None:
    """One request; a key for the voice API cannot read it."""
    with providing() as provider:

        def looked(key: str) -> Finding:
            given = {"upstream_url": provider.url, "upstream_admin_key": SecretStr(key)}
            return found(tmp_path, ask_bill, **given)["provider's bill"]

        assert looked(ADMIN_KEY).status is OK
        assert provider.simulator.reports.requests == 1
        refused = looked("sk-simulator")
        assert refused.status is FAILED and "(403)" in refused.found
        provider.simulator.reports.failures = [500]
        assert "answered 500" in looked(ADMIN_KEY).found
        assert provider.simulator.reports.requests == 3


# --- Who signs people in


async def signing_in(folder: Path, issuer: str) -> Finding:
    given: dict[str, Any] = {
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": SecretStr("canary"),
        "oidc_grants": {"Platform": "admin"},
        "public_url": "https://talk.example.com",
    }
    finding = (await asyncio.to_thread(found, folder, ask_sign_in, **given))["sign-in"]
    assert "canary" not in str(finding)
    return finding


async def test_a_provider(tmp_path: Path) -> None:
    """What it has to be told is said to the letter."""
    async with identity_provider() as at:
        finding = await signing_in(tmp_path, at.issuer)
        assert finding.status is OK and "with 1 key;" in finding.found
        assert "https://talk.example.com/sign-in/oidc/callback as redirect URI" in finding.found
        assert at.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_providers_that_cannot_be_used(tmp_path: Path) -> None:
    """Another name, no endpoint, no keys: said to who administers Talkmeter, not to ask them."""

    def misnamed(at: IdentityProvider) -> None:
        at.metadata["issuer"] = "https://other.example.com"

    def keyless(at: IdentityProvider) -> None:
        at.published = []

    def endless(at: IdentityProvider) -> None:
        at.metadata["token_endpoint"] = None

    def lost(at: IdentityProvider) -> None:
        at.answers["/keys"] = web.Response(status=404)

    for break_it, said in (
        (misnamed, "calls itself 'https://other.example.com'"),
        (keyless, "publishes no key that can sign"),
        (endless, "names no token_endpoint"),
        (lost, "list of keys answered 404"),
    ):
        async with identity_provider() as at:
            break_it(at)
            finding = await signing_in(tmp_path, at.issuer)
        assert finding.status is FAILED and said in finding.found
        assert "whoever administers" not in finding.found
    assert "cannot be reached" in (await signing_in(tmp_path, "http://127.0.0.1:1")).found


async def test_a_slow_provider(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(services, "OIDC_ANSWER_S", 0.2)
    async with identity_provider() as at:
        at.slow_s = 1.0
        assert "did not answer within 0.2 s" in (await signing_in(tmp_path, at.issuer)).found


# --- The mail server


async def test_a_mail_server(tmp_path: Path) -> None:
    """It is asked whether it would take mail, and sent none."""
    async with mailbox() as box:
        given = {"smtp_url": SecretStr(box.url), "smtp_from": "a@example.com"}
        finding = (await asyncio.to_thread(found, tmp_path, ask_mail, **given))["mail"]
        assert finding.status is OK and "takes mail from a@example.com" in finding.found
        assert (box.tried, box.got) == (0, [])
    given["smtp_url"] = SecretStr(box.url.replace("//", "//ann:canary@"))
    gone = (await asyncio.to_thread(found, tmp_path, ask_mail, **given))["mail"]
    assert gone.status is FAILED and "cannot be reached" in gone.found
    assert "canary" not in str(gone)
