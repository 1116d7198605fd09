"""Questions, spans, charts, tables and waterfalls, without a page."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest

from proxy.admin.api.problems import FieldError, Problem
from proxy.console.errors import errors_of, unplaced
from proxy.console.reports import words
from proxy.console.reports.chart import POINTS_MAX, REST, SERIES_MAX, chart_of
from proxy.console.reports.drill import Zones
from proxy.console.reports.question import Question
from proxy.console.reports.saving import body_of, in_words, not_kept, question_of, span_of, span_options
from proxy.console.reports.sending import targets_of, when
from proxy.console.reports.spans import as_day, presets, quick_spans, span_text, zone_named
from proxy.console.reports.taking import ledger_of, month_days, month_in
from proxy.console.reports.waterfall import WIDTH, steps_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)  # in Berlin it is December


def test_a_question_has_one_address() -> None:
    sent = [("from", ""), ("group_by", "day"), ("group_by", " "), ("group_by", "tag:a"), ("sort", "-day")]
    question = Question.of(sent)
    assert (question.groups, question.showing) == (("day", "tag:a"), {"sort": "-day"})
    assert question.href() == "/reports?group_by=day%2Ctag%3Aa&sort=-day"
    assert Question.of(parse_qsl(question.href().partition("?")[2])) == question
    assert question.but({"model": "m", "group_by": None}).href() == "/reports?model=m", "it is sorted anew"
    with pytest.raises(Problem, match="give it once"):
        Question.of([("tenant", "a"), ("tenant", "b")])


def test_where_an_error_is_shown() -> None:
    at = [FieldError("body", "#/filters/project", "none"), FieldError("body", "#/to/0", "no address")]
    problem = Problem("invalid", "two", at)
    assert errors_of(problem) == {"project": "none", "to": "no address"}
    assert unplaced(problem, ("project", "to")) is None
    assert unplaced(problem, ("project",)) == problem.as_json()
    assert unplaced(Problem("conflict", "taken"), ("name",)) is not None, "it is nobody's field"
    assert errors_of(None) == {} and unplaced(None, ()) is None


def test_spans_are_days_of_the_zone() -> None:
    found = {one.label: (one.start, one.end) for one in quick_spans(NOW, BERLIN)}
    assert found == {
        "Today": ("2026-12-01", "2026-12-02"),
        "This week": ("2026-11-30", "2026-12-07"),
        "This month": ("2026-12-01", "2027-01-01"),
        "Last month": ("2026-11-01", "2026-12-01"),
        "Last 30 days": ("2026-11-01", "2026-12-01"),
        "This year": ("2026-01-01", "2027-01-01"),
    }
    assert [one.label for one in quick_spans(NOW, UTC, by_month=True)] == [
        "This month",
        "Last month",
        "This year",
    ]
    assert zone_named("Mars", BERLIN) is BERLIN and zone_named("", UTC) is UTC
    assert span_text("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z", BERLIN) == "2026-11-01 to 2026-11-30"
    assert span_text("2026-10-31T23:00:00Z", "2026-11-01T23:00:00Z", BERLIN) == "2026-11-01"
    assert span_text("2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z", BERLIN).startswith("2026-11-01 01:00 to")
    assert as_day("2026-10-31T23:00:00Z", BERLIN) == "2026-11-01"
    assert as_day("2026-10-31T23:30:00Z", BERLIN) == "2026-10-31T23:30:00Z"


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-11-29", ("2026-11-01", "2026-11-29", "2026-10-01", "2026-10-29")),
        ("2026-11-01", ("2026-11-01", "2026-11-02", "2026-10-01", "2026-10-02")),
        ("2026-03-31", ("2026-03-01", "2026-03-31", "2026-02-01", "2026-03-01")),
        ("2026-01-15", ("2026-01-01", "2026-01-15", "2025-12-01", "2025-12-15")),
    ],
)
def test_this_month_so_far_with_the_same_days(day: str, expected: tuple[str, ...]) -> None:
    first, second = presets(datetime.fromisoformat(f"{day}T12:00:00Z"), UTC)
    assert tuple(first.params.values()) == expected
    assert second.params["to"] == expected[0]
    assert second.params["with_to"] == second.params["from"] == expected[2]


def _rows(count: int) -> list[dict[str, Any]]:
    return [
        {"day": f"2026-11-{1 + number % 2:02}", "tenant": f"t{number:02}", "cost_nanousd": 100 - number}
        for number in range(count)
    ]


def test_a_chart_has_the_largest_and_the_rest() -> None:
    rows = _rows(SERIES_MAX + 3)
    chart = chart_of(Question({"group_by": "tenant,day"}), rows)
    assert chart is not None and chart.series == ["t00", "t01", "t02", "t03", "t04", REST]
    assert chart.title == "Cost by day and tenant"
    assert sum(sum(heights) for _, heights, _ in chart.points) == sum(row["cost_nanousd"] for row in rows)
    assert all(sum(heights) == whole for _, heights, whole in chart.points)
    few = chart_of(Question({"group_by": "day,tenant"}), rows[:3])
    assert few is not None and REST not in few.series
    assert chart_of(Question({"group_by": "tenant"}), rows) is None, "it is no course"
    hours = [{"hour": f"2026-10-25T02:00+0{n}:00", "cost_nanousd": n} for n in (1, 2)]
    by_hour = chart_of(Question({"group_by": "hour"}), hours)
    assert by_hour is not None and [at[-6:] for at, _, _ in by_hour.points] == ["+02:00", "+01:00"]
    many = [{"day": str(number), "cost_nanousd": 1} for number in range(POINTS_MAX + 1)]
    assert chart_of(Question({"group_by": "day"}), many) is None


def test_projects_of_one_name_are_two() -> None:
    rows = [{"day": "2026-11-01", "project": "web", "project_id": id, "cost_nanousd": 1} for id in ("a", "b")]
    chart = chart_of(Question({"group_by": "day,project"}), rows)
    assert chart is not None and chart.points[0][1] == [1, 1]


def test_bars_lead_from_one_cost_to_the_other() -> None:
    parts = {"price": -30, "volume": 50, "mix": -10, "new": 20, "gone": -40, "other": 0}
    total = {f"{name}_nanousd": value for name, value in parts.items()}
    steps = steps_of(total | {"before_nanousd": 100, "after_nanousd": 90})
    assert [one.kind for one in steps] == ["whole", "up", "down", "down", "up", "down", "none", "whole"]
    assert (steps[0].left, steps[-1].left) == (0, 0)
    assert max(one.left + one.width for one in steps) == pytest.approx(WIDTH)
    assert steps[1].left == pytest.approx(steps[0].width)
    below = steps_of(
        dict.fromkeys(total, 0) | {"other_nanousd": -50, "before_nanousd": 0, "after_nanousd": -50}
    )
    assert min(one.left for one in below) == 0 and below[-1].width > 90


def test_a_question_is_saved_and_opened() -> None:
    question = Question(
        {
            "tenant": "acme",
            "group_by": "day,tag:a",
            "project": "web",
            "unrated": "true",
            "sessions": "true",
            "tz": "UTC",
        }
    )
    body = body_of(question, "name", "last-week")
    assert body["filters"] == {"project": "web", "unrated": True} and body["count_sessions"] is True
    saved = body | {"tenant": "acme", "filters": {**body["filters"], "model": None, "estimated": False}}
    assert question_of(saved).given == question.given
    assert question_of(saved, "2026-11-01T00:00:00Z", "2026-11-08T06:00:00Z").given.items() >= {
        ("from", "2026-11-01"),
        ("to", "2026-11-08T06:00:00Z"),
    }
    assert in_words(saved) == "Last week by day and tag a; only project web and without a price"
    assert not_kept(Question({"session": "s", "basis": "period"})) == "session and basis"
    assert not_kept(Question({"basis": "occurred"})) == ""
    assert span_of(Question({"from": "2026-10-01", "to": "2026-11-01"}), NOW, UTC) == "last-month"
    assert span_of(Question({"from": "2026-10-01"}), NOW, UTC) == "this-month"
    assert ("last-11-days", "Last 11 days") in span_options("last-11-days")


def test_what_the_ledger_can_be_asked() -> None:
    zones = Zones(BERLIN, ZoneInfo("UTC"))
    question = Question({"from": "2026-11-01", "tz": "Europe/Berlin", "group_by": "day", "status": "failed"})
    assert ledger_of(question, zones) == (Question({"from": "2026-10-31T23:00:00Z"}), ["status"])
    utc = Zones(UTC, ZoneInfo("UTC"))
    month = Question({"from": "2026-11-01", "to": "2026-12-01", "basis": "period", "tenant": "a"})
    assert ledger_of(month, utc) == (Question({"tenant": "a", "period": "2026-11"}), [])
    months = month.but({"to": "2027-01-01"})
    assert ledger_of(months, utc) == (Question({"tenant": "a"}), ["from", "to"])
    assert month_in(question, NOW, BERLIN) == "2026-11" and month_in(Question(), NOW, BERLIN) == "2026-11"
    assert month_in(Question({"period": "2026-01"}), NOW, BERLIN) == "2026-01"
    assert month_days("2026-12") == {"from": "2026-12-01", "to": "2027-01-01"}


def test_where_to_send() -> None:
    found = targets_of(
        "a@x.example, mailto:b@x.example\n\nc@x.example", "slack:https://s.example/1\n", ["whk_1"], ["rcv_1"]
    )
    assert found == [
        "mailto:a@x.example",
        "mailto:b@x.example",
        "mailto:c@x.example",
        "slack:https://s.example/1",
        "webhook:whk_1",
        "rcv_1",
    ]
    at = {"at": "08:00", "tz": "UTC"}
    assert when({"every": "week", "on": "friday", **at}) == "every Friday at 08:00, UTC"
    assert when({"every": "month", "on": "31", **at}) == "on day 31 of every month at 08:00, UTC"
    assert when({"every": "day", "on": None, **at}) == "every day at 08:00, UTC"
    assert when({"every": None, "on": None, "at": None, "tz": None}) == "at once"


def test_words() -> None:
    assert [words.group_word(name) for name in ("key", "end_user", "tag:a")] == [
        "API key",
        "end user",
        "tag a",
    ]
    assert words.text_of("key", {"key": "key_1", "key_name": None}) == "key_1"
    assert words.text_of("meter", {"meter": None}) == "none"
    assert [words.time_field(one) for one in ("", "2026-11-01", "2026-W44-7", "2026-11-01T00:00Z")] == [
        "date",
        "date",
        "text",
        "text",
    ]
    fields = words.group_options(["tag:a", "nope"], words.GROUP_OPTIONS)
    assert [chosen for chosen, _ in fields] == ["tag:a", "nope", ""]
    assert all(chosen in {name for name, _ in options} for chosen, options in fields)
    assert len(words.group_options([], words.GROUP_OPTIONS)) == 3
