"""`/budgets`: what they come to, what cannot be set, and who was faster."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert

from proxy.core.usage import Meter
from proxy.store.database import writing
from proxy.store.schema import lease
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking

BUDGET: dict[str, Any] = {"scope": "tenant", "tenant": "acme", "window": "lifetime", "amount_usd": "50"}
RAISE: dict[str, Any] = {"amount_usd": "2", "until": "2099-01-01", "reason": "a fair"}


async def test_made_spent_changed_raised_and_deleted(api: Asking) -> None:
    key = api.books.key("acme")
    made = await api.twice("/budgets", BUDGET)
    assert (
        made.json.items()
        >= {
            "scope": "tenant",
            "tenant_id": key.tenant_id,
            "tenant": "acme",
            "project": None,
            "window": "lifetime",
            "zone": "UTC",
            "amount_nanousd": 50_000_000_000,
            "amount_usd": "50.000000000",
            "on_exhausted": "cut",
            "on_store_down": "terminate",
            "store_down_usd": "0.000000000",
            "thresholds": [50, 80, 100],
            "forecast_thresholds": [],
            "spent_nanousd": 0,
            "held_nanousd": 0,
            "left_usd": "50.000000000",
            "raises": [],
            "deleted_at": None,
        }.items()
    )
    api.books.open("s1", "acme")
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3})
    shown = await api("GET", made.place)
    assert (shown.json["spent_nanousd"], shown.json["left_usd"]) == (232_000, "49.999768000")
    assert shown.etag == made.etag, "spending changes no rule"
    tiny = {"amount_usd": "0.000000001", "thresholds": [90, 10, 90], "reason": "pilot"}
    changed = await api("PATCH", made.place, tiny, If_Match=made.etag)
    assert changed.json["id"] == made.json["id"] and changed.json["thresholds"] == [10, 90]
    assert (changed.json["amount_nanousd"], changed.json["left_usd"]) == (1, "-0.000231999")
    await api.refused(412, "Somebody else has changed it", "PATCH", made.place, tiny, If_Match=made.etag)
    await api.refused(428, "If-Match", "PATCH", made.place, tiny)
    raised = await api.twice(f"{made.place}/raises", RAISE)
    assert raised.status == 201 and raised.json["amount_nanousd"] == 1
    assert (raised.json["amount_now_nanousd"], raised.json["left_nanousd"]) == (2_000_000_001, 1_999_768_001)
    (one,) = raised.json["raises"]
    assert (one["amount_usd"], one["ends_at"]) == ("2.000000000", "2099-01-01T00:00:00Z")
    assert (one["actor"], one["reason"]) == ("api:admin-token", "a fair")
    await api.problem(412, "DELETE", made.place, If_Match=changed.etag)
    gone = await api.done("DELETE", made.place, If_Match=raised.etag, Talkmeter_Reason="over")
    assert gone["deleted_at"] and (await api.done("GET", "/budgets"))["data"] == []
    assert (await api.done("GET", made.place))["deleted_at"] == gone["deleted_at"]
    await api.refused(409, "is deleted: make a new one", "PATCH", made.place, tiny, If_Match="*")
    await api.refused(409, "is deleted: set one again", "POST", f"{made.place}/raises", RAISE)
    me, acts = "api:admin-token", [one for one in api.audit() if one[1].startswith("budget.")]
    said = [("set", None), ("set", "pilot"), ("raise", "a fair"), ("delete", "over")]
    assert acts == [(me, f"budget.{action}", reason) for action, reason in said]
    changing = (await api.acts())[2]
    assert (changing["object"], changing["tenant"]) == (made.json["id"], "acme")
    assert (changing["before"]["amount_usd"], changing["after"]["amount_usd"]) == (
        "50.000000000",
        "0.000000001",
    )


async def test_in_another_zone_it_is_another_budget_with_its_raises(api: Asking) -> None:
    api.books.key("acme")
    made = await api("POST", "/budgets", BUDGET | {"window": "month"})
    await api.done("POST", f"{made.place}/raises", RAISE)
    moved = await api("PATCH", made.place, {"zone": "Asia/Tokyo"}, If_Match="*")
    assert moved.json["id"] != made.json["id"] and moved.place.endswith(moved.json["id"])
    assert (moved.json["zone"], moved.json["amount_usd"]) == ("Asia/Tokyo", "50.000000000")
    assert moved.json["window_starts_at"].endswith("T15:00:00Z") and len(moved.json["raises"]) == 1
    assert (await api.done("GET", made.place))["deleted_at"] is not None
    assert [one["id"] for one in (await api.done("GET", "/budgets"))["data"]] == [moved.json["id"]]


async def test_whose_they_are(api: Asking) -> None:
    key = api.books.key("acme", "web")
    for change, told in (
        ({"scope": "organisation", "tenant": None}, {"tenant": None, "tenant_id": None}),
        ({"scope": "project", "project": "web"}, {"project": "web", "project_id": key.project_id}),
        ({"scope": "key", "key": key.id, "tenant": None}, {"key": "acme's key", "tenant": "acme"}),
        ({"scope": "end_user", "end_user": "zoë"}, {"end_user": "zoë", "spent_nanousd": 0}),
        ({"scope": "each_user"}, {"end_user": None, "spent_nanousd": None, "left_usd": None}),
        ({"window": "session"}, {"window_starts_at": None, "spent_nanousd": None}),
        ({"window": "day", "amount_usd": None}, {"amount_usd": None, "left_nanousd": None}),
    ):
        made = await api("POST", "/budgets", BUDGET | change)
        assert made.status == 201 and made.json.items() >= told.items(), (change, made)
        taken = f"There is such a budget already: change {made.json['id']}."
        await api.refused(409, taken, "POST", "/budgets", BUDGET | change)
    assert [len(page) for page in await api.pages("/budgets", 3, tenant="acme")] == [3, 3]


async def test_what_instances_hold(api: Asking) -> None:
    """Of the window that is now: leased by both, less what postings have taken."""
    api.books.key("acme")
    made = await api.done("POST", "/budgets", BUDGET | {"window": "day"})
    now = datetime.fromisoformat(made["window_starts_at"])
    with writing(api.engine) as connection:
        for instance_id, starts_at in (("i1", now), ("i2", now), ("i3", now - timedelta(days=1))):
            key = {"budget_id": made["id"], "subject": "", "starts_at": starts_at, "instance_id": instance_id}
            amounts = {"granted_nanousd": 700, "taken_nanousd": 200, "wanted": False}
            connection.execute(insert(lease).values(**key, **amounts))
    shown = await api.done("GET", f"/budgets/{made['id']}")
    assert (shown["held_nanousd"], shown["held_usd"]) == (1_000, "0.000001000")
    assert shown["left_nanousd"] == 50 * 10**9, "what is held is not spent"
    each = await api.done("POST", "/budgets", BUDGET | {"scope": "each_user"})
    assert (each["held_nanousd"], each["held_usd"]) == (None, None)


async def test_what_cannot_be_set(embedded: Asking) -> None:
    embedded.books.key("acme", "web")
    other = embedded.books.key("globex")
    for change, status, text in (
        ({"amount_usd": "-1"}, 422, "An amount is 0 (nothing may be spent) or more"),
        ({"amount_usd": "9223372036.854775808"}, 422, "not an amount that the ledger can hold"),
        ({"amount_usd": "0.0000000001"}, 422, "finer than a nano-dollar (nine decimals)"),
        ({"tenant": None}, 422, "the scope `tenant` needs a `tenant`"),
        ({"tenant": "nobody"}, 404, "no tenant 'nobody'"),
        ({"scope": "organisation"}, 422, "counts all tenants: leave `tenant` out"),
        ({"scope": "project"}, 422, "`project` belongs to the scope `project`, and only to that"),
        ({"project": "web"}, 422, "`project` belongs to the scope `project`, and only to that"),
        ({"scope": "project", "project": "ios"}, 404, "no project 'ios'"),
        ({"scope": "key", "key": "key_0"}, 404, "no key 'key_0'"),
        ({"scope": "key", "key": other.id}, 422, f"Key {other.id} is of another tenant"),
        ({"zone": "Mars"}, 422, "'Mars' is not a time zone: use a name such as Europe/Berlin"),
        ({"thresholds": [0]}, 422, "#/thresholds/0"),
        ({"thresholds": list(range(1, 12))}, 422, "#/thresholds"),
        ({"window": "day", "forecast_thresholds": [90]}, 422, "windows of a week, month, quarter"),
        ({"on_store_down": "continue"}, 422, "a budget needs an amount that may be spent so"),
        ({"reason": "a\u202eb"}, 422, "printable characters"),
    ):
        await embedded.refused(status, text, "POST", "/budgets", BUDGET | change)
    ours = BUDGET | {"scope": "organisation", "tenant": None}
    confined = embedded.token(TokenRole.ADMIN, "acme")
    await embedded.refused(403, "not for tokens that are confined", "POST", "/budgets", ours, token=confined)
    assert (await embedded.done("GET", "/budgets"))["data"] == []
    made = (await embedded("POST", "/budgets", BUDGET)).place
    free = (await embedded("POST", "/budgets", BUDGET | {"window": "day", "amount_usd": None})).place
    for path, change, status, text in (
        (made, {"amount_usd": "0"}, 422, "A raise is more than 0"),
        (made, {"until": "2020-01-01"}, 422, "in the future"),
        (made, {"from": "2099-01-02"}, 422, "ends after it starts"),
        (made, {"reason": " "}, 422, "say why it is granted"),
        (made, {"amount_usd": "9223372036"}, 422, "more than nine billion dollars: lower it"),
        (free, {}, 409, "is unlimited: there is nothing to raise"),
    ):
        await embedded.refused(status, text, "POST", f"{path}/raises", RAISE | change)
    assert (await embedded.done("GET", made))["raises"] == []
