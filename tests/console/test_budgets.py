"""Budgets: the tree, one of them, and setting, changing, raising and deleting them."""

import asyncio
import threading
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from proxy.clock import utc_now
from proxy.console.budget_forms import instant_text
from proxy.console.pages import budgets
from proxy.core.budgets import EPOCH
from proxy.core.usage import Meter
from proxy.store import budgets as store
from proxy.store.budgets import raise_budget
from proxy.store.database import writing
from proxy.store.schema import lease
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.visiting import Visitor, visitor

TENANT: dict[str, Any] = {"scope": "tenant", "tenant": "acme", "window": "month", "amount_usd": "50"}
HOSTILE = "<script>alert(1)</script>\"' onload=x \u202e"


async def make(api: Asking, **changes: Any) -> Any:
    api.books.key("acme", "web")
    return await api.done("POST", "/budgets", {**TENANT, **changes})


def spend(api: Asking, session_id: str, tokens: int, tenant: str = "acme", days: int = 0) -> None:
    """Spend 24,000 nano-dollars for each token."""
    at = utc_now() - timedelta(days=days)
    api.books.open(session_id, tenant, "web", at=at, end_user="zoë")
    api.books.bill(session_id, f"{session_id}-r", {Meter.TEXT_OUT: tokens}, at=at)


async def acts(api: Asking, action: str) -> list[tuple[str, str | None]]:
    return [(one["actor"], one["reason"]) for one in await api.acts() if one["action"] == action]


# --- The tree


async def test_the_tree_with_what_is_used_held_and_left(api: Asking) -> None:
    key = api.books.key("acme", "web")
    for change in (
        {"scope": "organisation", "tenant": None, "amount_usd": "1000", "on_exhausted": "notify"},
        {"window": "lifetime", "amount_usd": "2"},
        {"scope": "project", "project": "web"},
        {"scope": "key", "key": key.id, "tenant": None, "amount_usd": None},
        {"scope": "end_user", "end_user": "zoë"},
        {"scope": "each_user", "window": "day", "amount_usd": "0.5"},
    ):
        made = await make(api, **change)
        if change.get("window") == "lifetime":
            held = {"granted_nanousd": 300_000_000, "taken_nanousd": 0, "wanted": False}
            key_of = {"budget_id": made["id"], "instance_id": "i2", "subject": "", "starts_at": EPOCH}
            with writing(api.engine) as connection:
                connection.execute(insert(lease).values(**key_of, **held))
    api.books.key("globex", "ios")
    await api.done("POST", "/budgets", TENANT | {"scope": "project", "tenant": "globex", "project": "ios"})
    spend(api, "s1", 50_000)  # $1.20
    shown = await visitor(api).get("/budgets")
    table = shown.html[shown.html.index("<tbody>") :]
    own = ("All tenants", "acme", "Project web", "Key acme&#39;s key", "Every user, each", "User zoë")
    places = [table.index(f">{name}</") for name in (*own, "globex", "Project ios")]
    assert places == sorted(places)
    assert 'class="depth-3"' in shown.html, "the key lies below its project"
    assert "$1.20 of $2.00 , $0.30 held $0.50 left" in shown.text
    assert "$1.20 spent, no limit" in shown.text and "$0.50 for each user, counted apart" in shown.text
    assert "globex no budget of its own" in shown.text
    assert "Only announces it" in shown.text
    only = await visitor(api).get("/budgets?tenant=globex")
    assert "Project ios" in only.text and "Project web" not in only.text
    assert "/budgets/new?tenant=globex" in only.links


async def test_nothing_is_set(embedded: Asking) -> None:
    assert "/budgets/new" in (await visitor(embedded).get("/budgets")).links
    shown = await visitor(embedded, TokenRole.AUDITOR).get("/budgets")
    assert "No budget is set" in shown.text and "/budgets/new" not in shown.links


