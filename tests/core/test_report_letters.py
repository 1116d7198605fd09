"""What scheduled reports, digests and anomalies say to people."""

from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.core.announced import Announcement
from proxy.core.letters import Letter, as_text
from proxy.core.report_letters import letter_of
from tests.announcements import ANOMALY

AT = datetime(2026, 11, 30, 8, tzinfo=UTC)
TOTAL: dict[str, Any] = {
    "sessions": 2,
    "responses": 1_234,
    "cost_nanousd": 12_500_000_000,
    "cost_usd": "12.500000000",
    "list_nanousd": 13_000_000_000,
    "billed_usd": "15.000000000",
    "estimated_nanousd": 0,
    "unrated_entries": 3,
    "cached_share": "0.5000",
    "cost_per_session_usd": "6.250000000",
    "cost_per_spoken_minute_usd": None,
}
ABOUT: dict[str, Any] = {
    "schedule_id": "sch_1",
    "schedule": "weekly",
    "tenant": None,
    "due_at": "2026-11-30T08:00:00Z",
    "skipped": 0,
    "problem": None,
    "from": "2026-11-22T23:00:00Z",
    "to": "2026-11-29T23:00:00Z",
    "first_on": "2026-11-23",
    "last_on": "2026-11-29",
    "zone": "Europe/Berlin",
}
ROW = {"project": "web", "project_id": "prj_1", **TOTAL}
REPORT: dict[str, Any] = {
    "name": "costs",
    "group_by": ["project"],
    "is_billed": False,
    "columns": list(ROW),
    "rows": [ROW],
    "rows_left_out": 2,
    "total": TOTAL,
}


def letter(kind: str = "report.scheduled", **payload: Any) -> Letter:
    return letter_of(Announcement(1, "k", kind, None, AT, payload))


def test_a_report() -> None:
    told = letter(**ABOUT, content="report", report=REPORT)
    assert told.subject == "costs, 2026-11-23 to 2026-11-29"
    (table,) = told.tables
    assert table.columns == [
        "project",
        "Sessions",
        "Responses",
        "Cost $",
        "Billed $",
        "Without a price",
        "Cached share",
    ]
    assert table.rows == [["web", 2, 1_234, "12.500000000", "15.000000000", 3, "0.5000"]]
    (attached,) = told.attachments
    assert (attached.name, attached.columns, attached.rows) == ("report.csv", list(ROW), [ROW])
    text = as_text(told)
    for said in (
        "From 2026-11-23 to 2026-11-29, in the time zone Europe/Berlin.",
        "About all tenants; sent by Talkmeter's schedule weekly.",
        "Cost: $12.500000000. Responses: 1,234.",
        "Entries without a price, which are not in these sums: 3.",
        "Rows in the attached file: 1. Left out: 2.",
        "… and 2 more",
    ):
        assert said in text, text


def test_a_tenants_report_has_one_amount() -> None:
    told = letter(**ABOUT | {"tenant": "acme"}, content="report", report=REPORT | {"is_billed": True})
    assert "Billed $" not in told.tables[0].columns and "the tenant acme" in as_text(told)


def test_a_report_without_groups_shows_its_total() -> None:
    ungrouped = REPORT | {"group_by": [], "columns": list(TOTAL), "rows": [], "rows_left_out": 0}
    told = letter(**ABOUT, content="report", report=ungrouped)
    assert told.attachments[0].rows == [TOTAL] and "12.500000000" in as_text(told)


@pytest.mark.parametrize(
    ("now", "then", "change"),
    [
        (112_500, 100_000, "+12.5 %"),
        (1, 3, "-66.7 %"),
        (0, 5, "-100.0 %"),
        (7, 7, "+0.0 %"),
        (5, 0, "nothing to compare with"),
        (0, 0, "no change"),
        (50_000, 2, "+2,499,900.0 %"),
    ],
)
def test_changes(now: int, then: int, change: str) -> None:
    digest = {
        "total": TOTAL | {"cost_nanousd": now},
        "before": TOTAL | {"cost_nanousd": then},
        "top_models": [],
        "budgets": [],
    }
    told = letter(**ABOUT, content="digest", digest=digest)
    assert f"Cost: $12.500000000, {change} against the same time before." in as_text(told)


