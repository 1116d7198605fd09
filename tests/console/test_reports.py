"""/reports: the API's own figures, every filter by the address, and forms that keep what an address says."""

import random
from urllib.parse import urlencode

import pytest

from proxy.console.figures import usd_exact
from proxy.console.reports.question import COSTS
from proxy.console.reports.table import ROWS_SHOWN_MAX
from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.reporting import HOSTILE, NOVEMBER, costs, fill, look, pairs_of, question_in
from tests.console.visiting import stranger, visitor

VALUES = {
    "from": ("2026-11-01", "2026-11-01T08:30:00+01:00"),
    "to": ("2026-12-01", "2026-11-20T08:30:00Z"),
    "period": ("2026-11",),
    "basis": ("occurred", "period"),
    "group_by": ("tenant", "day,tenant", "week,tag:team,meter", "tenant,project,key,model,kind,status"),
    "tenant": ("acme", "nobody"),
    "project": ("web",),
    "key": ("key_1",),
    "model": ("gpt-realtime-2.1",),
    "session": ("s1",),
    "end_user": ("zoë & Söhne",),
    "tag": ("team=a=b",),
    "kind": ("response", "credit"),
    "status": ("completed",),
    "meter": ("audio_out", "text_in_cached"),
    "modality": ("audio", "text"),
    "unrated": ("true",),
    "estimated": ("true",),
    "sessions": ("true",),
    "tz": ("Europe/Berlin",),
}
BAD = (
    "bogus",
    HOSTILE,
    "x" * 2_000,
    "\x00",
    "a\r\nb",
    "-1",
    "٣",
    "',",
    "{{7*7}}",
    "\ud800".encode("utf-8", "surrogatepass"),
)


async def test_the_figures_are_the_apis(api: Asking) -> None:
    fill(api)
    admin = visitor(api)
    asked = {"from": "2026-11-01", "to": "2026-12-01", "group_by": "tenant,model"}
    told = await costs(api, asked)
    shown = await admin.get(f"/reports?{urlencode(asked)}")
    for row in [*told["rows"], told["total"]]:
        assert f'title="{usd_exact(row["cost_nanousd"])}"' in shown.html
    assert told["total"]["unrated_entries"] == 1 and "1 without a price" in shown.text
    assert question_in(next(one for one in shown.links if "estimated=true" in one)) == asked | {
        "estimated": "true"
    }
    entries = next(one for one in shown.links if one.startswith("/ledger?"))
    assert question_in(entries) == {"from": "2026-11-01", "to": "2026-12-01", "unrated": "true"}


