"""The API where four eyes are asked for: 202, and somebody else approves."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.admin.api.world import OCTOBER

CREDIT = {"kind": "credit", "tenant": "acme", "key": "k1", "reason": "outage 7", "billed_usd": "-150"}


@pytest.fixture
async def api(tmp_path: Path, database_url: str) -> AsyncIterator[Asking]:
    async with asking(tmp_path, database_url, four_eyes=True) as asked:
        asked.books.open("s1", "acme", at=OCTOBER)
        asked.books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=OCTOBER)
        asked.books.close("s1")
        yield asked


async def named(api: Asking, name: str, role: TokenRole = TokenRole.FINANCE) -> str:
    return str((await api.done("POST", "/tokens", {"name": name, "role": role}))["secret"])


async def test_a_large_credit_waits_for_another_person(api: Asking) -> None:
    ann, bob = await named(api, "ann"), await named(api, "bob")
    small = await api("POST", "/adjustments", CREDIT | {"key": "k0", "billed_usd": "-100"}, token=ann)
    assert small.status == 201
    answered = await api("POST", "/adjustments", CREDIT, token=ann)
    asked = answered.json
    assert (answered.status, asked["state"], asked["asked_by"]) == (202, "pending", "api:ann")
    assert asked["wanted"]["billed_usd"] == "-150.000000000"
    where = answered.headers["Location"].removeprefix("/api/v1")
    assert await api.done("GET", where, token=bob) == asked
    assert (await api.done("POST", "/adjustments", CREDIT, token=ann))["id"] == asked["id"]
    await api.problem(403, "POST", f"{where}/approve", token=ann)
    await api.problem(403, "POST", f"{where}/approve")
    done = await api.done("POST", f"{where}/approve", token=bob, Idempotency_Key="a")
    assert (done["state"], done["decided_by"], done["result"]["entry_id"]) == ("approved", "api:bob", 3)
    assert await api.done("POST", f"{where}/approve", token=bob, Idempotency_Key="a") == done
    await api.problem(409, "POST", f"{where}/approve", token=bob)
    assert (await api("POST", "/adjustments", CREDIT, token=ann)).status == 200
    assert ("api:bob", "approval.approve", None) in api.audit()


async def test_a_close_waits_for_another_person(api: Asking) -> None:
    bob = await named(api, "bob", TokenRole.ADMIN)
    path = "/periods/2026-10/close"
    asked = await api("POST", path, {"reason": "it is over"}, Idempotency_Key="c")
    assert (asked.status, asked.json["asked_by"]) == (202, "api:admin-token")
    replayed = await api("POST", path, {"reason": "it is over"}, Idempotency_Key="c")
    assert (replayed.status, replayed.json) == (202, asked.json)
    pending: dict[str, Any] = {"params": {"state": "pending"}}
    assert len((await api.done("GET", "/approvals", **pending))["data"]) == 1
    done = await api.done("POST", f"/approvals/{asked.json['id']}/approve", token=bob)
    assert done["result"]["statements"] == 1
    assert (await api.done("GET", "/approvals", **pending))["data"] == []
    (month,) = (await api.done("GET", "/periods"))["data"]
    assert month["closed_by"] == "api:admin-token, approved by api:bob"


async def test_rejecting_takes_a_reason(api: Asking) -> None:
    ann, bob = await named(api, "ann"), await named(api, "bob")
    asked = await api.done("POST", "/adjustments", CREDIT, token=ann)
    path = f"/approvals/{asked['id']}/reject"
    assert "Say why" in (await api.problem(422, "POST", path, token=bob))["detail"]
    done = await api.done("POST", path, token=bob, Talkmeter_Reason="too much")
    assert (done["state"], done["decision_reason"]) == ("rejected", "too much")
    await api.problem(422, "GET", "/approvals", params={"state": "lost"})
