"""/reports/compare: the API's parts of a difference, by the address."""

from urllib.parse import urlencode

import pytest

from proxy.console.figures import usd_exact
from proxy.console.pages import comparisons
from proxy.console.reports.question import COMPARISON
from proxy.console.reports.waterfall import PARTS
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.reporting import HOSTILE, fill, look, pairs_of, question_in
from tests.console.tables import tables
from tests.console.visiting import visitor

PATH = "/reports/compare"
ASKED = {"from": "2026-11-01", "to": "2026-12-01", "with_from": "2026-10-01", "with_to": "2026-11-01"}
VALUES = {
    **ASKED,
    "group_by": "tenant,tag:team",
    "tenant": "acme",
    "project": "web",
    "key": "key_1",
    "model": "gpt-realtime-2.1",
    "end_user": "zoë",
    "tag": "team=a",
    "kind": "response",
    "status": "completed",
    "meter": "audio_out",
    "modality": "audio",
    "billed": "true",
    "tz": "Europe/Berlin",
    "basis": "period",
}


async def test_the_parts_are_the_apis(api: Asking) -> None:
    fill(api)
    asked = ASKED | {"group_by": "model"}
    told = await api.done("GET", "/reports/comparison", params=asked)
    shown = await visitor(api).get(f"{PATH}?{urlencode(asked)}")
    for row in [*told["rows"], told["total"]]:
        for name in ("before", "after", "difference", *PARTS):
            assert f'title="{usd_exact(row[f"{name}_nanousd"])}"' in shown.html
    assert "2026-10-01 to 2026-10-31" in shown.text and "What has no price is not compared" in shown.text
    narrow = [question_in(one) for one in shown.links if one.startswith(f"{PATH}?") and "model=" in one]
    assert narrow and all(one["group_by"] == "meter" for one in narrow)


async def test_without_a_question_it_is_this_month_with_the_same_days_of_the_last(embedded: Asking) -> None:
    admin = visitor(embedded)
    shown = await admin.get(PATH, 303)
    assert set(question_in(shown.place)) == {*ASKED, "group_by"}
    shown = await admin.get(shown.place)
    assert "Nothing was spent in either time" in shown.text
    assert 'aria-current="true">This month so far' in shown.html
    await admin.get(next(one for one in shown.links if one.startswith(f"{PATH}?from")))


async def test_the_form_has_every_parameter_and_keeps_each(embedded: Asking) -> None:
    assert set(VALUES) == set(COMPARISON)
    fill(embedded)
    admin = visitor(embedded)
    for asked in [*({name: value} for name, value in VALUES.items()), VALUES]:
        status, html, _ = await look(admin, PATH, *asked.items())
        answered = await embedded("GET", "/reports/comparison", params=asked)
        assert status == answered.status, asked
        shown = await admin.get(f"{PATH}?{urlencode(asked)}", status)
        sent = pairs_of(shown, PATH)
        assert {name for name, _ in sent} | {"billed"} == set(COMPARISON)
        _, _, again = await look(admin, PATH, *sent)
        assert again == {"basis": "occurred", **asked}
        for bad in (HOSTILE, "x" * 300, "\x00"):
            status, html, _ = await look(admin, PATH, *({**ASKED, **dict.fromkeys(asked, bad)}.items()))
            assert status in (200, 404, 422) and "<script>alert" not in html
            assert f'action="{PATH}"' in html


async def test_who_sees_what(embedded: Asking) -> None:
    fill(embedded)
    viewer = visitor(embedded, TokenRole.VIEWER, "acme")
    shown = await viewer.get(f"{PATH}?{urlencode(ASKED | {'group_by': 'tenant'})}")
    assert "acme" in shown.text and "globex" not in shown.html and "What tenants owe" not in shown.text
    await viewer.get(f"{PATH}?tenant=globex", 404)


async def test_long_comparisons_have_pages(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(embedded)
    monkeypatch.setattr(comparisons, "ROWS_SHOWN_MAX", 3)
    asked = ASKED | {"group_by": "meter,model"}
    count = len((await embedded.done("GET", "/reports/comparison", params=asked))["rows"])
    assert count > 6
    admin, place, seen = visitor(embedded), f"{PATH}?{urlencode(asked)}", []
    while place:
        shown = await admin.get(place)
        assert f"of {count}, by their difference" in shown.text
        table = tables(shown.html)["compared"]
        seen += [(row[0].text, row[1].text) for row in table.body]
        place = next((one for one in shown.links if f"page={len(seen) // 3 + 1}" in one), "")
    assert len(seen) == len(set(seen)) == count
    last = await admin.get(f"{PATH}?{urlencode(asked)}&page=99999")
    assert f"to {count} of" in last.text and f"{PATH}?{urlencode(asked)}" in last.links