async def test_long_trees_have_pages(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "LINES_MAX", 2)
    for window in ("hour", "day", "month"):
        await make(embedded, window=window)
    first = await visitor(embedded).get("/budgets?tenant=acme")
    assert "/budgets?tenant=acme&page=2" in first.links
    second = await visitor(embedded).get("/budgets?tenant=acme&page=2")
    assert "/budgets?tenant=acme" in second.links and "page=3" not in second.html
    monkeypatch.setattr(budgets, "BUDGETS_MAX", 2)
    assert "and there are more: choose a tenant" in (await visitor(embedded).get("/budgets")).text


# --- One budget


async def test_one_budget_in_words(api: Asking) -> None:
    made = await make(api, on_exhausted="block", thresholds=[50, 90], zone="Europe/Berlin")
    spend(api, "s1", 1_000_000)  # $24
    spend(api, "s2", 500)
    shown = await visitor(api).get(f"/budgets/{made['id']}")
    assert "Budget of acme" in shown.text and "$50.00 a month" in shown.text
    assert "$24.01 of $50.00" in shown.text and "$25.99 left" in shown.text
    assert "No new conversations and answers; what is being spoken finishes" in shown.text
    assert "50 %, 90 %" in shown.text and "Europe/Berlin" in shown.text
    starts, ends = (
        datetime.fromisoformat(made[f"window_{name}_at"]).astimezone(ZoneInfo("Europe/Berlin"))
        for name in ("starts", "ends")
    )
    assert f"{starts:%Y-%m-01 00:00} to {ends:%Y-%m-01 00:00} , Europe/Berlin" in shown.text
    assert "Window from, Europe/Berlin" in shown.text and f"{starts:%Y-%m-01 00:00} $24.01" in shown.text
    told = await api.done(
        "GET", "/budgets/history",
        params={"tenant": "acme", "window": "month", "zone": "Europe/Berlin", "amount_usd": "20"},
    )  # fmt: skip
    asked = await visitor(api).get(f"/budgets/{made['id']}?amount=20")
    months = f"{told['windows_over']} of {told['windows']} month"
    assert f"With $20.00 a month: {months}" in asked.text
    assert "and 1 of 2 conversations would have been over." in asked.text
    assert "/sessions/s1" in asked.links
    wrong = await visitor(api).get(f"/budgets/{made['id']}?amount=lots", 422)
    assert 'value="lots"' in wrong.html and "not an amount in dollars" in wrong.text
    forecast = (await api.done("GET", "/reports/forecast", params={"tenant": "acme"}))["data"][0]
    assert forecast["budget_id"] == made["id"]
    await visitor(api).get("/budgets/bud_0", 404)


async def test_who_may(embedded: Asking) -> None:
    made = await make(embedded)
    one = f"/budgets/{made['id']}"
    for role in (TokenRole.FINANCE, TokenRole.AUDITOR):
        reader = visitor(embedded, role)
        shown = await reader.get(one)
        assert "Change" not in shown.text and not [form for form in shown.forms if form.method == "post"][1:]
        for path in ("/budgets/new", "/budgets/preview", f"{one}/edit", f"{one}/raise"):
            await reader.get(path, 403)
    viewer = visitor(embedded, TokenRole.VIEWER, "acme")
    for path in ("/budgets", one):
        assert "50" not in (await viewer.get(path, 403)).text
    embedded.books.key("globex")
    other = visitor(embedded, TokenRole.ADMIN, "globex")
    for path in (one, f"{one}/edit", f"{one}/raise", "/budgets?tenant=acme"):
        await other.get(path, 404)
    assert "acme" not in (await other.get("/budgets")).text


# --- Setting one


async def test_a_tenants_budget_takes_three_clicks(api: Asking) -> None:
    api.books.key("acme")
    admin = visitor(api)
    tree = await admin.get("/budgets?tenant=acme")
    assert "/budgets/new?tenant=acme" in tree.links
    form = (await admin.get("/budgets/new?tenant=acme")).form("/budgets")
    assert (form.fields["scope"], form.fields["tenant"], form.fields["window"]) == ("tenant", "acme", "month")
    done = await admin.submit(form, amount="50")
    again = await admin.submit(form, amount="50")
    assert done.place == again.place, "sent twice it is made once"
    (made,) = (await api.done("GET", "/budgets"))["data"]
    assert done.place == f"/budgets/{made['id']}" and made["amount_usd"] == "50.000000000"
    assert (made["thresholds"], made["on_exhausted"], made["zone"]) == ([50, 80, 100], "cut", "UTC")
    assert await acts(api, "budget.set") == [("user:admin@example.com", None)]
    taken = await admin.submit(
        (await admin.get("/budgets/new?tenant=acme")).form("/budgets"), 409, amount="7"
    )
    assert "There is such a budget already" in taken.text and 'value="7"' in taken.html


