"""The console's frame: who gets in, what is refused, and what every answer carries."""

import re
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from proxy.clock import utc_now
from proxy.console import pages
from proxy.console.pages import NAVIGATION, PAGES
from proxy.store import sign_ins
from proxy.store.audit import Act
from proxy.store.database import migrate, open_database, writing
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.console.visiting import Visitor, stranger, visitor
from tests.postgres import Server, as_text

READ_PAGES = [page for page in PAGES if page.method == "GET"]
WRITES = [page for page in PAGES if page.method == "POST"]
_PARAMETER = re.compile(r"\{\w+(:[^}]*)?\}")


def path_of(page_path: str) -> str:
    """Return a page's path with ids that name nothing."""
    return _PARAMETER.sub("nothing", page_path)


def test_where_pages_are_there_are_only_pages() -> None:
    found = {path.stem for path in Path(pages.__file__).parent.glob("*.py")} - {"__init__"}
    assert found == {module.__name__.rpartition(".")[2] for module in pages.MODULES}


async def test_whoever_is_not_signed_in_is_sent_to_do_so_and_back(embedded: Asking) -> None:
    shown = await stranger(embedded).get("/?month=2026-10", 303)
    assert shown.place == "/sign-in?next=%2F%3Fmonth%3D2026-10"


async def test_a_part_of_a_page_sends_the_whole_page_to_sign_in(embedded: Asking) -> None:
    """What htmx asks for is put into a page: a page to sign in on does not belong there."""
    shown = await stranger(embedded).get("/", 401, HX_Request="true")
    assert shown.headers["HX-Redirect"] == "/sign-in?next=%2F"


async def test_every_page_is_for_those_who_are_signed_in(embedded: Asking) -> None:
    nobody = stranger(embedded)
    for page in PAGES:
        path = path_of(page.path)
        shown = await (nobody.get(path, 303) if page.method == "GET" else nobody.post(path, {}, 303))
        assert shown.place.startswith("/sign-in?next="), page.path


