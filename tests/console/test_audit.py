"""The audit log: what was before and after side by side, filters by URL, ways to what acts are about."""

from datetime import UTC, datetime, timedelta

from proxy.console.pages.audit import Changed, compared, place_of
from proxy.store.audit import Act
from proxy.store.database import writing
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import Shown, visitor

DAY = timedelta(days=1)


def rows(shown: Shown) -> int:
    return shown.html.count('<th scope="row">')


async def test_acts_with_what_they_changed(api: Asking) -> None:
    key = api.books.key("acme")
    made = await api.done(
        "POST", "/budgets", {"scope": "tenant", "tenant": "acme", "window": "month", "amount_usd": "50"}
    )
    etag = (await api("GET", f"/budgets/{made['id']}")).etag
    why = "a fair"
    await api.done("PATCH", f"/budgets/{made['id']}", {"amount_usd": "75", "reason": why}, If_Match=etag)
    ann = visitor(api)
    shown = await ann.get("/audit")
    acts = (await api.done("GET", "/audit"))["data"]
    assert rows(shown) == len(acts)
    for one in acts:
        assert one["actor"] in shown.text and one["action"] in shown.text and one["object"] in shown.text
    assert "amount usd 50.000000000 → 75.000000000 a fair" in shown.text
    assert "nanousd" not in shown.text, "amounts once, in dollars"
    for place in (f"/budgets/{made['id']}", f"/keys/{key.id}", f"/tenants/{key.tenant_id}"):
        assert place in shown.links


async def test_every_filter(api: Asking) -> None:
    acme = api.books.key("acme")
    api.books.key("globex")
    await api.done("POST", "/tenants", {"name": "initech"})
    ann = visitor(api)
    tomorrow = f"{datetime.now(UTC) + DAY:%Y-%m-%d}"
    for query, params in (
        ("tenant=acme", {"tenant": "acme"}),
        ("actor=test", {"actor": "test"}),
        ("actor=user%3A*", {"actor": "user:*"}),
        ("action=tenant.create", {"action": "tenant.create"}),
        ("action=key.*", {"action": "key.*"}),
        (f"object={acme.id}", {"object": acme.id}),
        ("from=2026-11-24", {"from": "2026-11-24"}),
        ("to=2026-11-24", {"to": "2026-11-24"}),
        ("tenant=globex&action=key.*", {"tenant": "globex", "action": "key.*"}),
    ):
        found = (await api.done("GET", "/audit", params=params))["data"]
        shown = await ann.get(f"/audit?{query}")
        assert rows(shown) == len(found) > 0, query
        kept = shown.form("/audit").fields
        assert {name: kept[name] for name in params} == params
    empty = await ann.get(f"/audit?from={tomorrow}")
    assert "Nothing was done like that" in empty.text
    for query, status in (("tenant=nobody", 404), ("from=soon", 422), (f"actor={'x' * 300}", 422)):
        name, _, value = query.partition("=")
        assert (await ann.get(f"/audit?{query}", status)).form("/audit").fields[name] == value


async def test_the_newest_first_in_pages(embedded: Asking) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with writing(embedded.engine) as connection:
        for number in range(51):
            Act("test", start + number * DAY).note(connection, f"act.{number}", "o")
    ann = visitor(embedded)
    first = await ann.get("/audit?actor=test")
    (following,) = {link for link in first.links if "after=" in link}
    second = await ann.get(following)
    assert (rows(first), rows(second)) == (50, 1) and "actor=test" in following
    assert first.text.index("act.50") < first.text.index("act.49") and "act.0" in second.text
    narrowed = [link for link in second.links if "action=act.0" in link]
    assert narrowed and "after" not in narrowed[0]


async def test_hostile_text_is_text(embedded: Asking) -> None:
    fields = {HOSTILE: HOSTILE, "long": "x" * 3_000, "list": [HOSTILE], "deep": {"a": [1, None]}}
    with writing(embedded.engine) as connection:
        act = Act(f"user:{HOSTILE}", datetime.now(UTC), HOSTILE.replace("\u05d0", "a"))
        act.note(connection, "act.hostile", f"bud_{HOSTILE}/../..", before=fields, after={"list": []})
    shown = await visitor(embedded).get("/audit")
    assert HOSTILE in shown.text and "<script>alert" not in shown.html and "x" * 2_001 not in shown.html
    assert (
        "/budgets/bud_%3Cscript%3E" in shown.html
        and "/../" not in shown.html.partition('href="/budgets/')[2].partition('"')[0]
    )


async def test_who_may(embedded: Asking) -> None:
    acme, globex = (embedded.books.key(name) for name in ("acme", "globex"))
    for role in (TokenRole.ADMIN, TokenRole.FINANCE, TokenRole.AUDITOR):
        shown = await visitor(embedded, role, "globex").get("/audit")
        assert globex.id in shown.text and acme.id not in shown.text
        await visitor(embedded, role, "globex").get("/audit?tenant=acme", 404)
    await visitor(embedded, TokenRole.VIEWER, "acme").get("/audit", 403)


def test_compared() -> None:
    before = {"amount_nanousd": 5, "amount_usd": "5.00", "name": "a", "gone": True, "none": None}
    after = {"amount_nanousd": 6, "amount_usd": "6.00", "name": "a", "new_nanousd": 7, "none": None}
    assert compared(before, after) == [
        Changed("amount_usd", "5.00", "6.00"),
        Changed("name", "a", "a"),
        Changed("gone", "true", None),
        Changed("none", None, None),
        Changed("new_nanousd", None, "7"),
    ]
    assert [one.is_same for one in compared(before, after)] == [False, True, False, True, False]
    assert compared(None, None) == []


def test_where_things_are() -> None:
    for action, thing, place in (
        ("budget.set", "bud_1", "/budgets/bud_1"),
        ("limit.set", "key_1", "/keys/key_1"),
        ("session.stop", "s1", "/sessions/s1"),
        ("prices.import", "3 rate cards", None),
        ("approval.reject", "apr 1", "/approvals/apr%201"),
        ("webhook.test", "whk_1", "/webhooks/whk_1"),
        ("report.save", "rep_1", "/reports/saved/rep_1"),
        ("schedule.run", "sch_1", "/reports/schedules/sch_1"),
    ):
        assert place_of(action, thing)[0] == (place or "")
