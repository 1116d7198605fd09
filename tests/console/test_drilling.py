"""From a row to what it is made of: what its link asks adds up to the row, to the nano-dollar."""

from zoneinfo import ZoneInfo

import pytest

from proxy.console.reports.drill import Zones, changes_for, into, next_group
from proxy.console.reports.question import Question
from tests.admin.api.asking import Asking
from tests.console.reporting import costs, fill, question_in
from tests.console.visiting import visitor

UTC = ZoneInfo("UTC")
QUESTIONS = (
    {"group_by": "tenant,project"},
    {"group_by": "key,model"},
    {"group_by": "end_user,status"},
    {"group_by": "tag:team,kind"},
    {"group_by": "session"},
    {"group_by": "month,day"},
    {"group_by": "week,hour", "tz": "Europe/Berlin"},
    {"group_by": "day,tenant", "tz": "Asia/Kathmandu"},
    {"group_by": "month", "from": "2026-10-31T23:15:00Z", "to": "2026-11-06"},
    {"group_by": "day", "period": "2026-11"},
    {"group_by": "period,month"},
    {"group_by": "period,day", "from": "2026-10-01", "to": "2026-12-01", "basis": "period"},
    {"group_by": "day", "from": "2026-11-01", "to": "2026-12-01", "basis": "period"},
    {"group_by": "meter,model"},
    {"group_by": "modality,tenant", "meter": "audio_out"},
    {"group_by": "model", "unrated": "true"},
    {"group_by": "tenant", "estimated": "true", "tz": "America/St_Johns"},
)
FIGURES = ("cost_nanousd", "billed_nanousd", "responses", "entries", "unrated_entries", "text_in")


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: " ".join(asked.values()))
async def test_what_a_row_leads_to_adds_up_to_it(api: Asking, asked: dict[str, str]) -> None:
    fill(api)
    question = Question(asked)
    zones = Zones(ZoneInfo(asked.get("tz", "UTC")), UTC)
    rows = (await costs(api, asked))["rows"]
    assert rows
    followed = 0
    for row in rows:
        found = into(question, row, zones)
        if found is None:
            assert any(row[name] is None for name in question.groups) or "basis" in asked, row
            continue
        followed += 1
        told = await costs(api, dict(found.given))
        assert {name: told["total"][name] for name in FIGURES} == {name: row[name] for name in FIGURES}
        assert sum(one["cost_nanousd"] for one in told["rows"]) == row["cost_nanousd"], "by its next group"
    assert followed


async def test_a_value_alone_leads_to_all_its_rows(api: Asking) -> None:
    fill(api)
    zones = Zones(UTC, UTC)
    question = Question({"group_by": "model,tenant,day"})
    rows = (await costs(api, dict(question.given)))["rows"]
    for name in question.groups:
        for row in rows:
            changes = changes_for(question, name, row, zones)
            assert changes is not None
            narrow = question.but(changes).by([one for one in question.groups if one != name])
            own = sum(one["cost_nanousd"] for one in rows if one[name] == row[name])
            assert (await costs(api, dict(narrow.given)))["total"]["cost_nanousd"] == own


async def test_from_a_month_down_to_a_session(embedded: Asking) -> None:
    """By the links of the pages alone."""
    fill(embedded)
    admin = visitor(embedded)
    href = "/reports?from=2026-11-01&to=2026-12-01&group_by=tenant"
    path: list[str] = []
    while not path or path[-1] != "session":
        shown = await admin.get(href)
        path.append(question_in(href)["group_by"])
        rows = shown.html.rpartition("<tbody>")[2].partition("</tbody>")[0]
        links = [one for one in shown.links if one.replace("&", "&amp;") in rows and "group_by" in one]
        href = links[-1] if links else ""
        if path[-1] == "hour":
            assert "/sessions/" not in shown.html
    assert path[0] == "tenant" and len(path) <= 8
    assert any(one.startswith("/sessions/s") for one in shown.links)


def test_what_cannot_be_asked_has_no_link() -> None:
    zones = Zones(UTC, UTC)
    row = {"project": None, "project_id": None, "tag:a": "v" * 300, "day": "2026-11-05"}
    assert changes_for(Question(), "project", row, zones) is None
    assert changes_for(Question(), "tag:a", row, zones) is None, "longer than the API takes"
    assert changes_for(Question({"tag": "b=c"}), "tag:a", row | {"tag:a": "v"}, zones) is None
    several = Question({"basis": "period", "from": "2026-10-01", "to": "2026-12-01"})
    assert changes_for(several, "day", row, zones) is None
    assert changes_for(Question({"basis": "period"}), "day", row, zones) is None


@pytest.mark.parametrize(
    ("given", "last", "expected"),
    [
        ({"tenant": "a"}, "tenant", "project"),
        ({"tenant": "a", "project": "p"}, "tenant", "model"),
        ({"session": "s"}, "session", "meter"),
        ({"end_user": "u", "from": "2026-01-01", "to": "2026-03-01"}, "end_user", "session"),
        ({"end_user": "u", "from": "2026-01-01", "to": "2026-09-01"}, "end_user", "day"),
        ({"end_user": "u"}, "end_user", "day"),
        ({"tag": "a=b", "period": "2026-11"}, "tag:a", "model"),
    ],
)
def test_what_to_group_by_next(given: dict[str, str], last: str, expected: str) -> None:
    assert next_group(Question(given), last, [last], Zones(UTC, UTC)) == expected
