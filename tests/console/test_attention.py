"""What needs attention: budgets, and how they are called."""

from datetime import UTC, datetime
from typing import Any

from proxy.console.overview import attention
from proxy.console.overview.figures import Against, against, breakdown

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def budget(id: str, spent: int | None, amount: int | None, **more: Any) -> dict[str, Any]:
    named = {"project": None, "key": None, "api_key_id": None, "end_user": None}
    return {
        "id": id,
        "scope": "tenant",
        "tenant": "acme",
        "window": "month",
        "spent_nanousd": spent,
        "amount_now_nanousd": amount,
        **named,
        **more,
    }


def ahead(id: str | None, nanousd: int | None, amount: int | None = 100, **more: Any) -> dict[str, Any]:
    return {
        "budget_id": id,
        "scope": "tenant",
        "tenant": "acme",
        "tenant_id": "ten_1",
        "window": "month",
        "spent_nanousd": 10,
        "amount_nanousd": amount,
        "forecast_nanousd": nanousd,
        "exhausted_on": "2026-11-28",
        **more,
    }


def test_budgets_that_are_nearly_spent_or_will_be() -> None:
    budgets = [
        budget("b1", 79, 100),
        budget("b2", 80, 100),
        budget("b3", 120, 100, scope="project", project="web"),
        budget("b4", 10, 100, scope="organisation", tenant=None),
        budget("b5", None, 100, scope="end_user"),
        budget("b6", 0, 0),
        budget("b7", 5, None),
    ]
    found = list(attention.of_budgets(budgets, [ahead("b4", 130), ahead("b1", 99)]))
    assert [(one.kind, one.state, one.what, one.amount_nanousd) for one in found] == [
        ("bad", "spent", "Budget of acme, project web for a month", -20),
        ("warning", "nearly spent", "Budget of acme for a month", 20),
        ("warning", "will not last", "Budget of the organisation for a month", 90),
    ]
    assert found[2].why.endswith("used up on 2026-11-28")
    assert [one.href for one in found] == ["/budgets?tenant=acme", "/budgets?tenant=acme", "/budgets"]


def test_whoever_may_not_list_budgets_has_their_forecasts() -> None:
    (one,) = attention.of_budgets([], [ahead("b1", 101), ahead(None, 500, None)])
    assert (one.state, one.amount_nanousd) == ("will not last", 90)


def test_instances_that_have_died_hold_money() -> None:
    lease = {"instance_id": "i1", "reserved_nanousd": 5, "seen_at": "2026-11-23T11:00:00Z"}
    alive = {"instance_id": "i2", "reserved_nanousd": 5, "seen_at": "2026-11-23T11:59:30Z"}
    (one,) = attention.of_leases([lease, lease, alive], NOW)
    assert ("i1" in one.what, one.amount_nanousd, one.at) == (True, 10, "2026-11-23T11:00:00Z")


def test_requests_wait_for_a_second_person() -> None:
    asked = {"asked_by": "user:ann", "asked_at": "2026-11-23T11:00:00Z"}
    assert (
        list(attention.of_approvals({"data": [], "next": None})) == list(attention.of_approvals(None)) == []
    )
    (one,) = attention.of_approvals({"data": [asked], "next": None})
    assert (one.what, one.href, one.at) == (
        "1 request waits for a second person",
        "/approvals",
        asked["asked_at"],
    )
    assert "user:ann" in one.why
    (many,) = attention.of_approvals({"data": [asked] * 20, "next": "x"})
    assert many.what.startswith("20 or more requests wait")


def test_what_the_month_is_held_against() -> None:
    organisation = ahead("b1", 130, scope="organisation", tenant_id=None)
    assert against([organisation, ahead("b2", 1)]).is_exceeded
    two = [ahead("b2", 1), ahead(None, 2, None, tenant_id="ten_2")]
    assert against(two) == Against(None, 3, True)
    assert against([*two, ahead(None, None, None, tenant_id="ten_3")]) == Against(None, None, False)
    own = against([ahead("b2", 40)])
    assert (own.budget is not None, own.forecast_nanousd, own.is_sum) == (True, 40, False)
    assert against([ahead("b2", 40, window="week")]) == Against(None, None, False)


def test_a_breakdown_has_the_largest_and_the_rest_as_one() -> None:
    rows = [{"tenant": f"t{n}", "cost_nanousd": n, "unrated_entries": 0} for n in range(10)]
    told = breakdown("tenant", rows, {"from": "2026-11-01", "to": "2026-12-01"}, {})
    assert (len(told["rows"]), told["rest"], told["rest_nanousd"], told["total_nanousd"]) == (8, 2, 1, 45)
    assert told["rows"][0]["href"] == "/reports?group_by=model&from=2026-11-01&to=2026-12-01&tenant=t9"
    assert told["rows"][0]["sessions_href"] == "/sessions?tenant=t9&from=2026-11-01&to=2026-12-01"
