"""/reports/download: files of what the page shows; what goes wrong before the first byte is a page."""

import csv
import io
import json
from pathlib import Path
from urllib.parse import urlencode

from proxy.core.money import parse_usd
from proxy.exports.formats import CONTENT_TYPES, Format
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.console.reporting import HOSTILE, costs, download, fill, look, question_in
from tests.console.visiting import visitor

PATH = "/reports/download"
ASKED = {"period": "2026-11", "group_by": "tenant,meter"}


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def sum_of(content: bytes, column: str) -> int:
    return sum(parse_usd(row[column]) for row in rows_of(content) if row[column])


async def test_a_file_sums_to_what_the_api_says(api: Asking) -> None:
    fill(api)
    admin = visitor(api)
    total = (await costs(api, ASKED))["total"]
    shown = await admin.get(f"{PATH}?{urlencode(ASKED)}")
    files = [one for one in shown.links if one.startswith(f"{PATH}/")]
    by_path = {
        (one.partition("?")[0].rpartition("/")[2], question_in(one).get("format", "csv")): one
        for one in files
    }
    of_costs, headers = await download(admin, by_path["costs", "csv"])
    assert sum_of(of_costs, "cost_usd") == total["cost_nanousd"]
    assert sum_of(of_costs, "billed_usd") == total["billed_nanousd"] > total["cost_nanousd"]
    assert headers["Content-Disposition"].startswith('attachment; filename="talkmeter-costs-')
    of_ledger, _ = await download(admin, by_path["ledger", "csv"])
    assert sum_of(of_ledger, "cost_usd") == total["cost_nanousd"]
    lines, _ = await download(admin, by_path["costs", "jsonl"])
    assert (
        sum(parse_usd(json.loads(line)["cost_usd"]) for line in lines.splitlines()) == total["cost_nanousd"]
    )
    for what in ("costs", "ledger"):
        for format in Format:
            content, headers = await download(admin, by_path[what, format])
            assert content and headers["Content-Type"].partition(";")[0] == CONTENT_TYPES[format]


async def test_focus_and_what_is_not_in_it(api: Asking) -> None:
    fill(api)
    admin = visitor(api)
    shown = await admin.get(f"{PATH}?{urlencode(ASKED)}")
    focus = [one for one in shown.links if one.startswith(f"{PATH}/focus?")]
    assert {(question_in(one)["version"], question_in(one)["as"]) for one in focus} == {
        (version, side) for version in ("1.2", "1.4") for side in ("operator", "tenant")
    }
    total = (await costs(api, {"period": "2026-11"}))["total"]
    for one in focus:
        content, headers = await download(admin, one)
        amount = "cost_nanousd" if question_in(one)["as"] == "operator" else "billed_nanousd"
        assert sum_of(content, "BilledCost") == total[amount]
        assert headers["Talkmeter-Unrated-Entries"] == "1"
    unrated = [one for one in shown.links if one.startswith(f"{PATH}/focus/unrated")]
    content, _ = await download(admin, unrated[0])
    assert [row["model"] for row in rows_of(content)] == ["unheard-of"]
    other = await admin.get(f"{PATH}?{urlencode(ASKED)}&month=2026-10")
    assert not [one for one in other.links if "/unrated" in one] and "month=2026-10" in other.html
    wrong = await admin.get(f"{PATH}?{urlencode({**ASKED, 'month': HOSTILE})}", 422)
    assert "is no month" in wrong.text and "<script>alert" not in wrong.html


async def test_what_the_ledger_has_no_filter_for_is_said(embedded: Asking) -> None:
    fill(embedded)
    shown = await visitor(embedded).get(f"{PATH}?status=completed&tag=team%3Dt0&tenant=acme")
    assert "The ledger is not filtered by status and tag: the file has more" in shown.text
    ledger = next(one for one in shown.links if one.startswith(f"{PATH}/ledger"))
    assert question_in(ledger) == {"tenant": "acme", "format": "csv"}


async def test_what_fails_before_the_first_byte_is_a_page(
    embedded: Asking, tmp_path: Path, sqlite_url: str
) -> None:
    fill(embedded)
    admin = visitor(embedded)
    for what in ("costs", "ledger", "focus", "focus/unrated"):
        for bad in ("tenant=nobody", "from=bogus", "x=y", f"tenant={'x' * 2_000}"):
            shown = await admin.get(f"{PATH}/{what}?{bad}", 404 if bad == "tenant=nobody" else 422)
            assert "To the overview" in shown.text
    for name in ("from", "to", "period", "tenant", "tz", "group_by", "month", "basis", "anything"):
        status, html, _ = await look(admin, PATH, (name, HOSTILE))
        assert status in (200, 404, 422) and "<script>alert" not in html
    assert (await admin.get(PATH, 303)).place.startswith(f"{PATH}?from=")


async def test_who_gets_what(embedded: Asking) -> None:
    fill(embedded)
    viewer = visitor(embedded, TokenRole.VIEWER, "acme")
    shown = await viewer.get(f"{PATH}?{urlencode(ASKED)}")
    files = [one for one in shown.links if one.startswith(f"{PATH}/")]
    assert {question_in(one).get("format", "csv") for one in files} == {"csv"}
    assert {question_in(one).get("as", "tenant") for one in files} == {"tenant"}
    told = await costs(embedded, ASKED, token=embedded.token(TokenRole.VIEWER, "acme"))
    content, _ = await download(viewer, files[0])
    assert sum_of(content, "cost_usd") == told["total"]["cost_nanousd"] and b"globex" not in content
    await viewer.get(f"{PATH}/costs?format=xlsx", 403)
    await viewer.get(f"{PATH}/ledger?tenant=globex", 404)
    await viewer.get(f"{PATH}/focus?as=operator", 403)


async def test_tenants_have_to_know_who_bills_them(tmp_path: Path, sqlite_url: str) -> None:
    async with asking(tmp_path, sqlite_url, statement_issuer=None) as api:
        fill(api)
        shown = await visitor(api).get(f"{PATH}/focus?as=tenant", 422)
        assert "TALKMETER_STATEMENT_ISSUER" in shown.text


async def test_what_cannot_be_downloaded_is_told_on_a_page(tmp_path: Path, sqlite_url: str) -> None:
    """A link that has `download` shows nothing then but that it failed."""
    async with asking(tmp_path, sqlite_url, statement_issuer=None) as api:
        fill(api)
        admin = visitor(api)
        shown = await admin.get(f"{PATH}?month=2026-11")
        assert " download" not in shown.html.partition("<main")[2]
        owed = next(one for one in shown.links if "as=tenant" in one)
        assert "TALKMETER_STATEMENT_ISSUER" in (await admin.get(owed, 422)).text
