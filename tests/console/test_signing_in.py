"""Signing in by password, by link, and at a provider; and where that leads."""

import asyncio
from pathlib import Path

import pytest

from proxy.admin.config import Grant, OidcConfig
from proxy.clock import utc_now
from proxy.console.signing_in import _page_of_ours
from proxy.core.attempts import OF_ADDRESS_MAX
from proxy.store.audit import Act
from proxy.store.database import writing
from proxy.store.local_admin import make_link, set_password
from tests.admin.api.asking import Asking, asking
from tests.console.identity_provider import CLIENT_ID, CLIENT_SECRET, identity_provider
from tests.console.visiting import Shown, Visitor, stranger
from tests.ledgers import PEPPER

PASSWORD = "correct horse battery"


def act() -> Act:
    return Act("cli:root@desk", utc_now())


@pytest.fixture
def api_with_password(api: Asking) -> Asking:
    with writing(api.engine) as connection:
        set_password(connection, PASSWORD, act())
    return api


def signed_in(api: Asking, cookie: str) -> Visitor:
    return Visitor(api.url, api.http, cookie.partition("talkmeter=")[2].partition(";")[0])


async def test_the_local_administrator_signs_in_with_the_password(api_with_password: Asking) -> None:
    api = api_with_password
    page = await stranger(api).get("/sign-in?next=%2F%3Fmonth%3D2026-10")
    form = page.form("/sign-in/password?next=/%3Fmonth%3D2026-10")
    shown = await stranger(api).submit(form, 303, password=PASSWORD)
    assert shown.place == "/?month=2026-10"
    cookie = shown.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    home = await signed_in(api, cookie).get("/")
    assert "local-admin" in home.text


async def test_a_wrong_password_is_counted_and_then_not_looked_at(api_with_password: Asking) -> None:
    api, nobody = api_with_password, stranger(api_with_password)
    for _ in range(OF_ADDRESS_MAX):
        shown = await nobody.post("/sign-in/password", {"password": "wrong"}, 401)
        assert "not the local administrator" in shown.text and "Set-Cookie" not in shown.headers
    shown = await nobody.post("/sign-in/password", {"password": PASSWORD}, 429)
    assert "try again in" in shown.text
    assert not [one for one in api.audit() if one[1] == "sign_in.begin"]


