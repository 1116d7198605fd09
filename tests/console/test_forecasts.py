"""/reports/forecast: the API's figures, with how they were made in words."""

import pytest

from proxy.clock import utc_now
from proxy.console.figures import usd_exact
from proxy.console.pages.forecasts import _line
from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.reporting import HOSTILE, look, question_in
from tests.console.visiting import visitor

PATH = "/reports/forecast"


async def test_the_figures_are_the_apis(api: Asking) -> None:
    for number, tenant in enumerate(("acme", "globex")):
        api.books.open(f"s{number}", tenant, at=utc_now())
        api.books.bill(f"s{number}", f"r{number}", {Meter.AUDIO_OUT: 4_321}, at=utc_now())
    await api.done(
        "POST", "/budgets", {"scope": "tenant", "tenant": "acme", "window": "month", "amount_usd": "0.01"}
    )
    told = (await api.done("GET", "/reports/forecast"))["data"]
    shown = await visitor(api).get(PATH)
    for one in told:
        assert f'title="{usd_exact(one["spent_nanousd"])}"' in shown.html
    assert len(told) == 2 and "no budget" in shown.text and "spent" in shown.text
    days = [question_in(one) for one in shown.links if one.startswith("/reports?")]
    assert {one["tenant"] for one in days} == {"acme", "globex"}
    assert all(one["group_by"] == "day" and len(one["from"]) == len("2026-11-01") for one in days)
    viewer = await visitor(api, TokenRole.VIEWER, "globex").get(PATH)
    assert "globex" in viewer.text and "acme" not in viewer.html
    await visitor(api, TokenRole.VIEWER, "globex").get(f"{PATH}?tenant=acme", 404)
    only = await visitor(api).get(f"{PATH}?tenant=acme")
    assert "globex" not in only.html.partition("<tbody>")[2]


async def test_nothing_to_forecast_and_what_cannot_be(embedded: Asking) -> None:
    admin = visitor(embedded)
    assert "Nothing to forecast" in (await admin.get(PATH)).text
    for name in ("tenant", "tz", "path"):
        status, html, _ = await look(admin, PATH, (name, HOSTILE))
        assert status in (404, 422) and "<script>alert" not in html and f'action="{PATH}"' in html


@pytest.mark.parametrize(
    ("changes", "how", "state"),
    [
        ({}, "not yet: less than a day has passed", "not known yet"),
        (
            {"method": "run_rate", "forecast_nanousd": 9},
            "by the rate so far, too new to say how far off",
            "lasts",
        ),
        (
            {"method": "weekdays", "forecast_nanousd": 90, "error_percent": "12.3", "error_points": 6},
            "by weekdays, off by 12.3 % on average in 6 earlier windows",
            "near its end",
        ),
        (
            {"method": "weekdays", "forecast_nanousd": 100},
            "by weekdays, too new to say how far off",
            "will be spent",
        ),
        ({"spent_nanousd": 100}, "not yet: less than a day has passed", "spent"),
    ],
)
def test_how_it_is_said(changes: dict[str, object], how: str, state: str) -> None:
    one = {
        "scope": "key",
        "tenant": "acme",
        "project": None,
        "api_key_id": "key_1",
        "end_user": None,
        "window": "month",
        "zone": "Europe/Berlin",
        "window_starts_at": "2026-10-31T23:00:00Z",
        "window_ends_at": "2026-11-30T23:00:00Z",
        "spent_nanousd": 5,
        "forecast_nanousd": None,
        "amount_nanousd": 100,
        "method": None,
        "error_percent": None,
        "error_points": 0,
    }
    line = _line(one | changes)
    assert (line["how"], line["state"][1], line["whose"]) == (how, state, "acme, API key key_1")
    assert line["span"] == "2026-11-01 to 2026-11-30"
