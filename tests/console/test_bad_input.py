"""What people should not type: it is told at its field, what was typed is kept, and no page fails."""

from uuid import uuid4

import pytest
from aiohttp import ClientResponse

from proxy.console.visitors import COOKIE
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.visiting import Visitor, stranger, visitor

ABSURD = ("9" * 5_000, "-1", "1e309", "1e999999", "-1e999999", "NaN", "sNaN", "Infinity", "½", "x" * 2_000)


def error_at(name: str) -> str:
    return f'id="field-{name}-error"'


@pytest.mark.parametrize("text", ABSURD)
@pytest.mark.parametrize("name", ["amount", "thresholds", "forecast_thresholds", "store_down", "zone"])
async def test_of_a_budget(embedded: Asking, name: str, text: str) -> None:
    embedded.books.key("acme")
    person = visitor(embedded)
    form = (await person.get("/budgets/new?tenant=acme&amount=5")).form("/budgets")
    shown = await person.submit(form, 422, **{"on_store_down": "continue", "store_down": "1", name: text})
    assert error_at(name) in shown.html
    assert shown.form("/budgets").fields[name] == text


@pytest.mark.parametrize("at", ["0001-01-01T00:00", "9999-12-31T23:59", "2026-02-30T10:00", "soon", "9" * 99])
async def test_of_a_raise(embedded: Asking, at: str) -> None:
    """Where the zone's clocks are ahead of UTC, the year 1 begins before there are instants."""
    for tenant, zone in (("acme", "Europe/Berlin"), ("globex", "America/New_York")):
        embedded.books.key(tenant)
        wanted = {"scope": "tenant", "tenant": tenant, "window": "month", "amount_usd": "5", "zone": zone}
        made = await embedded.done("POST", "/budgets", wanted)
        person, path = visitor(embedded), f"/budgets/{made['id']}/raise"
        form = (await person.get(path)).form(path)
        for name in ("starts", "ends"):
            typed = {"ends": "2099-01-01T00:00", "amount": "1", "reason": "a fair", name: at}
            shown = await person.submit(form, 422, **typed)
            assert error_at(name) in shown.html or error_at("ends") in shown.html, (zone, name)
            assert shown.form(path).fields[name] == at


@pytest.mark.parametrize("text", ABSURD)
async def test_of_a_markup(embedded: Asking, text: str) -> None:
    tenant = embedded.books.key("acme").tenant_id
    person = visitor(embedded)
    for page, action in (
        ("/rate-cards/markups", "/rate-cards/markups"),
        (f"/tenants/{tenant}", f"/tenants/{tenant}/markups"),
    ):
        form = (await person.get(page)).form(action)
        if text == "-1":
            continue  # a discount
        shown = await person.submit(form, 422, percent=text, key=uuid4().hex)
        assert error_at("percent") in shown.html and shown.form(action).fields["percent"] == text


async def sent_raw(who: Visitor, path: str, body: bytes, content_type: str) -> ClientResponse:
    headers = {"Origin": who.url, "Sec-Fetch-Site": "same-origin", "Content-Type": content_type}
    cookies = {"Cookie": f"{COOKIE}={who.secret}"} if who.secret else {}
    return await who.http.post(
        f"{who.url}{path}", data=body, headers={**headers, **cookies}, allow_redirects=False
    )


@pytest.mark.parametrize("is_in", [True, False])
async def test_forms_that_no_page_of_ours_sends(embedded: Asking, is_in: bool) -> None:
    """In another encoding, or in none that there is: refused, whoever sends them."""
    who, path = (visitor(embedded), "/tenants") if is_in else (stranger(embedded), "/sign-in/password")
    form = "application/x-www-form-urlencoded"
    for status, body, content_type in (
        (415, b"a=b", f"{form}; charset=nonsense"),
        (415, b"csrf=\\ud800", f"{form}; charset=unicode_escape"),
        (415, b"a=b", "text/plain"),
        (400, b"password=\xff\xfe&name=\xff", form),
    ):
        async with await sent_raw(who, path, body, content_type) as answer:
            assert answer.status == status, (content_type, answer.status)


async def test_of_addresses(embedded: Asking) -> None:
    person = visitor(embedded, TokenRole.ADMIN)
    for path in ("/reports/download?month=9999-12", "/close/9999-12", "/close/0001-01"):
        assert await person.status(path) < 500, path
