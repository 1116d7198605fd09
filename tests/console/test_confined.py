"""Writing what is another tenant's: by its id in an address, and in every field of every form."""

from typing import Any

import pytest

from proxy.console.pages import PAGES
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.admin.api.world import World, fill
from tests.console.every_page import address_of, ids_of
from tests.console.visiting import visitor

WRITES = [page for page in PAGES if page.method == "POST"]


@pytest.fixture
async def world(embedded: Asking) -> World:
    return await fill(embedded)


def fields_of(world: World) -> dict[str, str]:
    """Return a form that has every field of every form, about what is acme's."""
    named = {"tenant": world.tenant, "project": world.project, "key": "k1", "who": world.key, "etag": "*"}
    kept = {"report": world.report, "webhooks": world.webhook, "tenants": world.tenant, "corrects": "1"}
    asked = {"q-tenant": world.tenant, "q-project": world.project, "q-key": world.key, "session": "s1"}
    amounts = {
        "amount": "5",
        "amount_usd": "5",
        "billed_usd": "-1",
        "percent": "15",
        "usd": "1",
        "value": "9",
    }
    terms = {"scope": "tenant", "window": "day", "on_exhausted": "cut", "on_store_down": "terminate"}
    texts = {
        "name": "mine",
        "reason": "mine",
        "url": "https://example.com/",
        "role": "viewer",
        "kind": "credit",
    }
    card = {"model": "talk", "provider": "openai", "owner": "tenant", "meter": "text_in", "allowed": "no"}
    times = {"ends": "2099-01-01T00:00", "every": "week", "at": "08:00", "on": "monday", "span": "last-month"}
    sent = {"content": "report", "mail": "eve@example.com", "overlap_s": "3600", "sure": "yes"}
    return named | kept | asked | amounts | terms | texts | card | times | sent


@pytest.mark.parametrize("role", list(TokenRole))
async def test_nothing_of_anothers_is_changed_or_told(
    embedded: Asking, world: World, role: TokenRole
) -> None:
    before = await all_of(embedded)
    person = visitor(embedded, role, "globex")
    csrf = (await person.get("/")).form("/sign-out").fields["csrf"]
    for page in WRITES:
        for scope in ("tenant", "key", "project"):
            path = address_of(page, ids_of(world))
            fields = fields_of(world) | {"csrf": csrf, "scope": scope, "key": f"{page.path} {scope}"}
            status, text = await sent(person, path, fields)
            assert status in (403, 404, 409, 422), (page.path, status)
            assert "acme" not in text and "s1-r1" not in text, page.path
    assert await all_of(embedded) == before


@pytest.mark.parametrize("role", [TokenRole.AUDITOR, TokenRole.VIEWER])
async def test_who_only_reads_changes_nothing(embedded: Asking, world: World, role: TokenRole) -> None:
    """But verifies the ledger, as an auditor: that changes nothing either."""
    before = await all_of(embedded)
    person = visitor(embedded, role, *(("acme",) if role is TokenRole.VIEWER else ()))
    csrf = (await person.get("/")).form("/sign-out").fields["csrf"]
    for page in (page for page in WRITES if page.path != "/ledger/verify"):
        status, _ = await sent(person, address_of(page, ids_of(world)), fields_of(world) | {"csrf": csrf})
        assert status in (403, 422), (page.path, status)
    assert await all_of(embedded) == before


async def sent(person: Any, path: str, fields: dict[str, str]) -> tuple[int, str]:
    headers = {"Origin": person.url, "Sec-Fetch-Site": "same-origin", "Cookie": f"talkmeter={person.secret}"}
    async with person.http.post(
        f"{person.url}{path}", data=fields, headers=headers, allow_redirects=False
    ) as answer:
        return answer.status, await answer.text()


async def all_of(api: Asking) -> Any:
    """Return all that the audit log has but for sign-ins, and the ledger."""
    acts = [one for one in api.audit() if not one[1].startswith("sign_in.")]
    return acts, (await api.done("GET", "/ledger"))["data"]