async def test_without_a_question_it_is_this_months(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/reports", 303)
    asked = question_in(shown.place)
    assert set(asked) == {"from", "to", "group_by"} and asked["group_by"] == "tenant"
    shown = await visitor(embedded).get(shown.place)
    assert "Nothing was spent there" in shown.text and "This month" in shown.text
    assert (await stranger(embedded).get("/reports", 303)).place.startswith("/sign-in")


async def test_each_filter_is_the_apis(embedded: Asking) -> None:
    fill(embedded)
    admin = visitor(embedded)
    for name, values in VALUES.items():
        for value in values:
            asked = {name: value} if name == "group_by" else {name: value, "group_by": "model"}
            answered = await embedded("GET", "/reports/costs", params=asked)
            status, html, _ = await look(admin, "/reports", *asked.items())
            assert status == answered.status, asked
            if status == 200:
                assert f'title="{usd_exact(answered.json["total"]["cost_nanousd"])}"' in html, asked
            else:
                assert answered.json["detail"].replace("'", "&#39;") in html, asked


async def test_the_form_has_every_parameter_and_keeps_each(embedded: Asking) -> None:
    """What a browser sends, when nobody touches the form, is the question of the address."""
    assert set(VALUES) == set(COSTS)
    admin = visitor(embedded)
    rnd = random.Random(5)
    questions = [{name: value} for name, values in VALUES.items() for value in values]
    for _ in range(25):
        names = rnd.sample(sorted(VALUES), rnd.randint(2, len(VALUES)))
        questions.append({name: rnd.choice(VALUES[name]) for name in names})
    for asked in questions:
        shown = await admin.get(
            f"/reports?{urlencode(asked)}", (await embedded("GET", "/reports/costs", params=asked)).status
        )
        sent = pairs_of(shown, "/reports")
        assert {name for name, _ in sent} | {"unrated", "estimated", "sessions"} == set(COSTS)
        _, _, again = await look(admin, "/reports", *sent)
        assert again == {"basis": "occurred", **asked}, asked


async def test_a_form_in_which_groups_are_chosen(embedded: Asking) -> None:
    sent = [
        ("from", ""),
        ("group_by", "day"),
        ("group_by", ""),
        ("group_by", "tenant"),
        ("group_by", "tag:x"),
    ]
    _, _, asked = await look(visitor(embedded), "/reports", *sent)
    assert asked == {"group_by": "day,tenant,tag:x"}


@pytest.mark.parametrize("name", [*COSTS, "sort", "columns", "anything", "path", "from_"])
async def test_what_cannot_be_is_said_at_the_form(embedded: Asking, name: str) -> None:
    fill(embedded)
    admin = visitor(embedded)
    for value in BAD:
        asked = {"group_by": "tenant", name: value}
        status, html, _ = await look(admin, f"/reports?{urlencode(asked)}")
        assert status in (200, 404, 422), (name, value, status)
        assert 'action="/reports"' in html and "<script>alert" not in html
        if status != 200:
            assert 'class="error"' in html or 'class="problem"' in html or "notice bad" in html


async def test_said_twice(embedded: Asking) -> None:
    status, html, _ = await look(visitor(embedded), "/reports", ("tenant", "a"), ("tenant", "b"))
    assert status == 422 and "give it once" in html


async def test_pages_are_not_told_to_leave_quantities_out(embedded: Asking) -> None:
    for value in ("true", "false", "maybe"):
        status, html, _ = await look(visitor(embedded), "/reports", ("quantities", value))
        assert status == 422 and "pages always show them" in html


async def test_a_question_of_single_entries_has_its_limit_of_days(embedded: Asking) -> None:
    fill(embedded)
    embedded.books.open("early", "acme", at=NOVEMBER.replace(month=1))
    embedded.books.bill("early", "e1", {Meter.TEXT_IN: 1}, at=NOVEMBER.replace(month=1))
    shown = await visitor(embedded).get("/reports?group_by=session", 422)
    assert "at most 100 days" in shown.text and pairs_of(shown, "/reports")


async def test_who_sees_what(api: Asking) -> None:
    fill(api)
    path = "/reports?group_by=tenant&period=2026-11"
    viewer = visitor(api, TokenRole.VIEWER, "acme")
    told = await costs(
        api, {"group_by": "tenant", "period": "2026-11"}, token=api.token(TokenRole.VIEWER, "acme")
    )
    shown = await viewer.get(path)
    assert f'title="{usd_exact(told["total"]["billed_nanousd"])}"' in shown.html
    assert "globex" not in shown.html and "List, cost, billed" not in shown.text
    assert not [one for one in shown.links if "/saved/new" in one]
    await viewer.get(f"{path}&columns=amounts", 422)
    other = await viewer.get("/reports?tenant=globex", 404)
    assert "$0." not in other.text and 'title="$' not in other.html
    for role in (TokenRole.AUDITOR, TokenRole.FINANCE):
        assert "globex" in (await visitor(api, role).get(path)).text


async def test_rows_by_any_column(embedded: Asking) -> None:
    fill(embedded)
    admin = visitor(embedded)
    told = await costs(embedded, {"group_by": "session", "period": "2026-11"})
    for columns, key in (
        ("costs", "responses"),
        ("tokens", "text_in"),
        ("amounts", "billed_nanousd"),
        ("units", "cached_share"),
    ):
        for sign in ("", "-"):
            shown = await admin.get(
                f"/reports?group_by=session&period=2026-11&columns={columns}&sort={sign}{key}"
            )
            order = [one.rpartition("/")[2] for one in shown.links if one.startswith("/sessions/")]
            values = {row["session"]: row[key] for row in told["rows"]}
            found = [float(values[one]) for one in order if values[one] is not None]
            assert found == sorted(found, reverse=sign == "-") and set(order) == set(values)
            assert f'aria-sort="{"descending" if sign else "ascending"}"' in shown.html


async def test_more_rows_than_a_page_has(embedded: Asking) -> None:
    books = embedded.books
    records = [books.opening(f"n{number}", at=NOVEMBER) for number in range(ROWS_SHOWN_MAX + 7)]
    books.post(*(one for pair in records for one in pair))
    books.post(
        *(
            books.entry(f"n{number}", f"b{number}", {Meter.TEXT_IN: 1 + number}, at=NOVEMBER)
            for number in range(ROWS_SHOWN_MAX + 7)
        )
    )
    shown = await visitor(embedded).get("/reports?group_by=session&period=2026-11")
    assert f"The first {ROWS_SHOWN_MAX} rows are shown. 7 more are in the totals" in shown.text
    assert len([one for one in shown.links if one.startswith("/sessions/")]) == ROWS_SHOWN_MAX
    assert "/sessions/n506" in shown.links and "/sessions/n6" not in shown.links


async def test_names_are_shown_as_they_are(embedded: Asking) -> None:
    fill(embedded)
    shown = await visitor(embedded).get("/reports?group_by=end_user&period=2026-11")
    assert HOSTILE in shown.text and "<script>alert" not in shown.html