def test_a_digest() -> None:
    budget = {
        "budget_id": "bud_1",
        "scope": "project",
        "tenant": "acme",
        "of": "web",
        "window": "month",
        "percent": 93,
        "amount_usd": "50.000000000",
        "spent_usd": "46.500000000",
    }
    top = [{"tenant": "acme", "cost_usd": "9.000000000", "responses": 7}]
    digest = {"total": TOTAL, "before": TOTAL | {"sessions": None}, "top_tenants": top, "budgets": [budget]}
    told = letter(**ABOUT | {"skipped": 2}, content="digest", digest=digest | {"top_models": []})
    assert told.subject == "weekly, 2026-11-23 to 2026-11-29"
    text = as_text(told)
    for said in ("List price $", "13.000000000", "Most by tenant", "acme / web", "93", "not sent: 2."):
        assert said in text, text
    owed = letter(**ABOUT | {"tenant": "acme"}, content="digest", digest=digest | {"top_models": []})
    assert "List price" not in as_text(owed)
    assert told.attachments[0].rows[0] == {
        "figure": "Cost $",
        "value": "12.500000000",
        "before": "12.500000000",
        "change": "+0.0 %",
    }


def test_an_anomaly_and_a_list_of_them() -> None:
    told = letter("spend.anomaly", **ANOMALY)
    assert told.subject == "Tenant acme: $25.000000000 in an hour is unusual"
    assert "$10.000000000 (median); up to $15.000000000 is usual" in as_text(told)
    all_ = ANOMALY | {"tenant_id": None, "tenant": None}
    assert "All tenants together" in letter("spend.anomaly", **all_).subject
    listed = letter(**ABOUT, content="anomaly", anomalies=[ANOMALY, all_])
    assert [row[1] for row in listed.tables[0].rows] == ["acme", "(all)"]
    assert len(listed.attachments[0].rows) == 2
    none = letter(**ABOUT, content="anomaly", anomalies=[])
    assert none.attachments == [] and "unusually much: 0." in as_text(none)


def test_what_could_not_be_made_and_what_this_version_does_not_know() -> None:
    about = {
        name: value for name, value in ABOUT.items() if name not in ("from", "to", "first_on", "last_on")
    }
    told = letter(**about | {"problem": "There is no project 'x'."}, content="report")
    assert told.subject == "weekly: no report" and "There is no project 'x'." in as_text(told)
    assert letter("of.tomorrow", b=1, a="x").sentences == ["a: x", "b: 1"]


DAY = {
    "on": "2026-11-22",
    "is_final": True,
    "is_over": True,
    "ours_usd": "1.000000000",
    "theirs_usd": "3.000000000",
    "unexplained_usd": "2.000000000",
    "limit_usd": "1.000000000",
}
LINE = {"on": "2026-11-22", "project": None, "model": None, "meter": None, "line_item": "a surprise"}


def test_a_comparison_with_the_bill() -> None:
    days = [DAY, DAY | {"is_over": False}, DAY | {"is_final": False}]
    worst = [DAY | LINE]
    compared = DAY | {"id": "rec_1", "days": days, "worst_rows": worst}
    told = letter(**ABOUT, content="reconciliation", reconciliation=compared)
    assert [row[-1] for row in told.tables[0].rows] == ["above 1.000000000", "agrees", "not complete yet"]
    assert told.tables[1].rows[0][4] == "a surprise" and len(told.attachments[0].rows) == 3
    assert "The provider's bill: $3.000000000. Unexplained: $2.000000000." in as_text(told)
    agreeing = compared | {"worst_rows": []}
    assert len(letter(**ABOUT, content="reconciliation", reconciliation=agreeing).tables) == 1