async def test_everything_that_can_be_set(embedded: Asking) -> None:
    key = embedded.books.key("acme", "web")
    admin = visitor(embedded)
    common = {"amount": "$0.5", "window": "day"}
    for fields, told in (
        ({"scope": "organisation", "tenant": ""}, {"tenant": None}),
        ({"scope": "project", "who": "web"}, {"project": "web"}),
        ({"scope": "key", "who": key.id}, {"api_key_id": key.id}),
        ({"scope": "end_user", "who": "zoë"}, {"end_user": "zoë"}),
        ({"scope": "each_user"}, {"end_user": None}),
        ({"unlimited": "yes", "amount": ""}, {"amount_usd": None}),
        (
            {"window": "week", "zone": "Asia/Tokyo", "thresholds": "90 %, 10", "forecast_thresholds": "100",
             "on_store_down": "continue", "store_down": "2", "on_exhausted": "wrap_up", "reason": "a pilot"},
            {"zone": "Asia/Tokyo", "thresholds": [10, 90], "forecast_thresholds": [100],
             "store_down_usd": "2.000000000"},
        ),
    ):  # fmt: skip
        form = (await admin.get("/budgets/new?tenant=acme")).form("/budgets")
        place = (await admin.submit(form, 303, "", **{**common, **fields})).place
        made = await embedded.done("GET", place)
        assert made.items() >= told.items(), (fields, made)
    assert (await acts(embedded, "budget.set"))[0] == ("user:admin@example.com", "a pilot")


async def test_a_form_that_cannot_be_is_shown_again(embedded: Asking) -> None:
    embedded.books.key("acme")
    admin = visitor(embedded)
    form = (await admin.get("/budgets/new?tenant=acme")).form("/budgets")
    for fields, text in (
        ({"amount": ""}, "Say how many dollars"),
        ({"amount": "-1"}, "An amount is 0 (nothing may be spent) or more"),
        ({"amount": "much"}, "&#39;much&#39; is not an amount in dollars"),
        ({"amount": "5", "thresholds": "half"}, "Whole percents"),
        ({"amount": "5", "thresholds": "0"}, "greater than or equal to 1"),
        ({"amount": "5", "zone": "Mars"}, "is not a time zone"),
        ({"amount": "5", "tenant": ""}, "Choose whose it is"),
        ({"amount": "5", "scope": "project"}, "Say which one"),
        ({"amount": "5", "on_store_down": "continue"}, "a budget needs an amount that may be spent so"),
        ({"amount": "5", "window": "fortnight"}, "Input should be"),
        ({"amount": "5", "reason": HOSTILE}, "printable characters"),
        ({"amount": "5", "scope": "end_user", "who": "y" * 2_000}, "at most 200 characters"),
    ):
        shown = await admin.submit(form, 422, **fields)
        assert text in shown.html, (fields, shown.text)
        kept = shown.form("/budgets").fields
        assert kept["amount"] == fields["amount"] and kept["thresholds"] == fields.get(
            "thresholds", "50, 80, 100"
        )
        assert kept["reason"] == fields.get("reason", "")
        assert "<script>alert" not in shown.html
    assert (await embedded.done("GET", "/budgets"))["data"] == []


