"""The benchmark still runs: with two sessions, for a moment. What it measures here means nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import ledger, pages, report, scaling
from tests.bench.__main__ import PAIR, Plan, compare, facts
from tests.bench.pages import Seen
from tests.bench.relays import websockets
from tests.bench.report import DIRECT, Figures, Goal
from tests.postgres import Server

RELAYS = {**PAIR, "websockets": websockets}  # nginx may not be there


@pytest.mark.slow
def test_measures_shows_and_writes(tmp_path: Path) -> None:
    plan = Plan(
        rounds=1, saturated_s=0.2, saturated_sessions=2, paced_s=0.3, paced_sessions=2, memory_sessions=2
    )
    console = Console(width=120, record=True)
    figures = compare(plan, RELAYS, tls=True, console=console)
    assert set(figures) == {*RELAYS, DIRECT}
    assert all(figures[name].cpu_us[load][0] > 0 for name in RELAYS for load in report.LOADS)
    goals = report.goals(figures)
    assert [(goal.load, goal.other) for goal in goals] == [
        ("saturated", "websockets"),
        ("paced", "websockets"),
    ]
    assert [(goal.load, goal.ratio > 0) for goal in report.budget_goals(figures)] == [
        ("saturated", True),
        ("paced", True),
    ]
    report.show(figures, console)
    assert "Talkmeter" in console.export_text()
    path = tmp_path / "results" / "one.json"
    report.write(path, facts(plan, tls=True), figures, goals)
    written = json.loads(path.read_text())
    assert set(written["relays"]) == set(figures) and len(written["goals"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_ledger_is_asked_exported_and_closed() -> None:
    console = Console(width=120, record=True)
    measured, goals = ledger.measure(1_000, console, batches=1, kinds=("FOCUS 1.4",), with_postgres=False)
    assert measured["rollups_ratio"] > 0 and measured["entries_a_second"]["SQLite"] > 0
    assert {one["is_right"] for one in measured["reports"]} == {True}
    assert {one["is_right"] for one in measured["exports"]} == {True}
    assert {one["rows"] > 0 and one["memory_bytes_max"] > 0 for one in measured["exports"]} == {True}
    assert [one["act"] for one in measured["books"] if one["database"] == "SQLite"] == [
        "verify",
        "close a month",
        "archive it",
        "verify the rest",
    ]
    assert all(goal.is_met for goal in goals if "differ" in goal.what)
    shown = console.export_text()
    assert "day, tenant" in shown and "FOCUS 1.4" in shown


@pytest.mark.slow
def test_every_page_is_asked_and_the_databases_are_kept(tmp_path: Path) -> None:
    """Of a ledger that is hardly there, and of what stands beside it; then of the same one page again."""
    console = Console(width=120, record=True)
    measured, goals = pages.measure(200, console, tmp_path, runs=1, many=2, settle_s=0)
    assert measured["entries"]["SQLite"] > 200
    seen = {one["name"] for one in measured["pages"] if one["database"] == "SQLite"}
    assert {"/", "/sessions/{session_id}", "/ledger, deep", "/close/{period}"} <= seen and len(seen) > 80
    assert {goal.value_max for goal in goals} == {pages.PAGE_S_MAX}
    assert "Pages: milliseconds" in console.export_text()
    again, _ = pages.measure(999, console, tmp_path, runs=2, settle_s=0, named="/reports/forecast, for")
    assert [len(one["seconds"]) for one in again["pages"]] == [2] * len(again["entries"])
    assert again["entries"] == measured["entries"], "nothing was filled again"


@pytest.mark.slow
def test_conversations_are_measured_on_postgres(postgres_server: Server) -> None:
    """Two of them, for a moment: longer than PostgreSQL keeps its figures to itself."""
    plan = scaling.Plan((2,), 20, 0.1, 0.5, 0.1, 0.5, 2.0, 0.1, (1,), (1,), 5, (scaling.MEASURED,))
    console = Console(width=120, record=True)
    measured = scaling.measure(plan, console, postgres_server)
    (run,) = measured["runs"]
    speech = run["used"]["speech"]
    assert run["cut"] == 0
    assert speech["CPU data plane"] > 0 and speech["messages"] > 40 and speech["entries"] >= 2
    assert 2 <= run["files"][0] < 20, (
        "two for each session, and connections to the database, which come and go"
    )
    assert run["used"]["opened"]["CPU PostgreSQL"] > 0
    assert measured["figures"]["wal_bytes"] > 0 and measured["figures"]["entries_max"] > 0
    assert [one["sessions"] for one in measured["needs"]] == [*scaling.CONVERSATIONS]
    assert "GB" in console.export_text()


def test_of_pages_the_slowest_has_to_be_quick() -> None:
    seen = [Seen("SQLite", name, name, 1, [s, s], [s, s]) for name, s in (("/", 0.4), ("/audit", 0.1))]
    assert [(goal.what, goal.is_met) for goal in pages.goals(seen)] == [("SQLite: /", True)]
    late = [replace(one, seconds=[0.6, 0.6]) for one in seen]
    assert [(goal.what, goal.is_met) for goal in pages.goals(late)] == [
        ("SQLite: /", False),
        ("SQLite: /audit", False),
    ]


def test_what_budgets_cost_is_the_median_of_pairs() -> None:
    figures = {"Talkmeter": Figures(), report.BUDGETS: Figures()}
    for load in report.LOADS:
        figures["Talkmeter"].cpu_us[load] = [10.0, 20.0, 40.0]
        figures[report.BUDGETS].cpu_us[load] = [11.0, 21.0, 40.0]
    goals = report.budget_goals(figures)
    assert [(goal.ratio, goal.is_met) for goal in goals] == [(1.05, True), (1.05, True)]


def test_a_goal_is_a_ratio_of_medians() -> None:
    figures = {name: Figures() for name in ("Talkmeter", "nginx", "websockets", DIRECT)}
    for name, cpu_us in (("Talkmeter", [1.0, 10.0, 90.0]), ("nginx", [5.0]), ("websockets", [16.0])):
        for load in report.LOADS:
            figures[name].cpu_us[load] = cpu_us
    goals = {(goal.load, goal.other): goal for goal in report.goals(figures)}
    assert goals["paced", "nginx"] == Goal("paced", "nginx", 2.0, 2.0) and goals["paced", "nginx"].is_met
    assert not goals["saturated", "websockets"].is_met
    assert str(goals["saturated", "websockets"]) == "FAIL  saturated: 0.62 × websockets (at most 0.6 ×)"
