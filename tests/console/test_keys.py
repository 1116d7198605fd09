"""API keys: secrets that are shown once, and nowhere else; rotation; who may do what."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from proxy.admin.api.problems import Problem
from proxy.console.pages.keys import state_of, tags_of
from proxy.store.database import reading
from proxy.store.keys import hash_secret, looks_like_secret
from proxy.store.schema import api_key
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import Shown, visitor
from tests.ledgers import PEPPER

SECRET = re.compile(r"tm_[0-9A-Za-z]{43}")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def secret_on(shown: Shown) -> str:
    (found,) = set(SECRET.findall(shown.html))
    assert looks_like_secret(found)
    return str(found)


def hashes(api: Asking) -> set[str]:
    with reading(api.engine) as connection:
        return set(connection.scalars(select(api_key.c.secret_hmac)))


async def test_a_secret_is_on_the_answer_that_made_it_and_nowhere_else(api: Asking) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    ann = visitor(api)
    form = (await ann.get("/keys/new?tenant=acme")).form("/keys")
    assert form.fields["tenant"] == "acme"
    fields = {"project": "web", "name": "shop", "expires_at": "2099-01-01", "tags": "team=a\n q = 1=2 \n"}
    made = await ann.submit(form, 201, **fields)
    secret = secret_on(made)
    assert hashes(api) == {hash_secret(secret, PEPPER)}
    assert made.headers["Cache-Control"] == "no-store" and "Set-Cookie" not in made.headers
    (key,) = (await api.done("GET", "/keys"))["data"]
    assert (key["project"], key["tags"], key["expires_at"]) == (
        "web",
        {"team": "a", "q": "1=2"},
        "2099-01-01T00:00:00Z",
    )
    again = await ann.submit(form, 201, **fields)
    assert "One key was made, and its secret was shown then" in again.text
    pages = [again, *[await ann.get(path) for path in ("/keys", f"/keys/{key['id']}", "/audit", "/tenants")]]
    assert not any(SECRET.search(str(one.headers) + one.html) for one in pages)
    assert len((await api.done("GET", "/keys"))["data"]) == 1
    (act,) = (await api.done("GET", "/audit", params={"action": "key.*"}))["data"]
    assert act["actor"] == "user:admin@example.com" and secret not in str(act)


async def test_the_list_and_its_filter(api: Asking) -> None:
    for tenant in ("acme", "globex"):
        await api.done("POST", "/tenants", {"name": tenant})
        await api.done("POST", "/keys", {"tenant": tenant, "name": f"of {tenant}", "tags": {"team": tenant}})
    ann = visitor(api)
    keys = (await api.done("GET", "/keys"))["data"]
    shown = await ann.get("/keys")
    assert all(f"/keys/{one['id']}" in shown.links and one["prefix"] in shown.text for one in keys)
    only = await ann.get("/keys?tenant=acme")
    assert "of acme" in only.text and "team=acme" in only.text and "of globex" not in only.text
    wrong = await ann.get("/keys?tenant=nobody", 404)
    assert "no tenant 'nobody'" in wrong.text and wrong.form("/keys").fields["tenant"] == "nobody"
    await api.done("POST", "/tenants", {"name": "new"})
    assert "There is no key of this tenant" in (await ann.get("/keys?tenant=new")).text


async def test_lists_are_paged(embedded: Asking) -> None:
    await embedded.done("POST", "/tenants", {"name": "acme"})
    for number in range(51):
        await embedded.done("POST", "/keys", {"tenant": "acme", "name": f"number {number}"})
    ann = visitor(embedded)
    first = await ann.get("/keys?tenant=acme")
    (following,) = {link for link in first.links if "after=" in link}
    second = await ann.get(following)
    assert "number 49" in first.text and "number 50" not in first.text and "tenant=acme" in following
    assert "number 50" in second.text and "/keys?tenant=acme" in second.links


async def test_rotated(api: Asking) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    old = await api.done("POST", "/keys", {"tenant": "acme", "name": "shop"})
    await api.done("PUT", f"/limits/{old['id']}/sessions", {"value": "3"})
    budget = {"scope": "key", "key": old["id"], "window": "month", "amount_usd": "50"}
    await api.done("POST", "/budgets", budget)
    ann, place = visitor(api), f"/keys/{old['id']}"
    page = await ann.get(place)
    assert "Conversations at the same time" in page.text and "Budget by the month" in page.text
    form = page.form(f"{place}/rotate")
    assert form.fields["overlap_s"] == "86400"
    wrong = await ann.submit(form, 422, overlap_s="soon", expires_at="2020-01-01", reason="why")
    assert wrong.form(f"{place}/rotate").fields["reason"] == "why"
    made = await ann.submit(form, 201, overlap_s="3600", reason="leaked")
    secret = secret_on(made)
    assert "were" not in secret and "count from nothing" in made.text and "sessions" in made.text
    again = await ann.submit(form, 201, overlap_s="3600", reason="leaked")
    assert not SECRET.search(again.html) and "was shown then" in again.text
    first, second = (await api.done("GET", "/keys"))["data"]
    assert (first["replaced_by"], second["replaces"]) == (second["id"], old["id"])
    assert hash_secret(secret, PEPPER) in hashes(api) and len(hashes(api)) == 2
    ends = datetime.fromisoformat(first["expires_at"]) - datetime.fromisoformat(second["created_at"])
    assert ends.total_seconds() == 3_600
    listed = await ann.get("/keys")
    assert "replaces another" in listed.text and "expires soon replaced" in listed.text
    page = await ann.get(place)
    assert f"/keys/{second['id']}" in page.links and not [f for f in page.forms if "rotate" in f.action]
    assert "leaked" in page.text and "key.rotate" in page.text
    late = await ann.post(f"{place}/rotate", {**form.fields, "key": "other"}, 409)
    assert "rotate that one" in late.text


async def test_revoked(embedded: Asking) -> None:
    await embedded.done("POST", "/tenants", {"name": "acme"})
    key = await embedded.done("POST", "/keys", {"tenant": "acme"})
    ann, place = visitor(embedded), f"/keys/{key['id']}"
    page = await ann.get(place)
    assert "its live sessions end within two seconds" in page.text
    done = await ann.submit(page.form(f"{place}/revoke"), reason="leaked")
    assert done.place == place and "revoked" in (await ann.get(place)).text
    act = (await embedded.acts())[0]
    assert (act["actor"], act["action"], act["reason"]) == (
        "user:admin@example.com",
        "key.revoke",
        "leaked",
    )
    assert [one.action for one in (await ann.get(place)).forms] == ["/sign-out"]


async def test_what_was_typed_is_kept(embedded: Asking) -> None:
    await embedded.done("POST", "/tenants", {"name": HOSTILE})
    ann = visitor(embedded)
    form = (await ann.get("/keys/new")).form("/keys")
    for fields, status, said in (
        ({"tenant": "nobody", "name": HOSTILE}, 404, "no tenant 'nobody'"),
        ({"tenant": HOSTILE, "tags": f"{HOSTILE}\nteam"}, 422, "is not NAME=VALUE"),
        ({"tenant": HOSTILE, "tags": "a=1\na=2"}, 422, "is given twice"),
        ({"tenant": HOSTILE, "expires_at": "2020-01-01", "tags": "a=1"}, 422, "would have expired already"),
        ({"tenant": HOSTILE, "name": "x" * 2_000}, 422, "name"),
    ):
        shown = await ann.submit(form, status, **fields)
        assert said in shown.text and "<script>alert" not in shown.html
        kept = shown.form("/keys").fields
        assert {name: kept[name] for name in fields} == fields
    tags = f"{HOSTILE}={HOSTILE}"
    made = await ann.submit(form, 201, tenant=HOSTILE, name=HOSTILE, project=HOSTILE, tags=tags)
    key = (await embedded.done("GET", "/keys"))["data"][0]
    for shown in (made, await ann.get("/keys"), await ann.get(f"/keys/{key['id']}")):
        assert HOSTILE in shown.text and "<script>alert" not in shown.html


@pytest.mark.parametrize("text", ["team", "=a", "team=", "a=1\na=1"])
def test_tags_that_are_none(text: str) -> None:
    with pytest.raises(Problem):
        tags_of(text)


def test_states() -> None:
    for expires, revoked, expected in (
        (None, None, ("ok", "active")),
        (timedelta(days=8), None, ("ok", "active")),
        (timedelta(days=7), None, ("warning", "expires soon")),
        (timedelta(), None, ("quiet", "expired")),
        (timedelta(days=8), timedelta(), ("bad", "revoked")),
    ):
        times = {"expires_at": expires, "revoked_at": revoked}
        key = {name: None if at is None else (NOW + at).isoformat() for name, at in times.items()}
        assert state_of(key, NOW) == expected


async def test_who_may(embedded: Asking) -> None:
    for tenant in ("acme", "globex"):
        await embedded.done("POST", "/tenants", {"name": tenant})
    key = await embedded.done("POST", "/keys", {"tenant": "acme", "name": "secretly"})
    place = f"/keys/{key['id']}"
    auditor = visitor(embedded, TokenRole.AUDITOR, "acme")
    shown = await auditor.get(place)
    assert "secretly" in shown.text and [one.action for one in shown.forms] == ["/sign-out"]
    await auditor.get("/keys/new", 403)
    token = {"csrf": shown.form("/sign-out").fields["csrf"], "tenant": "acme", "overlap_s": "0"}
    for path in ("/keys", f"{place}/rotate", f"{place}/revoke"):
        await auditor.post(path, token, 403)
    other = visitor(embedded, TokenRole.ADMIN, "globex")
    assert "secretly" not in (await other.get("/keys")).text
    await other.get(place, 404)
    token["csrf"] = (await other.get("/keys")).form("/sign-out").fields["csrf"]
    for path in (f"{place}/rotate", f"{place}/revoke", "/keys"):
        await other.post(path, token, 404)
    for role in (TokenRole.FINANCE, TokenRole.VIEWER):
        for path in ("/keys", place):
            await visitor(embedded, role, "acme").get(path, 403)
    assert (await embedded.done("GET", place))["revoked_at"] is None


async def test_what_holds_a_key_is_said_in_words(embedded: Asking) -> None:
    """A budget without an amount, or one that counts each conversation apart, is not an unknown sum."""
    key = embedded.books.key("acme")
    budget = {"scope": "key", "key": key.id}
    await embedded.done("POST", "/budgets", budget | {"window": "month", "amount_usd": None})
    await embedded.done("POST", "/budgets", budget | {"window": "session", "amount_usd": "2"})
    await embedded.done("PUT", f"/limits/{key.id}/session_seconds", {"value": "1800"})
    shown = await visitor(embedded).get(f"/keys/{key.id}")
    assert "Budget by the month : $0.00 spent, no limit" in shown.text
    assert "Budget by the session : $2.00 for each conversation" in shown.text
    assert "Length of a conversation : 30 min 00 s" in shown.text and f"/limits/{key.id}" in shown.links
    assert "not rated yet" not in shown.html
