"""FOCUS over the API: whose rows, whose costs, and what is left out for want of a price."""

import csv
import io
from typing import Any

import pytest

from proxy.admin.api.focus import UNRATED
from proxy.exports.focus_columns import COLUMNS, Version
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import ISSUER, Asking
from tests.admin.api.world import fill

FOCUS, COMPANION = "/exports/focus", "/exports/focus/unrated"
OCTOBER = {"month": "2026-10"}


def read(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


@pytest.mark.parametrize("version", Version)
async def test_a_month_in_each_version(api: Asking, version: Version) -> None:
    await fill(api)
    answered = await api("GET", FOCUS, params=OCTOBER | {"version": version.value})
    name = f'attachment; filename="talkmeter-focus-{version}-2026-10.csv"'
    assert answered.headers["Content-Disposition"] == name
    rows = read(answered.json)
    assert list(rows[0]) == [column.name for column in COLUMNS[version]]
    assert {row["BillingPeriodStart"] for row in rows} == {"2026-10-01T00:00:00Z"}
    costs = await api.done("GET", "/reports/costs", params={"period": "2026-10", "kind": "response"})
    billed = sum(int(row["BilledCost"].replace(".", "")) for row in rows if row["ChargeCategory"] == "Usage")
    assert billed == costs["total"]["cost_nanousd"]


async def test_what_has_no_price_is_counted_and_apart(embedded: Asking) -> None:
    await fill(embedded)
    books = embedded.books
    books.open("s8", "acme")
    books.bill("s8", "r8", {}, model="unheard-of")
    books.bill("s8", "r9", None, model="unheard-of")
    month = {"month": "2026-11"}
    answered = await embedded("GET", FOCUS, params=month)
    left_out = read(await embedded.done("GET", COMPANION, params=month))
    assert [row["subject_id"] for row in left_out] == ["r9"]
    assert answered.headers[UNRATED] == "1"
    assert (await embedded("GET", FOCUS, params=OCTOBER)).headers[UNRATED] == "0"


async def test_a_viewer_gets_what_its_tenants_owe_and_no_more(embedded: Asking) -> None:
    await fill(embedded)
    viewer = embedded.token(TokenRole.VIEWER, "acme")
    booked: dict[str, Any] = {"cost_usd": "5", "billed_usd": "7", "kind": "adjustment", "tenant": "acme"}
    await embedded.done("POST", "/adjustments", booked | {"key": "k9", "reason": "margin"})
    everything = {"from": "2026-01-01"}
    rows = read(await embedded.done("GET", FOCUS, token=viewer, params=everything))
    assert {row["BillingAccountName"] for row in rows} == {"acme"}
    assert {row["InvoiceIssuerName"] for row in rows} == {ISSUER}
    assert {row["x_RateCardId"] for row in rows} == {""}
    assert "7.000000000" in {row["ListCost"] for row in rows}
    asked = everything | {"as": "tenant", "tenant": "acme"}
    assert read(await embedded.done("GET", FOCUS, params=asked)) == rows
    ours = read(await embedded.done("GET", FOCUS, params=everything | {"tenant": "acme"}))
    assert {row["InvoiceIssuerName"] for row in ours} == {"OpenAI"}
    assert "5.000000000" in {row["BilledCost"] for row in ours}
    await embedded.problem(403, "GET", FOCUS, token=viewer, params=everything | {"as": "operator"})


@pytest.mark.parametrize("path", [FOCUS, COMPANION])
@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"version": "1.3"}, 422),
        ({"month": "2026-13"}, 422),
        ({"month": "2026-10", "from": "2026-10-01"}, 422),
        ({"from": "2026-10-02", "to": "2026-10-01"}, 422),
        ({"as": "nobody"}, 422),
        ({"tenant": "nobody"}, 404),
    ],
)
async def test_what_cannot_be_is_a_problem(
    embedded: Asking, path: str, params: dict[str, str], status: int
) -> None:
    await fill(embedded)
    await embedded.problem(status, "GET", path, params=params)
