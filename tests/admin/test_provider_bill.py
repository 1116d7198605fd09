"""The provider's bill, read over HTTP: from the simulator, and from a server that answers oddly."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from proxy.admin import provider_bill
from proxy.admin.provider_bill import ATTEMPTS_MAX, BillError, BillSource, read_bill
from proxy.core.bill import Charge, Count
from proxy.core.usage import Meter
from proxy.simulator import Simulator, serve
from proxy.simulator.usage import Counts, Generated, response_usage, transcription_usage
from proxy.store.reconciliations import Scope, TheirSide

ON = date(2026, 11, 22)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SCOPE = Scope(ON, ON + timedelta(days=1))
MODEL = "gpt-realtime-2.1"
ADMIN = "sk-admin-simulator"
USAGE = response_usage(Counts(119, 13, 0), Counts(64, 3, 0), Generated(30, 91))


class Account:
    """A simulator whose clock stands where tests put it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        self.simulator: Simulator

    def clock(self) -> float:
        return self.now.timestamp()

    def respond(self, payer: tuple[str, str] = ("proj_a", "key_1"), model: str = MODEL) -> None:
        self.simulator._truth.write(
            "response", "s", "r", model=model, status="completed", usage=USAGE, payer=payer
        )

    def source(self, key: str = ADMIN) -> BillSource:
        return BillSource(self.simulator.url.replace("ws", "http", 1), key, pause_s=0.0)

    async def read(self, scope: Scope = SCOPE, key: str = ADMIN) -> TheirSide:
        return await asyncio.to_thread(read_bill, self.source(key), scope, NOW)


@asynccontextmanager
async def account(**options: Any) -> AsyncIterator[Account]:
    found = Account()
    found.simulator = await serve(clock=found.clock, **options)
    try:
        yield found
    finally:
        await found.simulator.close()


async def test_costs_and_usage_of_the_days_and_one_more_at_either_end() -> None:
    async with account() as of:
        for days in (-2, -1, 0, 1, 2):
            of.now = NOW - timedelta(days=3 - days)
            of.respond()
        said = await of.read()
    days_told = {one.on for one in said.charges} | {one.on for one in said.counts}
    assert days_told == {ON + timedelta(days=n) for n in (-1, 0, 1)}
    cost = Charge(ON, "proj_a", "key_1", f"{MODEL}, cached audio input", 1_200, Decimal(3), "tokens")
    assert cost in said.charges
    (count,) = [one for one in said.counts if one.on == ON]
    assert count == Count(
        ON,
        "proj_a",
        MODEL,
        {
            Meter.TEXT_IN: 55,
            Meter.TEXT_IN_CACHED: 64,
            Meter.AUDIO_IN: 10,
            Meter.AUDIO_IN_CACHED: 3,
            Meter.IMAGE_IN: 0,
            Meter.IMAGE_IN_CACHED: 0,
            Meter.TEXT_OUT: 30,
            Meter.AUDIO_OUT: 91,
        },
    )


async def test_transcriptions_are_whole_seconds_there() -> None:
    usage = transcription_usage(3_400 * 24, "", "Yes.", by_duration=True)
    async with account() as of:
        of.simulator._truth.write(
            "transcription", "s", "i", model="whisper-1", status="completed", usage=usage
        )
        said = await of.read()
    assert [(one.model, one.counts) for one in said.counts] == [("whisper-1", {Meter.DURATION_MS: 3_000})]
    assert [(one.quantity, one.unit) for one in said.charges] == [(Decimal("3.4"), "duration_seconds")]


async def test_only_the_projects_and_keys_that_are_meant() -> None:
    async with account() as of:
        of.respond(("proj_a", "key_1"))
        of.respond(("proj_a", "key_2"))
        of.respond(("proj_b", "key_1"))
        said = await of.read(Scope(ON, ON + timedelta(days=1), ("proj_a",), ("key_1",)))
    assert {(one.project, one.key) for one in said.charges} == {("proj_a", "key_1")}
    assert len(said.counts) == 1


async def test_many_days_are_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_bill, "BUCKETS", dict.fromkeys(provider_bill.BUCKETS, 2))
    async with account() as of:
        for days in range(7):
            of.now = NOW - timedelta(days=days)
            of.respond()
        of.now = NOW
        said = await of.read(Scope(ON - timedelta(days=2), ON + timedelta(days=3)))
        assert len({one.on for one in said.charges}) == len(said.counts) == 7
        assert of.simulator.reports.requests == 3 * 4
        monkeypatch.setattr(provider_bill, "PAGES_MAX", 1)
        with pytest.raises(BillError, match="costs have more than 1 pages: compare fewer days"):
            await of.read()


