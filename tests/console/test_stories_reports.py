"""A story in a browser: a report is built, saved and downloaded, and every sum is the API's."""

import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import openpyxl
import pytest
from playwright.async_api import Browser, expect

from proxy.clock import utc_now
from proxy.core.money import parse_usd
from proxy.core.usage import Meter
from tests.admin.api.asking import Asking
from tests.console.stories import Person, person

NAME = "What tenants used, by meter"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def fill(api: Asking, first: datetime) -> None:
    """Book two tenants' conversations in a month, with amounts down to the nano-dollar; and one before it."""
    for number, tenant in enumerate(("acme", "globex", "acme")):
        at = first + timedelta(days=5 * number, hours=3)
        api.books.open(f"s{number}", tenant, "web", at=at)
        used = {Meter.TEXT_IN: 1_001 + number, Meter.AUDIO_IN_CACHED: 333, Meter.AUDIO_OUT: 77 * number + 1}
        api.books.bill(f"s{number}", f"r{number}", used, at=at)
        api.books.bill(f"s{number}", f"w{number}", {Meter.DURATION_MS: 7_001}, at=at, model="whisper-1")
    api.books.bill("s0", "before", {Meter.AUDIO_OUT: 5_000}, at=first - timedelta(hours=1))


def last_month(now: datetime) -> tuple[datetime, datetime]:
    """Return where the month before `now` begins, and where it ends."""
    end = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (end - timedelta(days=1)).replace(day=1), end


async def test_a_report_is_built_saved_and_downloaded(browser: Browser, embedded: Asking) -> None:
    first, end = last_month(utc_now().astimezone(UTC))
    fill(embedded, first)
    asked = {"from": f"{first:%F}", "to": f"{end:%F}", "group_by": "tenant,meter"}
    total = (await embedded.done("GET", "/reports/costs", params=asked))["total"]["cost_nanousd"]
    assert total % 1_000, "rounding would show"
    ann = await person(browser, embedded, "ann@example.com")

    await ann.open("/")
    await ann.go("Reports")
    await ann.follow(ann.link("Last month"))
    await ann.page.get_by_label("then by").first.select_option("meter")
    await ann.follow(ann.button("Show"))
    await ann.reads("By tenant and meter")
    await check(ann, total)

    await ann.follow(ann.link("Save"))
    await expect(ann.page.get_by_label("About")).to_have_value("last-month")
    await ann.page.get_by_label("Name").fill(NAME)
    await ann.follow(ann.button("Save"))
    await ann.sees(NAME)
    await ann.reads(f"The report {NAME} is saved.")
    await ann.follow(ann.link("Saved"))
    await ann.follow(ann.link(NAME))
    await check(ann, total)
    saved = ann.page.url.rpartition("/")[2]
    told = await embedded.done("GET", f"/saved-reports/{saved}/costs")
    assert told["total"]["cost_nanousd"] == total

    await ann.follow(ann.link("Open to change the question"))
    await ann.follow(ann.main.locator(".actions").get_by_role("link", name="Download"))
    await ann.sees("Download")
    for format, read in (("CSV", of_csv), ("JSON lines", of_jsonl), ("Excel (XLSX)", of_xlsx)):
        for what in ("This report", "The ledger"):
            content = await ann.file(ann.link(f"{what} as {format}"))
            assert sum_of(read(content)) == total, (what, format)
    assert ann.complaints == []


async def check(ann: Person, total: int) -> None:
    """See that a report's tile, its foot and the sum of its rows are this."""
    table = (await ann.tables())["report"]
    assert await ann.stat("Cost") == table.foot[0][1].amount == total
    assert sum(row[2].amount for row in table.body) == total


# --- Files: their amounts as text with all digits


def of_csv(content: bytes) -> Iterable[Any]:
    return [row["cost_usd"] for row in csv.DictReader(io.StringIO(content.decode()))]


def of_jsonl(content: bytes) -> Iterable[Any]:
    return [json.loads(line)["cost_usd"] for line in content.splitlines()]


def of_xlsx(content: bytes) -> Iterable[Any]:
    header, *rows = openpyxl.load_workbook(io.BytesIO(content), read_only=True).active.values
    exact = header.index("cost_usd (exact)")
    return [row[exact] for row in rows]


def sum_of(amounts: Iterable[Any]) -> int:
    return sum(parse_usd(one) for one in amounts if one)