async def test_what_an_amount_would_have_meant(embedded: Asking) -> None:
    spend(embedded, "s1", 1_000_000)  # $24
    spend(embedded, "s2", 100_000, days=2)
    admin = visitor(embedded)
    said = "With $20.00 a day: 1 of 30 days and 1 of 2 conversations would have been over."
    by_address = await admin.get("/budgets/new?tenant=acme&window=day&amount=20")
    assert said in by_address.text
    form = (await admin.get("/budgets/new?tenant=acme")).form("/budgets")
    by_button = await admin.submit(form, 200, amount="20", window="day", check="yes")
    assert said in by_button.text and by_button.form("/budgets").fields["amount"] == "20"
    path = "/budgets/preview?scope=tenant&tenant=acme&window=day&amount=20"
    part = await admin.get(path, HX_Request="true")
    assert said in part.text and "<html" not in part.html
    assert said in (await admin.get(path)).text and "Set it" in (await admin.get(path)).text
    for query, text in (
        ("scope=each_user&tenant=acme&window=day&amount=20", "1 of 2 days of users and"),
        (
            "scope=organisation&window=session&amount=20",
            "With $20.00 each conversation: 1 of 2 conversations",
        ),
        ("scope=tenant&tenant=acme&window=day", "there were 2 conversations"),
        ("scope=tenant&window=day&amount=20", "Say whose it is"),
        ("scope=tenant&tenant=acme&window=day&amount=2,0", "not an amount in dollars"),
        ("scope=project&tenant=acme&who=ios&amount=2", "has no project"),
    ):
        assert text in (await admin.get(f"/budgets/preview?{query}", HX_Request="true")).text, query
    assert (await embedded.done("GET", "/budgets"))["data"] == []


# --- Changing, raising, deleting


async def test_changed_as_it_was_read(api: Asking) -> None:
    made = await make(api)
    admin, one = visitor(api), f"/budgets/{made['id']}"
    form = (await admin.get(f"{one}/edit")).form(one)
    assert form.fields["amount"] == "50" and form.fields["thresholds"] == "50, 80, 100"
    await admin.submit(form, amount="60", thresholds="", reason="more calls")
    changed = await api.done("GET", one)
    assert (changed["amount_usd"], changed["thresholds"]) == ("60.000000000", [])
    assert (await acts(api, "budget.set"))[0] == ("user:admin@example.com", "more calls")
    wrong = await admin.submit((await admin.get(f"{one}/edit")).form(one), 422, amount="1e5")
    assert 'value="1e5"' in wrong.html
    moved = await admin.submit(wrong.form(one), amount="60", zone="Asia/Tokyo")
    assert moved.place != one and (await api.done("GET", moved.place))["zone"] == "Asia/Tokyo"
    await admin.submit((await admin.get(f"{moved.place}/edit")).form(moved.place), unlimited="yes")
    assert (await api.done("GET", moved.place))["amount_usd"] is None


async def test_what_somebody_else_changed_meanwhile_is_beside_what_was_typed(embedded: Asking) -> None:
    """The form comes back as it was typed; sending it again replaces what they set, not what came later."""
    made = await make(embedded)
    ann, bob = visitor(embedded, name="ann@example.com"), visitor(embedded, name="bob@example.com")
    one = f"/budgets/{made['id']}"
    form = (await ann.get(f"{one}/edit")).form(one)
    await bob.submit((await bob.get(f"{one}/edit")).form(one), amount="60", on_exhausted="notify")
    back = await ann.submit(form, 412, amount="70", thresholds="50,80,100", reason="a fair")
    assert "Somebody else has changed it meanwhile" in back.text and "is saved yet" in back.text
    assert (
        "Amount, in dollars 60 70" in back.text
        and "Nothing is stopped" in back.text
        and "in percent 50" not in back.text
    )
    assert f"/audit?object={made['id']}" in back.links
    again = back.form(one)
    assert again.fields.items() >= {"amount": "70", "reason": "a fair", "on_exhausted": "cut"}.items()
    await bob.submit((await bob.get(f"{one}/edit")).form(one), amount="80")
    back = await ann.submit(again, 412)
    assert "Amount, in dollars 80 70" in back.text
    await ann.submit(back.form(one))
    now = await embedded.done("GET", one)
    assert (now["amount_usd"], now["on_exhausted"]) == ("70.000000000", "cut")
    assert (await ann.submit(form, amount="70.00", thresholds="50, 80, 100")).place == one  # it is so already


