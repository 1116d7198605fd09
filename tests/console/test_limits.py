"""Limits and rules about models: what is set, in words, and setting, changing and removing them."""

import pytest

from proxy.console.limit_words import LIMITS, UNITS
from proxy.console.pages import limits as pages
from proxy.core.limits import LimitName, Unit
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.visiting import visitor

HOSTILE = "<script>alert(1)</script>\"'"


def test_every_limit_has_words() -> None:
    assert LIMITS.keys() == set(LimitName) and UNITS.keys() == set(Unit)


async def acts(api: Asking) -> list[tuple[str, str, str | None]]:
    rows = [one for one in await api.acts() if one["action"].split(".")[0] in ("limit", "model")]
    return [(one["actor"], one["action"], one["reason"]) for one in rows]


async def test_what_is_set_and_off(api: Asking) -> None:
    key = api.books.key("acme", "web")
    other = api.books.key("globex")
    for owner, name, value in (
        (key.tenant_id, "session_seconds", "1800"),
        (key.tenant_id, "minute_cost", "0.25"),
        (key.tenant_id, "idle_seconds", "0.5"),
        (key.id, "sessions", "12000"),
        (other.tenant_id, "self_talk", "7"),
    ):
        await api.done("PUT", f"/limits/{owner}/{name}", {"value": value})
    await api.done("PUT", f"/models/{key.tenant_id}/gpt-realtime*", {"allowed": True})
    await api.done("PUT", f"/models/{key.id}/org%2Fmini", {"allowed": False})
    admin = visitor(api)
    everything = await admin.get("/limits")
    for said in ("30 min 00 s", "$0.25", "0.5 s", "12,000", "Answers in a row", "gpt-realtime*", "org/mini"):
        assert said in everything.text, said
    only = await admin.get("/limits?tenant=globex")
    assert "Answers in a row" in only.text and "$0.25" not in only.text
    assert f"/limits/{other.id}" in only.links and f"/limits/{key.id}" not in only.links
    own = await admin.get(f"/limits/{key.tenant_id}")
    assert "Limits of acme" in own.text and "Cost within a minute" in own.text
    assert own.html.count(">off<") == len(LimitName) - 3
    assert "gpt-realtime* allowed" in own.text and "org/mini" not in own.text
    keys = await admin.get(f"/limits/{key.id}")
    assert "Limits of acme, key acme's key" in keys.text and "The tenant's" in keys.text
    assert "12,000" in keys.text and "$0.25" in keys.text and "org/mini denied" in keys.text
    assert f"/limits/{key.id}/models?model=org%2Fmini" in keys.links


