"""Every bill stands in the truth file as it stood on the wire, whatever was bent about it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from proxy.simulator import read, total_usd
from tests.simulator.talk import MODEL, Client, bills, connected, simulating


async def one_turn(truth: Path, sim: str, **options: Any) -> Client:
    """Hold one turn worth $0.0017 (see the sum in `test_session.py`) and return the client."""
    async with (
        simulating(truth, **options) as simulator,
        connected(simulator, f"{MODEL}&sim=words:2,{sim}", check=False) as client,
    ):
        await client.configure(instructions="Answer in one word.")
        await client.speak(2_300)
        await client.send("input_audio_buffer.commit")
        await client.respond()
        await client.until("rate_limits.updated")
    return client


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


async def test_a_bill_is_written_as_it_was_sent(truth: Path) -> None:
    client = await one_turn(truth, "")
    opened, done = read(truth)
    (response,) = [event["response"] for event in client.of("response.done")]
    session = client.of("session.created")[0]["session"]["id"]
    assert (opened.what, opened.subject, opened.session) == ("opened", response["id"], session)
    assert (done.subject, done.session, done.model) == (response["id"], session, "gpt-realtime-2.1")
    assert done.usage == response["usage"]
    assert done.usd == "0.0017"


@pytest.mark.parametrize("fault", ["omit_usage", "null_usage"])
async def test_usage_that_is_not_there_has_no_price(truth: Path, fault: str) -> None:
    client = await one_turn(truth, fault)
    (response,) = [event["response"] for event in client.of("response.done")]
    assert response.get("usage", "absent") == {"null_usage": None, "omit_usage": "absent"}[fault]
    (bill,) = bills(truth)
    assert (bill.usage, bill.usd, bill.fault) == (None, None, fault)


@pytest.mark.parametrize(
    ("fault", "usd"),
    [
        ("zero_usage", "0"),
        ("no_details", "0.0017"),
        ("cached_without_details", "0.0017"),
        ("totals_mismatch", "0.0017"),
    ],
)
async def test_bent_usage_keeps_its_real_price(truth: Path, fault: str, usd: str) -> None:
    client = await one_turn(truth, fault)
    (response,) = [event["response"] for event in client.of("response.done")]
    (bill,) = bills(truth)
    assert (bill.usage, bill.usd, bill.fault) == (response["usage"], usd, fault)
    usage = response["usage"]
    assert usage["total_tokens"] == {"zero_usage": 0, "totals_mismatch": 37}.get(fault, 44)
    assert ("input_token_details" in usage) == (fault != "no_details")
    if fault == "cached_without_details":
        assert "cached_tokens_details" not in usage["input_token_details"]


async def test_a_duplicate_is_owed_once(truth: Path) -> None:
    client = await one_turn(truth, "duplicate_done")
    first, second = client.of("response.done")[0], bills(truth)[1]
    assert second.duplicate and second.subject == first["response"]["id"]
    assert total_usd(read(truth)) == Decimal("0.0017")


async def test_a_response_that_was_never_created_is_billed_too(truth: Path) -> None:
    await one_turn(truth, "unknown_done")
    known, unknown = bills(truth)
    opened = {line.subject for line in read(truth) if line.what == "opened"}
    assert known.subject in opened and unknown.subject not in opened
    assert total_usd(read(truth)) == Decimal("0.0034")


async def test_a_model_without_price_is_written_without_one(truth: Path) -> None:
    async with (
        simulating(truth, extra_models=frozenset({"deployment-7"})) as simulator,
        connected(simulator, "model=deployment-7") as client,
    ):
        await client.respond()
    (bill,) = bills(truth)
    assert (bill.model, bill.usd) == ("deployment-7", None)
    assert bill.usage is not None


async def test_a_dated_snapshot_is_billed_at_its_alias(truth: Path) -> None:
    client = await one_turn(truth, "snapshot:2026-06-01")
    assert client.of("session.created")[0]["session"]["model"] == "gpt-realtime-2.1-2026-06-01"
    (bill,) = bills(truth)
    assert (bill.model, bill.usd) == ("gpt-realtime-2.1-2026-06-01", "0.0017")
