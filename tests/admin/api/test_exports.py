"""Exports over the API: every format, whose rows, and what is told before the first one."""

import csv
import io
import json
from typing import Any

import openpyxl
import pyarrow.parquet
import pytest

from proxy.admin.api import streams
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.admin.api.world import fill
from tests.generated import generate


def read(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


async def test_every_format(api: Asking) -> None:
    await fill(api)
    made: dict[str, Any] = {}
    for format in ("csv", "jsonl", "xlsx", "parquet"):
        answered = await api("GET", "/exports/ledger", params={"format": format})
        assert answered.status == 200
        name = answered.headers["Content-Disposition"].partition("filename=")[2]
        assert name.startswith('"talkmeter-ledger-2') and name.endswith(f'.{format}"')
        made[format] = answered.json
    rows = read(made["csv"])
    assert [row["tenant"] for row in rows] == ["acme", "acme", "globex", "globex", "acme"]
    assert [json.loads(line)["meter"] for line in made["jsonl"].splitlines()] == [
        row["meter"] for row in rows
    ]
    assert openpyxl.load_workbook(io.BytesIO(made["xlsx"])).active.max_row == 1 + len(rows)
    assert pyarrow.parquet.read_table(io.BytesIO(made["parquet"])).num_rows == len(rows)


async def test_filters_and_costs(embedded: Asking) -> None:
    await fill(embedded)
    params = {"tenant": "acme", "period": "2026-10", "kind": "response"}
    rows = read(await embedded.done("GET", "/exports/ledger", params=params))
    assert [row["subject_id"] for row in rows] == ["s1-r1", "s1-r1"]
    assert read(await embedded.done("GET", "/exports/ledger", params={"session": "none"})) == []
    assert await embedded.done("GET", "/exports/ledger", params={"session": "none", "format": "jsonl"}) == b""
    costs = read(await embedded.done("GET", "/exports/costs", params={"group_by": "tenant"}))
    assert [(row["tenant"], row["text_in"]) for row in costs] == [("acme", "15"), ("globex", "10")]


async def test_a_viewer_gets_csv_of_what_its_tenants_owe(embedded: Asking) -> None:
    await fill(embedded)
    viewer = embedded.token(TokenRole.VIEWER, "acme")
    with_markup = {"cost_usd": "5", "billed_usd": "7", "kind": "adjustment", "tenant": "acme"}
    await embedded.done("POST", "/adjustments", with_markup | {"key": "k9", "reason": "margin"})
    ours = {"cost_usd": "5", "kind": "adjustment", "tenant": "acme", "key": "k10"}
    await embedded.done("POST", "/adjustments", ours | {"reason": "they charge us 5 dollars more"})
    rows = read(await embedded.done("GET", "/exports/ledger", token=viewer))
    assert rows.pop()["status_reason"] == ""  # nothing of what we are charged, not in words either
    assert rows[-1]["status_reason"] == "margin"
    listed = await embedded.done("GET", "/ledger", token=viewer, params={"kind": "adjustment"})
    assert [one["status_reason"] for one in listed["data"]] == ["margin", None]
    assert {row["tenant"] for row in rows} == {"acme"}
    assert {row["cost_usd"] == row["list_usd"] == row["billed_usd"] for row in rows} == {True}
    assert rows[-1]["cost_usd"] == "7.000000000"
    (total,) = read(await embedded.done("GET", "/exports/costs", token=viewer))
    assert total["cost_usd"] == total["billed_usd"]
    for path in ("/exports/ledger", "/exports/costs"):
        await embedded.problem(403, "GET", path, token=viewer, params={"format": "xlsx"})


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("ledger", {"tenant": "nobody"}, 404),
        ("ledger", {"format": "pdf"}, 422),
        ("ledger", {"from": "2026-12-01", "to": "2026-11-01"}, 422),
        ("costs", {"tenant": "nobody"}, 404),
        ("costs", {"group_by": "zodiac"}, 422),
        ("costs", {"meter": "audio_in", "modality": "text"}, 422),
    ],
)
async def test_what_cannot_be_is_a_problem(
    embedded: Asking, path: str, params: dict[str, str], status: int
) -> None:
    await fill(embedded)
    await embedded.problem(status, "GET", f"/exports/{path}", params=params)


async def test_too_many_rows_for_excel_are_told_before_anything_is_sent(
    embedded: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(embedded)
    monkeypatch.setattr("proxy.exports.xlsx.ROWS_MAX", 2)
    problem = await embedded.problem(422, "GET", "/exports/ledger", params={"format": "xlsx"})
    assert "CSV" in problem["detail"]


async def test_so_many_at_a_time(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAMS_MAX", 0)
    answered = await embedded("GET", "/exports/ledger")
    assert answered.status == 503 and answered.headers["Retry-After"]


async def test_a_long_one_comes_whole(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHUNK_BYTES", 1_000)
    monkeypatch.setattr("proxy.store.ledger.WINDOW_IDS", 100)
    generate(embedded.engine, 1_000)
    rows = read(await embedded.done("GET", "/exports/ledger"))
    total = await embedded.done("GET", "/reports/costs")
    amounts = [int(row["cost_usd"].replace(".", "")) for row in rows if row["cost_usd"]]
    assert sum(amounts) == total["total"]["cost_nanousd"]
