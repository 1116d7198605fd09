"""`/reconciliations` and `/line-items`: a comparison through the API, as the CLI would make it."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.admin.config import BillConfig
from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.provider import ADMIN_KEY, MODEL, Provider, providing

WHEN = (datetime.now(UTC) - timedelta(days=3)).replace(hour=12, minute=0, second=0, microsecond=0)
DAYS = {"from": WHEN.date().isoformat(), "to": (WHEN + timedelta(days=1)).date().isoformat()}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
async def api(sqlite_url: str, tmp_path: Path, provider: Provider) -> AsyncIterator[Asking]:
    bill = BillConfig(url=provider.url, admin_key=ADMIN_KEY, usd=0, percent=0)
    async with asking(tmp_path, sqlite_url, bill=bill) as found:
        found.books.open("s1", at=WHEN)
        found.books.bill("s1", "r1", {Meter.AUDIO_IN: 1_000}, at=WHEN)
        yield found


async def test_days_are_compared_and_read_again(api: Asking, provider: Provider) -> None:
    provider.bill(WHEN, 1_100)
    finance = api.token(TokenRole.FINANCE)
    made = await api.done("POST", "/reconciliations", DAYS, token=finance)
    assert (made["from"], made["to"], made["is_over"]) == (DAYS["from"], DAYS["to"], True)
    assert (made["ours_usd"], made["unexplained_usd"]) == ("0.032000000", "0.003200000")
    assert await api.done("GET", f"/reconciliations/{made['id']}") == made
    later = await api.done("POST", "/reconciliations", {})
    listed = await api.done("GET", "/reconciliations", params={"limit": "1"})
    assert [one["id"] for one in listed["data"]] == [later["id"]]
    following = await api.done("GET", "/reconciliations", params={"after": listed["next"]})
    assert following["data"] == [made]
    (row,) = (await api.done("GET", f"/reconciliations/{made['id']}/rows"))["data"]
    assert (row["model"], row["meter"], row["theirs_quantity"]) == (MODEL, "audio_in", 1_100)
    assert row["keys"] == {"key_1": 35_200_000}
    alerts = await api.done("GET", "/alerts", params={"kind": "spend.unexplained"})
    assert [one["data"]["on"] for one in alerts["data"]] == [DAYS["from"]]
    assert ADMIN_KEY not in str(made) + str(row)
    assert ("reconciliation.run") in [action for _, action, _ in api.audit()]


async def test_what_cannot_be_compared_is_told(api: Asking, provider: Provider) -> None:
    for body, status in (
        ({"from": "2026-13-01"}, 422),
        ({"from": "0001-01-01"}, 422),
        ({"from": DAYS["to"], "to": DAYS["from"]}, 422),
        ({"from": "2025-01-01", "to": "2026-01-01"}, 422),
    ):
        await api.problem(status, "POST", "/reconciliations", body)
    provider.simulator.reports.failures = [403]
    told = await api.problem(503, "POST", "/reconciliations", DAYS)
    assert "may not read it (403)" in told["detail"]
    await api.problem(404, "GET", "/reconciliations/rec_0")
    await api.problem(404, "GET", "/reconciliations/rec_0/rows")


async def test_without_an_admin_key(embedded: Asking) -> None:
    told = await embedded.problem(409, "POST", "/reconciliations", {})
    assert "TALKMETER_UPSTREAM_ADMIN_KEY is not set" in told["detail"]


async def test_rules_are_set_and_removed(api: Asking) -> None:
    body = {"name": "Voice / in", "meter": "audio_in", "model": MODEL, "reason": "seen on a bill"}
    made = await api.done("PUT", "/line-items", body, token=api.token(TokenRole.FINANCE))
    first = await api.done("GET", "/line-items", params={"limit": "12"})
    rest = await api.done("GET", "/line-items", params={"after": first["next"]})
    assert rest["data"] == [made] and rest["next"] is None
    gone = await api.done("DELETE", "/line-items", params={"name": "Voice / in"})
    assert gone == made
    await api.problem(404, "DELETE", "/line-items", params={"name": "Voice / in"})
    told = await api.problem(422, "PUT", "/line-items", {"name": "x", "meter": "audio_in"})
    assert "which model" in told["detail"]
    assert [(action, reason) for _, action, reason in api.audit() if action.startswith("line_item")] == [
        ("line_item.set", "seen on a bill"),
        ("line_item.remove", None),
    ]
