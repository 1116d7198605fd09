"""Tenants and projects: the API's figures, and writes that are done once and by whom they should."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from proxy.console.figures import usd
from proxy.console.pages.keys import PAGE_ROWS
from proxy.console.pages.tenants import basis_points
from proxy.core.usage import Meter
from proxy.store.database import writing
from proxy.store.schema import live_session
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.visiting import Shown, visitor

HOSTILE = "<script>alert(1)</script>\"'><b>\u05d0\u05d1 & {{ 7*7 }}"


def spend(api: Asking) -> str:
    """Let acme spend this month, in two projects, and one of its sessions go on; globex does not.

    Return the month.
    """
    now = datetime.now(UTC)
    for session, project in (("s1", "web"), ("s2", "ios")):
        api.books.open(session, "acme", project, at=now)
        api.books.bill(session, f"{session}-r", {Meter.TEXT_IN: 50_000, Meter.AUDIO_OUT: 7_000}, at=now)
    api.books.bill("s2", "s2-more", {Meter.TEXT_IN: 1_000}, at=now)
    api.books.key("globex")
    live = {
        "session_id": "s1",
        "instance_id": "i1",
        "seen_at": now,
        "cost_nanousd": 5,
        "responses": 1,
    }
    with writing(api.engine) as connection:
        connection.execute(insert(live_session).values(live))
    return f"{now:%Y-%m}"


async def test_each_tenant_with_this_months_spend_and_its_live_sessions(api: Asking) -> None:
    month = spend(api)
    await api.done("POST", "/markups", {"basis_points": 1_000, "from": "2020-01-01"})
    shown = await visitor(api).get("/tenants")
    costs = await api.done("GET", "/reports/costs", params={"period": month, "group_by": "tenant"})
    (row,) = costs["rows"]
    assert row["tenant"] == "acme" and row["cost_nanousd"] > 0
    assert f'value="{row["cost_usd"]}"' in shown.html and usd(row["cost_nanousd"]) in shown.text
    tenants = (await api.done("GET", "/tenants"))["data"]
    for one in tenants:
        assert f"/tenants/{one['id']}" in shown.links
    assert shown.html.count("<tr>") == 1 + len(tenants) and "/live?tenant=acme" in shown.links
    assert f"Cost in {month}" in shown.text and "acme active" in shown.text


async def test_one_tenant_with_all_that_is_its_own(api: Asking) -> None:
    month = spend(api)
    budget = {"scope": "tenant", "tenant": "acme", "window": "month", "amount_usd": "50"}
    await api.done("POST", "/budgets", budget)
    key = api.books.key("acme", "web")
    shown = await visitor(api).get(f"/tenants/{key.tenant_id}")
    params = {"period": month, "group_by": "project", "tenant": "acme"}
    for row in (await api.done("GET", "/reports/costs", params=params))["rows"]:
        assert row["project"] in shown.text and f'value="{row["cost_usd"]}"' in shown.html
    for place in ("budgets", "limits", "sessions", "statements", "alerts", "audit", "reports"):
        assert f"/{place}?tenant=acme" in shown.links
    assert f"/keys/{key.id}" in shown.links and "/keys/new?tenant=acme" in shown.links
    assert "globex" not in shown.html
    project = await visitor(api).get(f"/projects/{key.project_id}")
    params |= {"group_by": "model", "project": "web"}
    (row,) = (await api.done("GET", "/reports/costs", params=params))["rows"]
    assert f'value="{row["cost_usd"]}"' in project.html and row["model"] in project.text


async def test_a_tenant_of_many_keys_shows_the_first_and_the_way_to_all(embedded: Asking) -> None:
    await embedded.done("POST", "/tenants", {"name": "acme"})
    wanted = {"tenant": "acme", "project": "web"}
    keys = [await embedded.done("POST", "/keys", wanted) for _ in range(PAGE_ROWS + 1)]
    other = await embedded.done("POST", "/keys", wanted | {"project": "ios"})
    *first, last = (key["id"] for key in keys)
    project = keys[0]["project_id"]
    person = visitor(embedded)
    for page, all_of_them, rest in (
        (f"/tenants/{other['tenant_id']}", "/keys?tenant=acme", {last, other["id"]}),
        (f"/projects/{project}", f"/keys?tenant=acme&project={project}", {last}),
    ):
        shown = await person.get(page)
        assert keys_on(shown) == {*first} and all_of_them in shown.links
        listed = await person.get(all_of_them)
        (following,) = (link for link in listed.links if "after=" in link)
        assert keys_on(listed) == {*first} and keys_on(await person.get(following)) == rest
    few = await person.get(f"/projects/{other['project_id']}")
    assert keys_on(few) == {other["id"]} and not any(link.startswith("/keys?") for link in few.links)
    assert "There is no project" in (await person.get("/keys?project=prj_nobodys", 404)).text


def keys_on(shown: Shown) -> set[str]:
    return {link.removeprefix("/keys/") for link in shown.links if link.startswith("/keys/key_")}


async def test_nothing_there_says_what_to_do(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/tenants")
    assert "There is no tenant yet" in shown.text and "Create one below" in shown.text


async def test_a_tenant_and_its_project_are_made_once_and_archived(api: Asking) -> None:
    ann = visitor(api)
    form = (await ann.get("/tenants")).form("/tenants")
    made = await ann.submit(form, name="acme")
    assert (await ann.submit(form, name="acme")).place == made.place
    page = await ann.get(made.place)
    tenant = made.place.removeprefix("/tenants/")
    project = page.form(f"{made.place}/projects")
    for _ in range(2):
        assert (await ann.submit(project, name="web")).place == made.place
    (found,) = (await api.done("GET", "/projects"))["data"]
    shown = await ann.get(f"/projects/{found['id']}")
    await ann.submit(shown.form(f"/projects/{found['id']}/archive"), reason="over")
    page = await ann.get(made.place)
    form = page.form(f"{made.place}/archive")
    stale = await ann.submit(form, 412, etag='"other"')
    assert "Somebody else has changed it" in stale.text
    assert (await ann.submit(form, reason="they left")).place == "/tenants"
    (one,) = (await api.done("GET", "/tenants"))["data"]
    assert one["archived_at"] is not None and one["id"] == tenant
    archived = await ann.get(made.place)
    assert "This tenant is archived" in archived.text
    assert not [one for one in archived.forms if one.action.startswith("/tenants")]
    acts = [(one["actor"], one["action"], one["reason"]) for one in await api.acts()]
    who = "user:admin@example.com"
    assert [one for one in acts if one[1] != "sign_in.begin"] == [
        (who, "tenant.archive", "they left"),
        (who, "project.archive", "over"),
        (who, "project.create", None),
        (who, "tenant.create", None),
    ]


async def test_a_markup_from_an_instant_on(embedded: Asking) -> None:
    key = embedded.books.key("acme")
    ann, place = visitor(embedded), f"/tenants/{key.tenant_id}"
    form = (await ann.get(place)).form(f"{place}/markups")
    wrong = await ann.submit(form, 422, percent="much", reason="a letter")
    assert "write a percentage, such as 15 or -2.5" in wrong.text
    kept = wrong.form(f"{place}/markups").fields
    assert (kept["percent"], kept["reason"]) == ("much", "a letter")
    await ann.submit(form, 303, percent="-2.5", reason="a letter", **{"from": "2027-01-01"})
    await ann.submit(form, 303, percent="-2.5", reason="a letter", **{"from": "2027-01-01"})
    (one,) = (await embedded.done("GET", "/markups", params={"tenant": "acme"}))["data"]
    assert (one["basis_points"], one["effective_from"]) == (-250, "2027-01-01T00:00:00Z")
    assert one["percent"] in (await ann.get(place)).text
    act = (await embedded.acts())[0]
    assert (act["actor"], act["action"], act["reason"]) == (
        "user:admin@example.com",
        "markup.set",
        "a letter",
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("15", 1_500), ("15 %", 1_500), ("-2.5", -250), ("0", 0), ("0.01", 1)]
)
def test_percent(text: str, expected: int) -> None:
    assert basis_points(text) == expected


async def test_hostile_names_are_text_and_bad_ones_are_kept(embedded: Asking) -> None:
    ann = visitor(embedded)
    form = (await ann.get("/tenants")).form("/tenants")
    made = await ann.submit(form, name=HOSTILE)
    project = (await ann.get(made.place)).form(f"{made.place}/projects")
    await ann.submit(project, name=HOSTILE)
    for path in ("/tenants", made.place):
        shown = await ann.get(path)
        assert HOSTILE in shown.text and "<script>alert" not in shown.html and "<b>\u05d0" not in shown.html
    form = (await ann.get("/tenants")).form("/tenants")
    for name in ("x" * 2_000, "a\u202eb", ""):
        shown = await ann.submit(form, 422, name=name)
        assert shown.form("/tenants").fields["name"] == name
    assert "is never used twice" in shown.text
    again = await ann.submit((await ann.get("/tenants")).form("/tenants"), 409, name=HOSTILE)
    assert "There is a tenant" in again.text and again.form("/tenants").fields["name"] == HOSTILE


async def test_who_may(embedded: Asking) -> None:
    acme, globex = (embedded.books.key(name, "web") for name in ("acme", "globex"))
    now = datetime.now(UTC)
    embedded.books.open("s1", "acme", "web", at=now)
    embedded.books.bill("s1", "r1", {Meter.TEXT_IN: 50_000}, at=now)
    for role in (TokenRole.ADMIN, TokenRole.FINANCE, TokenRole.AUDITOR):
        for who, is_own in (
            (visitor(embedded, role, "acme"), True),
            (visitor(embedded, role, "globex"), False),
        ):
            status = 200 if is_own else 404
            for path in (f"/tenants/{acme.tenant_id}", f"/projects/{acme.project_id}"):
                shown = await who.get(path, status)
                assert ("acme" in shown.text.replace(f"{role} · acme", "")) is is_own
                may_write = role is TokenRole.ADMIN and is_own
                assert any("archive" in one.action for one in shown.forms) is may_write
            listed = await who.get("/tenants")
            assert ("globex" in listed.text) is not is_own
            assert not [one for one in listed.forms if one.action == "/tenants"], "of the installation"
    viewer = visitor(embedded, TokenRole.VIEWER, "acme")
    for path in ("/tenants", f"/tenants/{acme.tenant_id}", f"/projects/{acme.project_id}"):
        await viewer.get(path, 403)
    finance = visitor(embedded, TokenRole.FINANCE)
    token = {"csrf": (await finance.get("/tenants")).form("/sign-out").fields["csrf"], "name": "x"}
    for path in ("/tenants", f"/tenants/{acme.tenant_id}/archive", f"/tenants/{acme.tenant_id}/markups"):
        await finance.post(path, token, 403)
    assert globex.tenant_id != acme.tenant_id and len((await embedded.done("GET", "/tenants"))["data"]) == 2
