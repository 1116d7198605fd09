"""API tokens: shown once, listed, revoked, and only for people who are not confined to tenants."""

import re

import pytest

from proxy.console.pages import tokens
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import visitor

SECRET = re.compile(r"tma_[0-9A-Za-z]{43}")


async def test_made_shown_once_and_revoked(api: Asking) -> None:
    tenant = await api.done("POST", "/tenants", {"name": "acme"})
    ann = visitor(api)
    page = await ann.get("/tokens")
    assert "There is no token yet" in page.text
    form = page.form("/tokens")
    fields = {"name": "bob", "role": "finance", "tenants": tenant["id"], "expires_at": "2099-01-01"}
    made = await ann.submit(form, 201, **fields, reason="joined")
    (secret,) = set(SECRET.findall(made.html))
    assert (await api.done("GET", "/me", token=secret))["role"] == "finance"
    again = await ann.submit(form, 201, **fields, reason="joined")
    assert "One token was made" in again.text and not SECRET.search(again.html)
    listed = await ann.get("/tokens")
    assert "bob" in listed.text and "finance acme" in listed.text and not SECRET.search(listed.html)
    (one,) = (await api.done("GET", "/tokens"))["data"]
    assert [each["name"] for each in one["tenants"]] == ["acme"]
    await ann.submit(listed.form(f"/tokens/{one['id']}/revoke"), reason="left")
    assert "revoked" in (await ann.get("/tokens")).text
    await api.problem(401, "GET", "/me", token=secret)
    acts = [one for one in await api.acts() if one["action"].startswith("token.")]
    assert [(one["actor"], one["action"], one["reason"]) for one in acts] == [
        ("user:admin@example.com", "token.revoke", "left"),
        ("user:admin@example.com", "token.create", "joined"),
    ]
    assert secret not in str(acts)


async def test_what_was_typed_is_kept(embedded: Asking) -> None:
    tenant = await embedded.done("POST", "/tenants", {"name": HOSTILE})
    ann = visitor(embedded)
    form = (await ann.get("/tokens")).form("/tokens")
    fields = {"name": HOSTILE, "role": "auditor", "tenants": tenant["id"], "expires_at": "2020-01-01"}
    shown = await ann.submit(form, 422, **fields)
    kept = shown.form("/tokens").fields
    assert {name: kept[name] for name in fields} == fields
    assert "would have expired already" in shown.text and "<script>alert" not in shown.html
    await ann.submit(form, 422, name="bob", role="king")
    await ann.submit(form, 422, name="x" * 2_000)
    made = await ann.submit(form, 201, name=HOSTILE, role="auditor", tenants=tenant["id"])
    assert HOSTILE in made.text and "<script>alert" not in made.html
    assert HOSTILE in (await ann.get("/tokens")).text


async def test_confined_to_tenants_that_have_no_box(
    embedded: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many tenants not all have one; without a way to choose the others a token would see them all."""
    monkeypatch.setattr(tokens, "BOXES_MAX", 1)
    made = [await embedded.done("POST", "/tenants", {"name": name}) for name in ("acme", "globex", "initech")]
    ann = visitor(embedded)
    page = await ann.get("/tokens")
    assert page.html.count('name="tenants"') == 1
    chosen = {"name": "bob", "role": "finance", "more_tenants": " globex \ninitech\n"}
    wrong = await ann.submit(page.form("/tokens"), 404, **chosen | {"more_tenants": "nobody"})
    assert wrong.form("/tokens").fields["more_tenants"] == "nobody"
    await ann.submit(wrong.form("/tokens"), 201, **chosen, tenants=made[0]["id"])
    (one,) = (await embedded.done("GET", "/tokens"))["data"]
    assert {each["name"] for each in one["tenants"]} == {"acme", "globex", "initech"}


async def test_who_may(embedded: Asking) -> None:
    await embedded.done("POST", "/tenants", {"name": "acme"})
    bob = await embedded.done("POST", "/tokens", {"name": "bob", "role": "auditor"})
    auditor = visitor(embedded, TokenRole.AUDITOR)
    shown = await auditor.get("/tokens")
    assert "bob" in shown.text and [one.action for one in shown.forms] == ["/sign-out"]
    fields = {"csrf": shown.form("/sign-out").fields["csrf"], "name": "eve", "role": "admin"}
    await auditor.post("/tokens", fields, 403)
    await auditor.post(f"/tokens/{bob['id']}/revoke", fields, 403)
    for role in TokenRole:
        await visitor(embedded, role, "acme").get("/tokens", 403)
    await visitor(embedded, TokenRole.FINANCE).get("/tokens", 403)
    assert [one["name"] for one in (await embedded.done("GET", "/tokens"))["data"]] == ["bob"]
    await visitor(embedded).get("/tokens")
    admin = visitor(embedded)
    gone = {"csrf": (await admin.get("/tokens")).form("/sign-out").fields["csrf"]}
    await admin.post("/tokens/tok_0/revoke", gone, 404)
