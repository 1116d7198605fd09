"""Every route: asked by every role, of its own tenant and of another's, and with what nobody should send."""

from pathlib import Path

import pytest

from proxy.admin.api.routes import AnyRoute
from proxy.admin.api.table import ROUTES
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import ADMIN_TOKEN, Asking
from tests.admin.api.world import Ask, World, fill

REFUSED = (401, 403)
MADE_UP = {"limit": "0", "after": "!", "from": "soon", "tz": "Mars/Olympus", "group_by": "zodiac"}


async def send(api: Asking, route: AnyRoute, ask: Ask, token: str, **headers: str) -> int:
    """Ask with what makes the request a good one; return the status."""
    if ask.etag_of is not None:
        headers["If_Match"] = "*"
    answered = await api(route.method, ask.path, ask.body, token=token, params=ask.params, **headers)
    return answered.status


def test_there_is_a_request_for_every_route() -> None:
    world = World("t", "p", "k", "b", "w", 1, "tok", "card", "r", "s", "apr")
    assert {route.name for route in ROUTES} == world.asks().keys()


async def test_every_role_may_what_the_table_says_of_its_own_tenant(embedded: Asking) -> None:
    """Whoever may not changes nothing; who may is not refused. Changes are tried by the others first."""
    asks = (await fill(embedded)).asks()
    for route in sorted(ROUTES, key=lambda one: (one.method == "DELETE", "archive" in one.summary)):
        for role in sorted(TokenRole, key=lambda one: one in route.roles):
            token = embedded.token(role, "acme")
            status = await send(embedded, route, asks[route.name], token)
            if role not in route.roles or route.installation:
                assert status == 403, (route.name, role)
            else:
                assert status not in REFUSED and status < 500, (route.name, role, status)


async def test_what_is_of_the_installation_is_for_who_is_not_confined(embedded: Asking) -> None:
    asks = (await fill(embedded)).asks()
    for route in (one for one in ROUTES if one.installation):
        for role in sorted(route.roles - {TokenRole.VIEWER}):
            status = await send(embedded, route, asks[route.name], embedded.token(role))
            assert status not in REFUSED and status < 500, (route.name, role, status)


async def test_what_takes_a_person_is_not_for_the_admin_token(embedded: Asking) -> None:
    asks = (await fill(embedded)).asks()
    for route in (one for one in ROUTES if one.named):
        assert await send(embedded, route, asks[route.name], ADMIN_TOKEN) == 403, route.name


async def test_what_is_anothers_is_as_unknown_as_what_never_was(embedded: Asking) -> None:
    asks = (await fill(embedded)).asks()
    for route in ROUTES:
        ask = asks[route.name]
        for role in sorted(route.roles):
            if ask.names_acme and not route.installation:
                status = await send(embedded, route, ask, embedded.token(role, "globex"))
                assert status == 404, (route.name, role, status)


async def test_lists_have_nothing_of_another_tenant(embedded: Asking) -> None:
    world = await fill(embedded)
    for route in (
        one for one in ROUTES if one.method == "GET" and not one.path_names and not one.installation
    ):
        for role in sorted(route.roles):
            told = await embedded.done("GET", route.path, token=embedded.token(role, "globex"))
            assert world.tenant not in str(told) and "acme" not in str(told), (route.name, role)


async def test_a_viewer_learns_what_is_billed_and_never_what_it_costs_us(embedded: Asking) -> None:
    await fill(embedded)
    viewer = embedded.token(TokenRole.VIEWER, "acme")
    with_markup = {"cost_usd": "5", "billed_usd": "7", "kind": "adjustment", "tenant": "acme"}
    await embedded.done("POST", "/adjustments", with_markup | {"key": "k9", "reason": "margin"})
    entries = (await embedded.done("GET", "/ledger", token=viewer))["data"]
    assert [one["cost_nanousd"] for one in entries] == [one["billed_nanousd"] for one in entries]
    assert entries[-1]["cost_usd"] == "7.000000000"
    report = await embedded.done("GET", "/reports/costs", token=viewer)
    ours = await embedded.done("GET", "/reports/costs", params={"tenant": "acme"})
    assert report["total"]["cost_nanousd"] - ours["total"]["cost_nanousd"] == 2_000_000_000
    sessions = (await embedded.done("GET", "/sessions", token=viewer))["data"]
    assert [one["cost_nanousd"] for one in sessions] == [252_000]
    assert (await embedded.done("GET", "/sessions/s1", token=viewer))["cost_nanousd"] == 252_000
    account = await embedded.done("GET", "/sessions/s1/account", token=viewer)
    assert (account["amounts"], account["total"]["amount_nanousd"]) == ("billed", 252_000)