async def test_forms_that_are_held_back_are_counted_all_the_same(api_with_password: Asking) -> None:
    """Many may begin to send a password before the first has failed: each of them is an attempt."""
    api, many = api_with_password, OF_ADDRESS_MAX + 4
    host, port = api.url.removeprefix("http://").split(":")
    body = b"password=wrong"
    head = (
        f"POST /sign-in/password HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {api.url}\r\n"
        "Connection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(many)]
    for _, writer in connections:
        writer.write(head)
        await writer.drain()
    await asyncio.sleep(0.3)  # for all of them to be looked at as far as that goes
    for _, writer in connections:
        writer.write(body)
    answers = [(await reader.read()).split(b" ")[1] for reader, _ in connections]
    for _, writer in connections:
        writer.close()
    assert sorted(answers) == [b"401"] * OF_ADDRESS_MAX + [b"429"] * (many - OF_ADDRESS_MAX)


async def test_a_form_of_a_stranger_is_short(embedded: Asking) -> None:
    shown = await stranger(embedded).post("/sign-in/password", {"password": "x" * 20_000}, 413)
    assert "at most 10,000 bytes" in shown.text


async def test_without_a_password_nobody_signs_in_with_one(embedded: Asking) -> None:
    for password in ("", "x"):
        await stranger(embedded).post("/sign-in/password", {"password": password}, 401)


async def test_another_page_cannot_sign_somebody_in(api_with_password: Asking) -> None:
    nobody = stranger(api_with_password)
    await nobody.post("/sign-in/password", {"password": PASSWORD}, 403, Origin="http://evil.example")


async def test_a_link_signs_in_once_by_a_click(api: Asking) -> None:
    with writing(api.engine) as connection:
        secret = make_link(connection, PEPPER, act(), utc_now())
    path, nobody = f"/sign-in/link/{secret}", stranger(api)
    for _ in range(2):  # looking at it does not use it up
        page = await nobody.get(path)
    [form] = page.forms
    shown = await nobody.submit(form, 303, path=path)
    assert shown.place == "/"
    await signed_in(api, shown.headers["Set-Cookie"]).get("/")
    again = await nobody.submit(form, 401, path=path)
    assert "used already" in again.text and "talkmeter console link" in again.text


async def test_a_link_of_ones_own_making_is_none(embedded: Asking) -> None:
    for secret in ("tml_", "tml_" + "x" * 43, "tms_" + "x" * 43):
        await stranger(embedded).post(f"/sign-in/link/{secret}", {}, 401)


async def test_without_a_provider_there_is_no_way_to_one(embedded: Asking) -> None:
    page = await stranger(embedded).get("/sign-in/oidc")
    assert "with your organisation" not in page.text and "Password" in page.text
    await stranger(embedded).get("/sign-in/oidc/callback?code=x&state=y", 401)


async def test_who_is_signed_in_goes_on(api_with_password: Asking) -> None:
    shown = await stranger(api_with_password).post("/sign-in/password", {"password": PASSWORD})
    person = signed_in(api_with_password, shown.headers["Set-Cookie"])
    assert (await person.get("/sign-in?next=/x", 303)).place == "/x"


@pytest.mark.parametrize(
    "wanted",
    [
        *("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "x", ""),
        *("/a\nSet-Cookie: b", "/" + "x" * 3_000, "/\x00", "/ü"),
    ],
)
def test_signing_in_leads_to_pages_of_ours_only(wanted: str) -> None:
    assert _page_of_ours(wanted) == "/"


def test_and_to_those_with_all_their_parameters() -> None:
    assert _page_of_ours("/reports?from=2026-10-01&tag=a%3Db") == "/reports?from=2026-10-01&tag=a%3Db"


async def test_the_audit_log_has_no_secret(api_with_password: Asking, tmp_path: Path) -> None:
    shown = await stranger(api_with_password).post("/sign-in/password", {"password": PASSWORD})
    secret = shown.headers["Set-Cookie"].partition("talkmeter=")[2].partition(";")[0]
    told = str(await api_with_password.acts())
    assert "sign_in.begin" in told and PASSWORD not in told and secret not in told


# --- At a provider


def oidc(issuer: str, **grants: Grant) -> OidcConfig:
    return OidcConfig(issuer=issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, grants=grants)


async def through(api: Asking, **more: str) -> tuple[Shown, str]:
    """Go to the provider and come back as a browser does; return the page there, and the cookie for it."""
    nobody = stranger(api)
    sent = await nobody.get("/sign-in/oidc?next=%2Freports", 303)
    attempt = sent.headers["Set-Cookie"]
    assert "HttpOnly" in attempt and "Max-Age=600" in attempt
    async with api.http.get(sent.place, allow_redirects=False) as answer:
        back = answer.headers["Location"]
    cookie = attempt.partition(";")[0]
    path = back.removeprefix(api.url)
    shown = await nobody.get(path, int(more.get("status", "303")), Cookie=more.get("cookie", cookie))
    return shown, cookie


async def test_somebody_signs_in_at_the_provider(tmp_path: Path, database_url: str) -> None:
    async with (
        identity_provider() as at,
        asking(tmp_path, database_url, oidc=oidc(at.issuer, Platform=Grant("viewer", ("acme",)))) as api,
    ):
        api.books.key("acme")
        assert "with your organisation" in (await stranger(api).get("/sign-in")).text
        shown, _ = await through(api)
        assert shown.place == "/reports"
        kept, forgotten = shown.headers.getall("Set-Cookie")
        assert forgotten.startswith('talkmeter-attempt="";') and "Max-Age=0" in forgotten
        home = await signed_in(api, kept).get("/")
        assert "ada@example.com" in home.text and "viewer" in home.text and "acme" in home.text


async def test_what_was_begun_in_another_browser_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with (
        identity_provider() as at,
        asking(tmp_path, sqlite_url, oidc=oidc(at.issuer, Platform=Grant("admin"))) as api,
    ):
        shown, _ = await through(api, cookie="talkmeter-attempt=forged", status="401")
        assert "begun elsewhere" in shown.text


async def test_a_group_that_grants_nothing_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with (
        identity_provider() as at,
        asking(tmp_path, sqlite_url, oidc=oidc(at.issuer, Others=Grant("admin"))) as api,
    ):
        shown, _ = await through(api, status="403")
        assert "none of the groups" in shown.text and not [
            one for one in api.audit() if one[1] == "sign_in.begin"
        ]


async def test_a_tenant_that_is_gone_lets_nobody_in(tmp_path: Path, sqlite_url: str) -> None:
    """Without their tenants they would see everything."""
    grant = Grant("auditor", ("gone",))
    async with (
        identity_provider() as at,
        asking(tmp_path, sqlite_url, oidc=oidc(at.issuer, Platform=grant)) as api,
    ):
        shown, _ = await through(api, status="403")
        assert "None of the tenants" in shown.text


async def test_a_provider_that_is_away_is_told(tmp_path: Path, sqlite_url: str) -> None:
    at = "http://127.0.0.1:9"
    async with asking(tmp_path, sqlite_url, oidc=oidc(at, Platform=Grant("admin"))) as api:
        await stranger(api).get("/sign-in/oidc", 502)