async def test_nothing_is_set(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/limits")
    assert "No limit is set" in shown.text and "Every model with a price may be used" in shown.text


async def test_long_lists_have_pages(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROWS", 2)
    owner = embedded.books.key("acme").tenant_id
    for name in ("responses", "self_talk", "sessions"):
        await embedded.done("PUT", f"/limits/{owner}/{name}", {"value": "3"})
        await embedded.done("PUT", f"/models/{owner}/{name}", {"allowed": False})
    admin = visitor(embedded)
    first = await admin.get("/limits?tenant=acme")
    (more,) = [link for link in first.links if "&after=" in link]
    (more_rules,) = [link for link in first.links if "models_after=" in link]
    second = await admin.get(more)
    assert "Conversations at the same time" in second.text and "Answers in a row" not in second.text
    assert "/limits?tenant=acme" in second.links
    rules = await admin.get(more_rules)
    assert "sessions denied" in rules.text and "responses denied" not in rules.text


async def test_a_limit_is_set_changed_and_removed(api: Asking) -> None:
    owner = api.books.key("acme").tenant_id
    admin, place = visitor(api), f"/limits/{owner}/session_cost"
    assert place in (await admin.get(f"/limits/{owner}")).links
    form = (await admin.get(place)).form(place)
    for _ in range(2):  # sent twice it is set once
        assert (await admin.submit(form, value="$0.50", reason="pilot")).place == f"/limits/{owner}"
    assert (await api.done("GET", place))["value"] == "0.500000000"
    stale = await admin.submit(form, 428, value="0.7")
    assert "Cost of a conversation $0.50 0.7" in stale.text and stale.form(place).fields["value"] == "0.7"
    form = (await admin.get(place)).form(place)
    assert form.fields["value"] == "0.5"
    await admin.submit(form, value="1")
    older = await admin.submit(form, 412, value="2")
    assert "Cost of a conversation $1.00 2" in older.text
    await admin.submit(older.form(place))  # again, and so in spite of that
    assert (await api.done("GET", place))["value"] == "2.000000000"
    page = await admin.get(place)
    assert (await admin.submit(page.form(f"{place}/remove"), reason="over")).place == f"/limits/{owner}"
    await admin.submit(page.form(f"{place}/remove"), 404)
    assert (await api.done("GET", "/limits"))["data"] == []
    gone = await admin.submit(older.form(place), 412, value="3")
    assert "Somebody else has removed it meanwhile" in gone.text and "sets it anew" in gone.text
    await admin.submit(gone.form(place))
    assert (await api.done("GET", place))["value"] == "3.000000000"
    me = "user:admin@example.com"
    assert await acts(api) == [
        (me, "limit.set", None),
        (me, "limit.remove", "over"),
        (me, "limit.set", None),
        (me, "limit.set", None),
        (me, "limit.set", "pilot"),
    ]


async def test_what_cannot_be_set_is_told_at_its_field(embedded: Asking) -> None:
    owner = embedded.books.key("acme").tenant_id
    admin, place = visitor(embedded), f"/limits/{owner}/idle_seconds"
    form = (await admin.get(place)).form(place)
    for value, text in (
        ("", "should have at least 1 character"),
        ("0", "give a value above 0"),
        ("a while", "is not a number of seconds"),
        ("0.0001", "at most three decimals"),
        (HOSTILE, "is not a number of seconds"),
        ("9" * 2_000, "at most 30 characters"),
    ):
        shown = await admin.submit(form, 422, value=value)
        assert text in shown.text and shown.form(place).fields["value"] == value, (value, shown.text)
        assert "<script>alert" not in shown.html
    await admin.get(f"/limits/{owner}/patience", 404)
    await admin.get("/limits/ten_0/idle_seconds", 404)
    await admin.get("/limits/ten_0", 404)


async def test_a_rule_about_a_model(api: Asking) -> None:
    key = api.books.key("acme")
    admin, place = visitor(api), f"/limits/{key.id}/models"
    form = (await admin.get(place)).form(place)
    assert "Say which model" in (await admin.submit(form, 422)).text
    wild = await admin.submit(form, 422, model="*gpt")
    assert "stands at the end" in wild.text and 'value="*gpt"' in wild.html
    for _ in range(2):
        assert (await admin.submit(form, model="org/mini*", allowed="no")).place == f"/limits/{key.id}"
    contrary = await admin.submit(form, 428, model="org/mini*", allowed="yes")
    assert 'value="org/mini*"' in contrary.html
    (rule,) = (await api.done("GET", "/models"))["data"]
    assert (rule["model"], rule["allowed"], rule["owner_id"]) == ("org/mini*", False, key.id)
    page = await admin.get(f"{place}?model=org%2Fmini*")
    change = page.form(place)
    assert change.fields["allowed"] == "no"
    await admin.submit(change, allowed="yes", reason="cheaper now")
    older = await admin.submit(change, 412, allowed="no")
    assert "org/mini* allowed denied" in older.text
    await admin.submit(older.form(place), reason="no, it is not")
    page = await admin.get(f"{place}?model=org%2Fmini*")
    await admin.submit(page.form(f"{place}/remove"), reason="over")
    assert (await api.done("GET", "/models"))["data"] == []
    me = "user:admin@example.com"
    assert await acts(api) == [
        (me, "model.remove", "over"),
        (me, "model.deny", "no, it is not"),
        (me, "model.allow", "cheaper now"),
        (me, "model.deny", None),
    ]


async def test_who_may(embedded: Asking) -> None:
    key = embedded.books.key("acme")
    embedded.books.key("globex")
    await embedded.done("PUT", f"/limits/{key.id}/sessions", {"value": "44"})
    await embedded.done("PUT", f"/models/{key.id}/mini", {"allowed": False})
    places = [f"/limits/{key.tenant_id}", f"/limits/{key.id}"]
    forms = [f"/limits/{key.id}/sessions", f"/limits/{key.id}/models", f"/limits/{key.id}/models?model=mini"]
    for role in (TokenRole.FINANCE, TokenRole.AUDITOR):
        reader = visitor(embedded, role)
        assert "44" in (await reader.get("/limits?tenant=acme")).text
        for place in places:
            shown = await reader.get(place)
            assert "Set" not in shown.text.split() and "Add a rule" not in shown.text
        for place in forms:
            await reader.get(place, 403)
    for place in ("/limits", *places):
        await visitor(embedded, TokenRole.VIEWER, "acme").get(place, 403)
    other = visitor(embedded, TokenRole.ADMIN, "globex")
    for place in ("/limits?tenant=acme", *places, *forms):
        await other.get(place, 404)
    shown = await other.get("/limits")
    assert "acme" not in shown.text and "44" not in shown.text
    await visitor(embedded, TokenRole.FINANCE, "globex").get(f"/limits/{key.id}", 404)


async def test_names_are_shown_as_text(embedded: Asking) -> None:
    owner = embedded.books.key(HOSTILE).tenant_id
    await embedded.done("PUT", f"/models/{owner}/%3Cscript%3Ealert(1)%3C%2Fscript%3E", {"allowed": False})
    await embedded.done("PUT", f"/limits/{owner}/sessions", {"value": "4"})
    admin = visitor(embedded)
    places = ("/limits", f"/limits/{owner}", f"/limits/{owner}/sessions")
    for place in (*places, f"/limits/{owner}/models?model=%3Cscript%3Ealert(1)%3C%2Fscript%3E"):
        html = (await admin.get(place)).html
        assert "<script>alert" not in html and "&lt;script&gt;alert" in html, place
