"""The ledger against the simulator's own bill; each cause is shown where it is the cause."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.admin.config import BillConfig
from proxy.admin.reconciling import Reconciler
from proxy.clock import utc_now
from proxy.core.rating import CONTRACT, Price
from proxy.core.reconcile import Cause
from proxy.core.usage import Meter
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import open_database, reading, writing
from proxy.store.prices import import_cards
from proxy.store.reconciliations import AMOUNTS, Reconciliation, rows_of
from tests.e2e.place import Home, Place
from tests.provider import ADMIN_KEY
from tests.relay.peers import until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

MODEL = "gpt-realtime-2.1"
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


@asynccontextmanager
async def talking(place: Place, query: str = f"model={MODEL}", sim: str = "") -> AsyncIterator[Any]:
    async with place.connected(query, sim=sim, check=False) as client:
        await client.configure(instructions="Be brief and kind, and remember what was said. " * 20)
        yield client


async def turn(client: Any) -> None:
    """The user speaks, the model speaks."""
    await client.speak(1_500)
    await client.send("input_audio_buffer.commit")
    await client.respond()


async def reconcile(
    home: Home, place: Place, *, at: datetime | None = None, delay_h: int = 0
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Compare some days; return what they come to, and the rows that differ."""
    await until(lambda: not place.app.gateway.sessions)
    await place.app.poster.posted_up_to_now()
    at = at or utc_now() + 2 * DAY
    url = place.simulator.url.replace("ws", "http", 1)
    config = BillConfig(url=url, admin_key=ADMIN_KEY, delay_h=delay_h, usd=0, percent=0)
    first, last = (at - 4 * DAY).date(), at.date() + DAY
    engine = open_database(home.database_url)
    try:
        reconciler = Reconciler(config, {})
        made: Reconciliation = await asyncio.to_thread(reconciler.run, engine, first, last, Act("test", at))
        with reading(engine) as connection:
            rows = rows_of(connection, made.id)
    finally:
        engine.dispose()
    totals = {name: sum(day.amounts[name] for day in made.days) for name in AMOUNTS}
    explained = sum(totals[cause] for cause in Cause)
    assert totals["ours"] + explained + sum(row["unexplained_nanousd"] for row in rows) == totals["theirs"]
    return totals, [row for row in rows if row["difference_nanousd"]]


@pytest.mark.parametrize("home", ["plain", "postgres"], indirect=True)
async def test_whole_conversations_agree_to_the_nano_dollar(home: Home) -> None:
    """Fresh and cached tokens of all kinds, transcriptions by tokens and by time, a cancelled response."""
    async with home.open() as place:
        for transcriber in ("gpt-4o-mini-transcribe", "whisper-1"):
            async with talking(place) as client:
                await client.configure(audio={"input": {"transcription": {"model": transcriber}}})
                for _ in range(3):
                    await turn(client)
                await client.say("and in writing")
                await client.respond(output_modalities=["text"])
                await client.until("rate_limits.updated")
        totals, differing = await reconcile(home, place)
        booked = home.booked()
    assert differing == [] and totals["ours"] == totals["theirs"] > 0
    assert totals == dict.fromkeys(AMOUNTS, 0) | dict.fromkeys(("ours", "theirs"), totals["ours"])
    meters = {meter for entry in booked for meter in entry.lines}
    assert {"audio_in", "audio_in_cached", "text_in_cached", "text_out", "audio_out", "duration_ms"} <= meters


async def test_without_quantities_beside_costs_the_tokens_of_the_usage_report_serve(home: Home) -> None:
    async with home.open(tells_quantities=False) as place:
        async with talking(place) as client:
            await turn(client)
        totals, differing = await reconcile(home, place)
    assert differing == [] and totals["ours"] > 0


async def test_estimates(home: Home) -> None:
    """The upstream breaks off before it says what a response used, and bills nothing."""
    async with home.open() as place:
        async with talking(place, sim="abort_before_done") as client:
            await client.say("hello")
            await client.send("response.create")
            await client.ended()
        totals, _ = await reconcile(home, place)
        (entry,) = home.booked()
    assert entry.estimated and totals["estimates"] == -totals["ours"] < 0
    assert totals["theirs"] == totals["unexplained"] == 0


async def test_a_model_without_a_price(home: Home) -> None:
    models = {"extra_models": frozenset({"gpt-realtime-9"}), "billed_as": {"gpt-realtime-9": MODEL}}
    async with home.open(**models) as place:
        async with talking(place, "model=gpt-realtime-9") as client:
            await turn(client)
        totals, differing = await reconcile(home, place)
    assert totals["ours"] == totals["unexplained"] == 0
    assert totals["unrated"] == totals["theirs"] > 0
    assert all(row["unrated_quantity"] == row["theirs_quantity"] for row in differing)


async def test_figures_that_never_came_are_not_explained_away(home: Home) -> None:
    async with home.open() as place:
        async with talking(place, sim="null_usage") as client:
            await client.respond()
        totals, differing = await reconcile(home, place)
    assert totals["unexplained"] == totals["theirs"] > 0 and totals["ours"] == 0
    assert {row["uncounted_entries"] for row in differing} == {0}


async def test_a_changed_price(home: Home) -> None:
    """A contract is entered that the provider does not know of: it bills by the public card."""
    prices = {meter: Price(7_000) for meter in Meter if not meter.startswith(("untold", "duration"))}
    card = NewCard("openai", MODEL, utc_now() - DAY, "a contract", prices, CONTRACT)
    engine = open_database(home.database_url)
    with writing(engine) as connection:
        import_cards(connection, [card], Act("test", utc_now()))
    engine.dispose()
    async with home.open() as place:
        async with talking(place) as client:
            await turn(client)
        totals, differing = await reconcile(home, place)
    assert totals["unexplained"] == 0 and differing
    assert totals["price"] == totals["theirs"] - totals["ours"] != 0


async def test_a_response_over_midnight(home: Home) -> None:
    """It is opened at two seconds to midnight, and billed two seconds after it."""
    later = (MIDNIGHT + timedelta(seconds=2)).timestamp()
    now = [later]
    async with home.open(clock=lambda: now[0]) as place:
        place.app.gateway.clock = lambda: MIDNIGHT - timedelta(seconds=2)
        async with talking(place) as client:
            await turn(client)
        now[0] += 86_400  # its reports are read a day later
        totals, differing = await reconcile(home, place, at=MIDNIGHT + 2 * DAY)
    assert totals["ours"] == totals["theirs"] > 0 and totals["day_edge"] == totals["unexplained"] == 0
    moved = {
        on: sum(row["day_edge_nanousd"] for row in differing if row["on"] == on) for on in days(differing)
    }
    assert moved == {"2026-11-22": -totals["ours"], "2026-11-23": totals["ours"]}


def days(rows: list[dict[str, Any]]) -> list[str]:
    return sorted({row["on"] for row in rows})


async def test_what_the_provider_does_not_show_yet(home: Home) -> None:
    async with home.open(reporting_delay_s=3_600) as place:
        async with talking(place) as client:
            await turn(client)
        await place.over()
        totals, _ = await reconcile(home, place, at=utc_now() + timedelta(minutes=1), delay_h=24)
    assert totals["theirs"] == totals["unexplained"] == 0
    assert totals["delay"] == -totals["ours"] < 0