async def test_raised_for_some_time(api: Asking) -> None:
    made = await make(api, zone="Europe/Berlin")
    admin, one = visitor(api), f"/budgets/{made['id']}"
    form = (await admin.get(f"{one}/raise")).form(f"{one}/raise")
    empty = await admin.submit(form, 422)
    assert "Say how much" in empty.text and "Say from when on" in empty.text and "Say why" in empty.text
    fields: dict[str, Any] = {"amount": "5", "ends": "2099-06-01T00:00", "reason": "a fair"}
    assert (await admin.submit(form, **fields)).place == one
    await admin.submit(form, **fields)
    shown = await api.done("GET", one)
    (raised,) = shown["raises"]
    assert raised["ends_at"] == "2099-05-31T22:00:00Z", "by the clocks of Berlin"
    assert shown["amount_now_usd"] == "55.000000000"
    assert await acts(api, "budget.raise") == [("user:admin@example.com", "a fair")]
    later = (await admin.get(f"{one}/raise")).form(f"{one}/raise")
    await admin.submit(later, **fields | {"starts": "2098-06-01T00:00", "reason": HOSTILE.strip("\u202e ")})
    page = await admin.get(one)
    assert "holds now" in page.text and "to come" in page.text and "<script>alert" not in page.html
    later = (await admin.get(f"{one}/raise")).form(f"{one}/raise")
    past = await admin.submit(later, 422, **fields | {"ends": "2020-01-01T00:00"})
    assert "in the future" in past.text and 'value="2020-01-01T00:00"' in past.html
    soon = await admin.submit(later, 422, **fields | {"ends": "soon"})
    assert 'value="soon"' in soon.html


async def test_a_form_that_comes_back_raises_no_second_time(
    api: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent twice at once, the second is told to wait; what it is shown to send again is the same raise."""
    made = await make(api)
    admin, one = visitor(api), f"/budgets/{made['id']}"
    form = (await admin.get(f"{one}/raise")).form(f"{one}/raise")
    fields: dict[str, Any] = {"amount": "5", "ends": "2099-06-01T00:00", "reason": "a fair"}
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*given: Any, **more: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        return raise_budget(*given, **more)

    monkeypatch.setattr(store, "raise_budget", slow)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(admin.submit(form, **fields))
        await begun.wait()
        back = (await admin.submit(form, 409, **fields)).form(f"{one}/raise")
        go_on.set()
    assert first.result().place == one and back.fields["amount"] == "5"
    assert (await admin.submit(back)).place == one
    assert (await api.done("GET", one))["amount_now_usd"] == "55.000000000"
    assert await acts(api, "budget.raise") == [("user:admin@example.com", "a fair")]
    assert (await admin.get(f"{one}/raise")).form(f"{one}/raise").fields["key"] != form.fields["key"]


async def test_deleted_with_confirmation(api: Asking) -> None:
    made = await make(api)
    admin, one = visitor(api), f"/budgets/{made['id']}"
    form = (await admin.get(one)).form(f"{one}/delete")
    assert (await admin.submit(form, reason="over")).place == "/budgets"
    assert await acts(api, "budget.delete") == [("user:admin@example.com", "over")]
    gone = await admin.get(one)
    assert "This budget was deleted" in gone.text and f"{one}/edit" not in gone.links
    await admin.submit(form, 412)
    assert "No budget is set" in (await admin.get("/budgets")).text


async def test_names_are_shown_as_text(embedded: Asking) -> None:
    name = HOSTILE.strip("\u202e ")
    embedded.books.key(name, name)
    made = await embedded.done(
        "POST", "/budgets", TENANT | {"scope": "end_user", "tenant": name, "end_user": name}
    )
    admin: Visitor = visitor(embedded)
    for path in (
        "/budgets",
        f"/budgets/{made['id']}",
        f"/budgets/{made['id']}/edit",
        "/budgets/new",
        "/live",
    ):
        html = (await admin.get(path)).html
        assert "<script>alert" not in html and "&lt;script&gt;alert" in html, path


def test_instants_are_read_in_the_zone_of_the_budget() -> None:
    assert instant_text("2026-12-24T18:00", "Europe/Berlin") == "2026-12-24T17:00:00+00:00"
    assert instant_text("2026-12-24T18:00Z", "Europe/Berlin") == "2026-12-24T18:00Z"
    assert instant_text("soon", "UTC") == "soon"