async def test_a_page_for_who_is_signed_in(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/")
    assert "Overview" in shown.text and "admin@example.com" in shown.text


async def test_what_is_no_page_is_told(embedded: Asking) -> None:
    for path in ("/nowhere", "/budgets/bud_1/x/y", "/static/nothing.css", "/static/..%2Fserver.py"):
        shown = await visitor(embedded).get(path, 404)
        assert "There is no such page" in shown.text, path


@pytest.mark.parametrize("role", list(TokenRole))
async def test_the_navigation_has_what_the_role_may_open(embedded: Asking, role: TokenRole) -> None:
    embedded.books.key("acme")
    tenants = ("acme",) if role is TokenRole.VIEWER else ()
    person = visitor(embedded, role, *tenants)
    home = await person.get("/")
    for item in (item for items in NAVIGATION for item in items):
        is_open = any(page.key == item.key and role in page.roles for page in READ_PAGES)
        assert (item.href in home.links) is is_open, item
        if item.href in home.links:
            assert await person.status(item.href) in (200, 303), (
                item
            )  # a question may have an address of its own


@pytest.mark.parametrize("role", list(TokenRole))
async def test_what_a_role_may_not_open_is_refused(embedded: Asking, role: TokenRole) -> None:
    embedded.books.key("acme")
    person = visitor(embedded, role, *(("acme",) if role is TokenRole.VIEWER else ()))
    for page in (page for page in READ_PAGES if role not in page.roles):
        shown = await person.get(path_of(page.path), 403)
        assert f"you are signed in as {role}" in shown.text, page.path


async def test_pages_about_all_of_it_are_not_for_the_confined(embedded: Asking) -> None:
    embedded.books.key("acme")
    person = visitor(embedded, TokenRole.ADMIN, "acme")
    for page in (page for page in READ_PAGES if page.installation):
        assert "confined to tenants" in (await person.get(path_of(page.path), 403)).text


async def csrf_of(person: Visitor) -> str:
    return (await person.get("/")).form("/sign-out").fields["csrf"]


async def test_every_write_wants_our_own_page_and_its_token(embedded: Asking) -> None:
    person = visitor(embedded)
    csrf = await csrf_of(person)
    for page in WRITES:
        path = path_of(page.path)
        for origin in ("http://evil.example", "null", ""):
            shown = await person.post(path, {"csrf": csrf}, 403, Origin=origin)
            assert "not sent from a page of ours" in shown.text, page.path
        shown = await person.post(path, {"csrf": csrf}, 403, Sec_Fetch_Site="cross-site")
        assert "not sent from a page of ours" in shown.text, page.path
        for wrong in ("", "0" * 64, "ü"):
            shown = await person.post(path, {"csrf": wrong}, 403)
            assert "not from this sign-in" in shown.text, page.path


async def test_a_token_of_another_sign_in_is_none(embedded: Asking) -> None:
    one, other = visitor(embedded, name="ann@example.com"), visitor(embedded, name="bob@example.com")
    shown = await one.post(path_of(WRITES[0].path), {"csrf": await csrf_of(other)}, 403)
    assert "not from this sign-in" in shown.text


async def test_signing_out_ends_it(embedded: Asking) -> None:
    person = visitor(embedded)
    shown = await person.submit((await person.get("/")).form("/sign-out"))
    assert shown.place == "/sign-in" and "talkmeter=" in shown.headers["Set-Cookie"]
    assert (await person.get("/", 303)).place.startswith("/sign-in")
    assert ("user:admin@example.com", "sign_in.end") in {one[:2] for one in embedded.audit()}


async def test_another_page_cannot_sign_somebody_out(embedded: Asking) -> None:
    person = visitor(embedded)
    await person.post("/sign-out", {}, 403, Origin="http://evil.example")
    await person.get("/")


async def test_what_was_ended_elsewhere_is_over_here(embedded: Asking) -> None:
    person = visitor(embedded)
    with writing(embedded.engine) as connection:
        [found] = sign_ins.list_sign_ins(connection, utc_now())
        sign_ins.end(connection, found.id, Act("cli:root@desk", utc_now()))
    await person.get("/", 303)


@pytest.mark.parametrize("ago", [sign_ins.IDLE, sign_ins.LASTS])
async def test_a_sign_in_does_not_last(embedded: Asking, ago: timedelta) -> None:
    person = visitor(embedded, at=utc_now() - ago)
    await person.get("/", 303)


async def test_cookies_of_other_kinds_are_nobody(embedded: Asking) -> None:
    for secret in ("", "tms_", "tms_" + "x" * 43, "tma_" + "x" * 43, "é", "x" * 5_000):
        await Visitor(embedded.url, embedded.http, secret).get("/", 303)


async def test_a_name_of_another_machine_is_refused(embedded: Asking) -> None:
    """A page elsewhere may make its own name point here: its cookies and forms are not ours."""
    shown = await stranger(embedded).get("/sign-in", 403, Host="talkmeter.evil.example")
    assert "over plain HTTP" in shown.text
    person = visitor(embedded)
    await person.get("/", 303, Host="talkmeter.evil.example")


async def test_behind_a_proxy_with_tls_cookies_are_for_its_host_only(tmp_path: Path, sqlite_url: str) -> None:
    async with asking(tmp_path, sqlite_url, public_url="https://talkmeter.example.com") as api:
        shown = await stranger(api).get("/sign-in", Host="talkmeter.example.com")
        assert "Password" in shown.text
        await visitor(api).get("/", 303, Host="talkmeter.example.com")  # that cookie came over plain HTTP
        person = visitor(api)
        headers = {"Cookie": f"__Host-talkmeter={person.secret}", "Host": "talkmeter.example.com"}
        async with api.http.get(api.url, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 200


async def test_what_is_said_after_a_write_no_other_host_can_say(tmp_path: Path, sqlite_url: str) -> None:
    async with asking(tmp_path, sqlite_url, public_url="https://talkmeter.example.com") as api:
        person = visitor(api)
        headers = {"Cookie": f"__Host-talkmeter={person.secret}; talkmeter-said=Pay%20me"}
        headers |= {"Host": "talkmeter.example.com", "Origin": "https://talkmeter.example.com"}
        async with api.http.get(api.url, headers=headers) as answer:
            page = await answer.text()
        assert "Pay me" not in page
        form = {"csrf": re.findall(r'name="csrf" value="(\w+)"', page)[0], "name": "acme"}
        asked = api.http.post(f"{api.url}/tenants", data=form, headers=headers, allow_redirects=False)
        async with asked as answer:
            cookie = answer.headers["Set-Cookie"]
        assert answer.status == 303 and cookie.startswith("__Host-talkmeter-said=")
        assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}


async def test_a_database_that_is_away_is_a_page_that_says_so(
    tmp_path: Path, postgres_server: Server
) -> None:
    url = postgres_server.create()
    engine = open_database(url)
    migrate(engine)
    engine.dispose()
    async with asking(tmp_path, as_text(url)) as api:
        person = visitor(api)
        await person.get("/")
        api.engine.dispose()
        postgres_server.drop(url)
        for path in ("/", "/sign-in"):
            shown = await person.get(path, 503)
            assert "The database does not answer" in shown.text, path


async def test_who_goes_back_and_changes_a_form_can_send_it(embedded: Asking) -> None:
    """Its key is that of what was made by then: it comes back with another one."""
    person = visitor(embedded)
    form = (await person.get("/tenants")).form("/tenants")
    await person.submit(form, name="acme")
    again = await person.submit(form, 422, name="globex")
    fresh = again.form("/tenants")
    assert fresh.fields["key"] != form.fields["key"] and fresh.fields["name"] == "globex"
    await person.submit(fresh)
    names = [one["name"] for one in (await embedded.done("GET", "/tenants"))["data"]]
    assert sorted(names) == ["acme", "globex"]


async def test_files_are_kept_by_browsers_until_they_change(embedded: Asking) -> None:
    home = await stranger(embedded).get("/sign-in")
    places = re.findall(r'(?:href|src)="(/static/[^"]+)"', home.html)
    assert len(places) > 3
    for place in places:
        async with embedded.http.get(f"{embedded.url}{place}") as answer:
            assert answer.status == 200 and "immutable" in answer.headers["Cache-Control"], place
            assert re.search(r"\?v=[0-9a-f]{16}$", place), place


async def test_the_api_and_health_stay_where_they_are(embedded: Asking) -> None:
    assert (await embedded("GET", "/me")).status == 200
    async with aiohttp.ClientSession() as http, http.get(f"{embedded.url}/healthz") as answer:
        assert await answer.json() == {"status": "ok"}
