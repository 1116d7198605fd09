"""`/reports/costs`: the figures, by what they are asked for."""

from datetime import UTC, datetime

from proxy.core.usage import Meter
from tests.admin.api.asking import Asking
from tests.closing import close_month
from tests.ledgers import MODEL

OCTOBER, NOVEMBER = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)


async def test_costs_by_what_was_used(api: Asking) -> None:
    api.books.open("s1", "acme", "web", tags={"team": "a"}, end_user="zoë", at=OCTOBER)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=OCTOBER)
    api.books.bill("s1", "r2", {Meter.TEXT_IN: 1}, at=NOVEMBER, estimated=True)
    told = await api.done("GET", "/reports/costs", params={"group_by": "tenant, model", "sessions": "true"})
    assert (told["from"], told["to"], told["basis"]) == (None, None, "occurred")
    assert told["group_by"] == ["tenant", "model"]
    (row,) = told["rows"]
    assert (row["tenant"], row["model"], row["sessions"], row["responses"]) == ("acme", MODEL, 1, 2)
    assert (row["cost_nanousd"], row["cost_usd"]) == (236_000, "0.000236000")
    assert (row["estimated_nanousd"], row["estimated_usd"]) == (4_000, "0.000004000")
    assert row.items() >= told["total"].items()
    for name, value, cost in (
        ("kind", "response", 236_000),
        ("kind", "credit", 0),
        ("meter", "audio_out", 192_000),
        ("modality", "text", 44_000),
        ("status", "completed", 236_000),
        ("tag", "team=a", 236_000),
        ("end_user", "zoë", 236_000),
        ("estimated", "true", 4_000),
        ("unrated", "true", 0),
        ("to", "2026-11-01", 232_000),
    ):
        told = await api.done("GET", "/reports/costs", params={name: value})
        assert told["total"]["cost_nanousd"] == cost, name


async def test_what_nobody_needs_can_be_left_out(api: Asking) -> None:
    api.books.open("s1", "acme", "web", at=OCTOBER)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=OCTOBER)
    whole = await api.done("GET", "/reports/costs", params={"group_by": "tenant"})
    brief = {"group_by": "tenant", "sessions": "false", "quantities": "false"}
    told = await api.done("GET", "/reports/costs", params=brief)
    left_out = {"cached_share", "cost_per_spoken_minute_usd", *(meter.value for meter in Meter)}
    for row, other in zip([*told["rows"], told["total"]], [*whole["rows"], whole["total"]], strict=True):
        kept = {name: other[name] for name in other if name not in left_out}
        assert row == {**kept, "sessions": None, "cost_per_session_usd": None}
    again = await api.done("GET", "/reports/costs", params={"sessions": "false"})
    assert again["total"] == {**whole["total"], "sessions": None, "cost_per_session_usd": None}


async def test_what_is_accounted_in_another_month_than_it_occurred_in(api: Asking) -> None:
    api.books.open("s1", "acme", at=OCTOBER)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 1}, at=OCTOBER)
    close_month(api.engine, "2026-10", {"journals": "a test"})
    api.books.bill("s1", "late", {Meter.TEXT_IN: 10}, at=OCTOBER)
    asked = {"from": "2026-10-01", "to": "2026-11-01", "group_by": "period,month"}

    async def rows(**more: str) -> list[tuple[object, ...]]:
        told = await api.done("GET", "/reports/costs", params=asked | more)
        assert (told["from"], told["to"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
        return [(row["period"], row["month"], row["text_in"]) for row in told["rows"]]

    assert await rows() == [("2026-10", "2026-10", 1), ("2026-11", "2026-10", 10)]
    assert await rows(basis="period") == [("2026-10", "2026-10", 1)]
    asked |= {"with_from": "2026-11-01", "with_to": "2026-12-01", "basis": "period", "group_by": ""}
    told = await api.done("GET", "/reports/comparison", params=asked)
    assert (told["basis"], told["total"]["before_nanousd"], told["total"]["after_nanousd"]) == (
        "period",
        40_000,
        4_000,
    )
    told = await api.done("GET", "/reports/comparison", params={"basis": "period"})
    assert {told[name][8:] for name in ("with_from", "with_to", "from", "to")} == {"01T00:00:00Z"}
    for name, path in (("from", "/reports/costs"), ("with_from", "/reports/comparison")):
        wrong = {"from": "2026-10-01", "with_to": "2026-12-01"} if name == "with_from" else {}
        wrong |= {"basis": "period", name: "2026-10-02"}
        told = await api.problem(422, "GET", path, params=wrong)
        assert told["detail"].startswith(f"{name}: Accounting months begin on the first day"), told
    both = {"from": "2026-10-01", "basis": "period", "period": "2026-10"}
    told = await api.problem(422, "GET", "/reports/costs", params=both)
    assert told["detail"].startswith("period: give it, or `from` and `to`")
