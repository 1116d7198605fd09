"""Budgets hold while a conversation is spoken: real sockets, a real database, a model that never stops."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import websockets
from sqlalchemy import select

from proxy.clock import utc_now
from proxy.core.budgets import OnExhausted, Scope
from proxy.core.farewell import TOKENS_MIN
from proxy.core.money import format_usd
from proxy.core.windows import Window
from proxy.store.audit import Act
from proxy.store.budgets import Terms, delete_budget, set_budget
from proxy.store.database import open_database, reading, writing
from proxy.store.schema import budget_cut, budget_window, lease
from tests.e2e.place import Home, Place
from tests.relay.peers import until

CENT = 10_000_000
AUDIO_OUT_NANOUSD = 64_000  # of gpt-realtime-2.1, a token
TWO_SECONDS = 40 * AUDIO_OUT_NANOUSD
ENDLESS = "words:2000"

Told = Callable[[str, object], None]

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_factories=["uvloop"])]
both = pytest.mark.parametrize("home", ["plain", "postgres"], indirect=True)


def set_amount(home: Home, amount: int | None, policy: OnExhausted = OnExhausted.CUT, **facts: Any) -> str:
    """Set a budget of the tenant; return its id."""
    engine = open_database(home.database_url)
    given: dict[str, Any] = {"scope": Scope.TENANT, "window": Window.MONTH, "tenant": "acme"}
    try:
        with writing(engine) as connection:
            act = Act("test", utc_now(), "a test")
            given["terms"] = Terms(on_exhausted=policy)
            made = set_budget(connection, act, amount_nanousd=amount, **(given | facts))
            return made.rule.id
    finally:
        engine.dispose()


def remove(home: Home, budget_id: str) -> None:
    engine = open_database(home.database_url)
    try:
        with writing(engine) as connection:
            delete_budget(connection, Act("test", utc_now(), "a test"), budget_id)
    finally:
        engine.dispose()


def rows(home: Home, table: Any) -> list[Any]:
    engine = open_database(home.database_url)
    try:
        with reading(engine) as connection:
            return list(connection.execute(select(table)).mappings().all())
    finally:
        engine.dispose()


async def heard(place: Place) -> None:
    """Wait until the instance has heard of the latest change."""
    await until(lambda: bool(place.app.catalog.budgets.budgets))


async def ask(client: Any, text: str = "hello") -> None:
    await client.say(text)
    await client.send("response.create")


@both
async def test_a_runaway_is_cut_inside_its_response(home: Home, record_property: Told) -> None:
    """At five times real time, $0.05: the overshoot is under the price of two seconds of output."""
    set_amount(home, 5 * CENT)
    async with home.open(speed=5.0) as place:
        await heard(place)
        async with place.connected(sim=ENDLESS) as client:
            await client.configure()
            await ask(client)
            code, reason = await client.ended()
        assert code == 1008
        assert reason.startswith("insufficient_quota: The month budget of this tenant is spent")
        assert client.of("error")[-1]["error"]["code"] == "insufficient_quota"
        assert not client.of("response.done")
        (entry,) = await place.over()
        assert entry.status == "cancelled"
        (cut,) = rows(home, budget_cut)
        (window,) = rows(home, budget_window)
        assert window["spent_nanousd"] == cut["cost_nanousd"] == entry.cost_nanousd
        over = window["spent_nanousd"] - 5 * CENT
        spent = format_usd(window["spent_nanousd"])
        record_property("figure", f"runaway, cut: ${spent} of $0.05 spent, {over:+,} nano-dollars over")
        assert over <= cut["overshoot_nanousd"] <= TWO_SECONDS
        assert window["spent_nanousd"] > 4 * CENT
        assert cut["limit_nanousd"] == 5 * CENT
        assert cut["estimate_nanousd"] >= cut["held_nanousd"] > 0
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with place.connected():
                pass
        assert refused.value.response.status_code == 402
        assert b"month budget of this tenant" in refused.value.response.body
    assert rows(home, lease) == []


async def test_the_audio_format_of_a_response_is_no_way_round_a_budget(home: Home) -> None:
    """The session speaks PCM, and one response telephone audio: six times as long for its bytes."""
    set_amount(home, 5 * CENT)
    async with home.open(speed=5.0) as place:
        await heard(place)
        async with place.connected(sim=ENDLESS) as client:
            await client.configure()
            await client.say("hello")
            await client.send(
                "response.create", response={"audio": {"output": {"format": {"type": "audio/pcmu"}}}}
            )
            assert (await client.ended())[0] == 1008
        await place.over()
        (window,) = rows(home, budget_window)
        assert 4 * CENT < window["spent_nanousd"] <= 5 * CENT + TWO_SECONDS


async def test_under_block_the_same_runaway_finishes_and_then_the_session_closes(
    home: Home, record_property: Told
) -> None:
    """It has an end here, which it comes to quickly: twelve minutes of speech."""
    set_amount(home, 5 * CENT, OnExhausted.BLOCK)
    async with home.open(speed=200.0) as place:
        await heard(place)
        async with place.connected(sim=ENDLESS) as client:
            await client.configure()
            await ask(client)
            code, _ = await client.ended()
        assert code == 1008
        assert client.of("response.done")[-1]["response"]["status"] == "completed"
        (entry,) = await place.over()
        assert entry.cost_nanousd is not None
        record_property("figure", f"runaway, block: ${format_usd(entry.cost_nanousd)} of $0.05 spent")
        assert entry.cost_nanousd > 90 * CENT


async def test_under_notify_nothing_ends(home: Home) -> None:
    set_amount(home, CENT, OnExhausted.NOTIFY)
    async with home.open() as place:
        await heard(place)
        async with place.connected(sim="words:60") as client:
            await client.configure()
            for _ in range(3):
                await ask(client)
                await client.until("response.done")
        assert len(await place.over()) == 3


async def test_under_wrap_up_the_model_says_goodbye_in_its_own_voice(home: Home) -> None:
    set_amount(home, 5 * CENT, OnExhausted.WRAP_UP)
    async with home.open(speed=20.0) as place:
        await heard(place)
        async with place.connected() as client:
            await client.configure()
            await ask(client, "Please answer in 200 words")
            code, reason = await client.ended()
        assert (code, reason.partition(":")[0]) == (1008, "insufficient_quota")
        answers = [event["response"]["status"] for event in client.of("response.done")]
        assert answers == ["cancelled", "completed"]
        entries = await place.over()
        assert sum(entry.cost_nanousd or 0 for entry in entries) <= 5 * CENT + TWO_SECONDS


async def test_under_wrap_up_turn_detection_does_not_speak_the_last_words(home: Home) -> None:
    """What a user says costs more to transcribe than is left: turn detection answers it first."""
    amount = 15_700_000  # the reserve is 12,800,000 of it, and what the last words have to read
    set_amount(home, amount, OnExhausted.WRAP_UP)
    async with home.open(speed=20.0) as place:
        await heard(place)
        async with place.connected() as client:
            hearing = {
                "transcription": {"model": "gpt-realtime-whisper"},
                "turn_detection": {"type": "server_vad"},
            }
            await client.configure(audio={"input": hearing})
            await ask(client, "Please answer in 2 words")
            await client.until("response.done")
            await client.speak(6_000, silent_ms=1_000)
            code, _ = await client.ended()
        assert code == 1008
        first, answer, goodbye = (event["response"] for event in client.of("response.done"))
        assert (first["status"], answer["status"]) == ("completed", "cancelled")
        assert goodbye["status"] in ("completed", "incomplete")  # the simulator is never brief
        assert goodbye["usage"]["output_tokens"] >= TOKENS_MIN
        entries = await place.over()
        assert sum(entry.cost_nanousd or 0 for entry in entries) <= amount
        (cut,) = rows(home, budget_cut)
        assert cut["subject_id"] == answer["id"]
        assert cut["held_nanousd"] == cut["estimate_nanousd"] > 0


@pytest.mark.parametrize("change", ["made", "lowered", "made at nothing"])
async def test_a_change_reaches_a_running_response_within_two_seconds(home: Home, change: str) -> None:
    budget = set_amount(home, 500 * CENT) if change == "lowered" else None
    async with home.open(speed=1.0) as place:
        if budget:
            await heard(place)
        async with place.connected(sim=ENDLESS) as client:
            await client.configure()
            await ask(client)
            for _ in range(10):
                await client.until("response.output_audio.delta")
            set_amount(home, 0 if change == "made at nothing" else 1)
            began = time.monotonic()
            code, _ = await client.ended()
            print(f"\n{change}: cut after {time.monotonic() - began:.2f} s")
        assert code == 1008
        await place.over()


async def test_a_new_budget_of_each_user_reaches_all_who_talk_within_two_seconds(home: Home) -> None:
    """Nobody had to know who they are until then."""
    key = {"Authorization": f"Bearer {home.secret}"}
    async with home.open(speed=1.0) as place, AsyncExitStack() as all_of_them:
        clients = [
            await all_of_them.enter_async_context(
                place.connected(sim=ENDLESS, headers=key | {"Talkmeter-User": f"bob {n}"})
            )
            for n in range(6)
        ]
        for client in clients:
            await client.configure()
            await ask(client)
            await client.until("response.output_audio.delta")
            await asyncio.sleep(0.1)  # so that they are not all looked after in the same moment
        set_amount(home, 1, scope=Scope.EACH_USER, window=Window.DAY)
        began = time.monotonic()

        async def ended(client: Any) -> float:
            assert (await client.ended())[0] == 1008
            return time.monotonic() - began

        took = await asyncio.gather(*map(ended, clients))
        print(f"\ncut after {', '.join(f'{seconds:.2f}' for seconds in sorted(took))} s")
        await all_of_them.aclose()
        await place.over()
    assert max(took) < 2


async def test_a_deleted_budget_no_longer_ends_what_runs(home: Home) -> None:
    budget = set_amount(home, 2 * CENT)
    async with home.open(speed=5.0) as place:
        await heard(place)
        async with place.connected(sim="words:60") as client:
            await client.configure()
            await ask(client)
            await client.until("response.output_audio.delta")
            remove(home, budget)
            done = await client.until("response.done")
        assert done["response"]["status"] == "completed"
        (entry,) = await place.over()
        assert (entry.cost_nanousd or 0) > 2 * CENT


async def test_each_user_has_a_budget_of_their_own(home: Home) -> None:
    set_amount(home, 1, scope=Scope.EACH_USER, window=Window.DAY)
    key = {"Authorization": f"Bearer {home.secret}"}
    async with home.open() as place:
        await heard(place)
        async with place.connected() as client:  # nobody's name, nobody's budget
            await client.configure()
        for name in ("Talkmeter-User", "OpenAI-Safety-Identifier"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with place.connected(headers=key | {name: "bob"}):
                    pass
            assert b"day budget of this end user" in refused.value.response.body
        await place.over()


async def test_a_model_without_a_price_is_refused_where_a_budget_has_an_amount(home: Home) -> None:
    budget = set_amount(home, 100 * CENT)
    async with home.open(extra_models=frozenset({"gpt-unheard-of"})) as place:
        await heard(place)
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with place.connected("model=gpt-unheard-of"):
                pass
        assert refused.value.response.status_code == 403
        assert b"no price for the model" in refused.value.response.body
        remove(home, budget)
        await until(lambda: not place.app.catalog.budgets.budgets)
        async with place.connected("model=gpt-unheard-of") as client:
            await client.configure()
        await place.over()


@both
async def test_parallel_sessions_share_one_budget(home: Home) -> None:
    """Ten at once: spent is at most the amount and what single responses went beyond their holds."""
    set_amount(home, 20 * CENT)
    async with home.open(speed=20.0) as place:
        await heard(place)

        async def talk() -> int:
            try:
                async with place.connected(sim=ENDLESS) as client:
                    await client.configure()
                    await ask(client)
                    return (await client.ended())[0]
            except websockets.InvalidStatus as refused:
                return refused.response.status_code

        codes = await asyncio.gather(*(talk() for _ in range(10)))
        assert set(codes) <= {1008, 402}
        await place.over()
        cuts, (window,) = rows(home, budget_cut), rows(home, budget_window)
        over = sum(cut["overshoot_nanousd"] for cut in cuts)
        spent = window["spent_nanousd"]
        print(f"\nspent ${format_usd(spent)} of $0.20, {len(cuts)} cut, ${format_usd(over)} over")
        assert 19 * CENT <= spent <= 20 * CENT + over