@pytest.mark.parametrize("name", MADE_UP)
async def test_what_a_list_is_not_asked_for_is_told(embedded: Asking, name: str) -> None:
    await fill(embedded)
    for route in (one for one in ROUTES if one.method == "GET" and not one.path_names):
        answered = await embedded("GET", route.path, params={name: MADE_UP[name]})
        assert answered.status == 422, (route.name, answered)
        assert answered.json["errors"][0]["in"] == "query", (route.name, answered)


async def test_bodies_that_nobody_should_send(embedded: Asking) -> None:
    asks = (await fill(embedded)).asks()
    for route in (one for one in ROUTES if one.has_body):
        path = asks[route.name].path
        for body, status in (
            (b"", 400),
            (b"{", 400),
            (b"\xff", 400),
            (b"[" * 50_000, 400),
            (b"[]", 422),
            (b'{"no such member": 1}', 422),
            (b'{"tenant": 1.5}', 422),
            (b" " * (route.body_bytes_max + 1), 413),
        ):
            answered = await embedded(route.method, path, body, If_Match="*")
            assert answered.status == status, (route.name, body[:20], answered)
        answered = await embedded(route.method, path, {}, Content_Type="text/plain", If_Match="*")
        assert answered.status == 415, (route.name, answered)
        for member in route.body.model_fields:
            for value in (
                '"\\u0000"',
                '"\\ud800"',
                "1e400",
                "null",
                "[[]]",
                '{"a": {}}',
                '"' + "x" * 5_000 + '"',
            ):
                hostile = f'{{"{member}": {value}}}'.encode()
                answered = await embedded(route.method, path, hostile, If_Match="*")
                assert answered.status < 500, (route.name, hostile[:60], answered)


async def test_unknown_routes_methods_and_callers(embedded: Asking) -> None:
    await embedded.problem(404, "GET", "/nothing")
    answered = await embedded("PUT", "/tenants", {})
    assert answered.status == 405 and set(answered.headers["Allow"].replace(" ", "").split(",")) >= {
        "GET",
        "POST",
    }
    for token in (None, "", "wrong", "tma_" + "0" * 43):
        await embedded.problem(401, "GET", "/tenants", token=token)


async def test_every_route_on_either_database(api: Asking) -> None:
    """Each once by the administrator: what is good is answered, on PostgreSQL too."""
    asks = (await fill(api)).asks()
    for route in sorted(ROUTES, key=lambda one: (one.method == "DELETE", "archive" in one.summary)):
        ask = asks[route.name]
        headers = {"If_Match": "*"} if ask.etag_of else {}
        headers |= {"Talkmeter_Reason": "a test"} if route.reasons else {}
        token = api.token(TokenRole.ADMIN) if route.named else ADMIN_TOKEN
        answered = await api(route.method, ask.path, ask.body, params=ask.params, token=token, **headers)
        assert answered.status < 300 or answered.status in (404, 409), (route.name, answered)


def test_the_docs_say_who_may_do_what() -> None:
    """docs/api.md has a row for every route, with its roles and whether it is the installation's."""
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {}
    for row in rows:
        name, *marks, summary = (cell.strip() for cell in row.strip("|").split("|"))
        may = frozenset(role for role, mark in zip(COLUMNS, marks, strict=True) if mark)
        told[name.strip("`")] = (may, summary)
    assert told == {one.name: (one.roles, one.summary + marks_of(one)) for one in ROUTES}


def marks_of(route: AnyRoute) -> str:
    return " ¹" * route.installation + " ²" * route.named


COLUMNS = (TokenRole.ADMIN, TokenRole.FINANCE, TokenRole.AUDITOR, TokenRole.VIEWER)
DOCS = Path(__file__).parents[3] / "docs" / "api.md"