async def test_what_passes_by_itself_is_tried_again() -> None:
    async with account() as of:
        of.respond()
        of.simulator.reports.failures = [429, 500, 503]
        assert (await of.read()).charges
        of.simulator.reports.failures = [429] * ATTEMPTS_MAX
        with pytest.raises(BillError, match=r"costs could not be read from http.*fewer requests \(429\)"):
            await of.read()


async def test_keys_that_may_not_read_it() -> None:
    async with account() as of:
        with pytest.raises(BillError, match=r"does not know the key \(401\): TALKMETER_UPSTREAM_ADMIN_KEY"):
            await of.read(key="sk-wrong")
        with pytest.raises(BillError, match=r"may not read it \(403\).*not one for the voice API"):
            await of.read(key="sk-simulator")
        assert of.simulator.reports.requests == 2  # neither was tried again
        assert "sk-admin" not in repr(of.source())


def test_a_provider_that_is_not_there() -> None:
    source = BillSource("http://127.0.0.1:1/v1", ADMIN, pause_s=0.0)
    with pytest.raises(BillError, match="cannot be reached"):
        read_bill(source, SCOPE, NOW)


GOOD = {"amount": {"value": "0.5", "currency": "USD"}, "line_item": "x", "quantity": "many"}


def page(*results: object, **more: object) -> Any:
    at = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp())
    return {"data": [{"start_time": at, "results": list(results)}], "has_more": False} | more


ODD: list[tuple[Any, str]] = [
    ([], "no JSON object"),
    ({}, "no list of objects in 'data'"),
    ({"data": [1]}, "no list of objects in 'data'"),
    (page(data=[{"start_time": "today", "results": []}]), "no number in 'start_time'"),
    (page(data=[{"results": [GOOD]}]), "no day in 'start_time'"),
    (page(data=[{"start_time": 10**15, "results": []}]), "no day in 'start_time'"),
    (page(has_more=True), "no name of the next page"),
    (page(has_more=True, next_page=2), "no name of the next page"),
    (page(GOOD | {"amount": {"value": 1, "currency": "eur"}}), "not in US dollars"),
    (page(GOOD | {"amount": None}), "not in US dollars"),
    (page(GOOD | {"amount": {"value": "NaN", "currency": "usd"}}), "is no number"),
    (page(GOOD | {"amount": {"value": True, "currency": "usd"}}), "is no number"),
    (page(GOOD | {"amount": {"value": 10**11, "currency": "usd"}}), "no ledger can hold"),
]


@asynccontextmanager
async def answering(body: Callable[[], web.Response]) -> AsyncIterator[BillSource]:
    async def handle(_: web.Request) -> web.Response:
        return body()

    application = web.Application()
    application.router.add_get("/v1/{report:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield BillSource(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", ADMIN, "org-1", pause_s=0.0)
    finally:
        await runner.cleanup()


async def test_answers_that_cannot_be_understood() -> None:
    for body, problem in ODD:
        async with answering(lambda body=body: web.json_response(body)) as source:  # type: ignore[misc]
            with pytest.raises(BillError, match=problem):
                await asyncio.to_thread(read_bill, source, SCOPE, NOW)


@pytest.mark.parametrize("number", ["1e99999999999999999999", "-1e-99999999999999999999", "NaN", "1" * 5_000])
async def test_numbers_that_are_none(number: str) -> None:
    text = json.dumps(page(GOOD)).replace('"0.5"', number)
    async with answering(lambda: web.Response(text=text, content_type="application/json")) as source:
        with pytest.raises(BillError, match="cannot be understood"):
            await asyncio.to_thread(read_bill, source, SCOPE, NOW)


@pytest.mark.parametrize("key", ["sk-admin\nabc", "sk-admin\x00"])
def test_a_key_that_no_header_can_hold(key: str) -> None:
    source = BillSource("http://127.0.0.1:1/v1", key, pause_s=0.0)
    with pytest.raises(BillError, match="TALKMETER_UPSTREAM_ADMIN_KEY") as told:
        read_bill(source, SCOPE, NOW)
    assert "sk-admin" not in str(told.value)


async def test_odd_answers_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantity that is no number is none; a number may stand in a string."""
    async with answering(lambda: web.json_response(page(GOOD))) as source:
        said = await asyncio.to_thread(read_bill, source, SCOPE, NOW)
        assert said == TheirSide([Charge(ON, None, None, "x", 500_000_000)], [], NOW)
        monkeypatch.setattr(provider_bill, "BYTES_MAX", 10)
        with pytest.raises(BillError, match="more than 10 bytes"):
            await asyncio.to_thread(read_bill, source, SCOPE, NOW)
    async with answering(
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    ) as source:
        with pytest.raises(BillError, match="it answered 302"):
            await asyncio.to_thread(read_bill, source, SCOPE, NOW)
