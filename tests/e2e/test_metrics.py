"""Conversations as the metrics show them: every figure beside what the client has seen itself."""

import asyncio
import base64
import re
import time

import pytest
import websockets

from proxy.admin import gauges
from proxy.core.budgets import OnExhausted
from tests.e2e.place import QUERY, Home, Place
from tests.e2e.test_budgets import CENT, ask, heard, set_amount
from tests.e2e.test_reconciliation import reconcile
from tests.relay.peers import until
from tests.simulator.talk import Client

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_factories=["uvloop"])]

MODEL = QUERY.removeprefix("model=")
WHO = {"tenant": "acme", "model": MODEL}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
THINK_S = 0.2
VAD = {"type": "server_vad", "silence_duration_ms": 200}


def value(place: Place, name: str, **labels: str) -> float:
    return place.app.metrics.registry.get_sample_value(f"talkmeter_{name}", labels) or 0.0


def audio_ms(client: Client, item_id: str | None = None) -> float:
    """Return how much audio the client has got, in all or of one item."""
    deltas = client.of("response.output_audio.delta")
    sizes = [len(base64.b64decode(one["delta"])) for one in deltas if item_id in (None, one["item_id"])]
    return sum(sizes) / 48


async def be_sampled(place: Place, client: Client) -> None:
    """Exchange messages until a read of each side was timed."""
    while not all(value(place, "relay_seconds_count", sender=one) for one in ("client", "upstream")):
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        await asyncio.sleep(0.05)


async def break_in(client: Client, heard_ms: int) -> str:
    """Interrupt what is being said, and tell that only its beginning was played; return the item's id."""
    for _ in range(5):
        delta = await client.until("response.output_audio.delta")
    await client.speak(400, silent_ms=400)
    done = await client.until("response.done")
    assert done["response"]["status_details"]["reason"] == "turn_detected"
    item = {"item_id": delta["item_id"], "content_index": 0, "audio_end_ms": heard_ms}
    await client.send("conversation.item.truncate", **item)
    await client.until("conversation.item.truncated")
    return str(delta["item_id"])


async def test_a_conversation_by_voice(home: Home) -> None:
    """Two answers that are heard to their end, 21 s each, one that is broken into, and one in writing."""
    async with home.open(speed=20.0, think_s=THINK_S) as place:
        async with place.connected(sim="words:60") as client:
            await client.configure(audio={"input": {"turn_detection": VAD}})
            (session_id,) = place.app.gateway.sessions
            await client.speak(400, silent_ms=400)
            await client.until("response.done")
            await client.speak(400, silent_ms=400)
            item_id = await break_in(client, heard_ms=100)
            await client.until("response.done")
            await client.say("and in writing")
            await client.respond(output_modalities=["text"])
            await be_sampled(place, client)
        await place.over()
        spoken_ms, item_ms = audio_ms(client), audio_ms(client, item_id)
        assert value(place, "output_audio_seconds_total", **WHO) == pytest.approx(spoken_ms / 1_000)
        assert spoken_ms >= 42_000 and item_ms >= 500
        assert value(place, "unheard_audio_seconds_total", **WHO) == pytest.approx((item_ms - 100) / 1_000)
        assert value(place, "interruptions_total", **WHO) == 1
        first, name = value(place, "time_to_first_audio_seconds_sum", model=MODEL), "time_to_first_audio"
        assert value(place, f"{name}_seconds_count", model=MODEL) == 3
        assert 3 * THINK_S <= first < 6
        assert value(place, f"{name}_seconds_bucket", model=MODEL, le="0.1") == 0
        assert value(place, "response_seconds_count", model=MODEL) == 4
        assert first < value(place, "response_seconds_sum", model=MODEL) < 20
        assert value(place, "response_context_tokens_count", model=MODEL) == 4
        assert value(place, "response_context_tokens_sum", model=MODEL) > 400
        assert 0 < value(place, "response_cached_ratio_sum", model=MODEL) < 4
        assert value(place, "relay_seconds_bucket", sender="client", le="0.1") > 0
        assert value(place, "usage_to_ledger_seconds_count") == 4
        assert 0 < value(place, "usage_to_ledger_seconds_sum") < 40
        assert 0 <= time.time() - value(place, "ledger_last_commit_timestamp_seconds") < 60
        text = await place.metrics(OPENMETRICS)
    seen = [
        line.partition("_bucket")[0] for line in text.splitlines() if f'# {{session="{session_id}"}}' in line
    ]
    assert set(seen) == {
        "talkmeter_time_to_first_audio_seconds",
        "talkmeter_response_seconds",
        "talkmeter_response_context_tokens",
    }


async def test_a_budget_on_its_way_and_beyond(home: Home) -> None:
    """Under `block` what runs is finished: the overshoot is what it cost beyond the budget."""
    set_amount(home, 5 * CENT, OnExhausted.BLOCK)
    async with home.open(speed=50.0) as place:
        await heard(place)
        async with place.connected(sim="words:20,slow_response:2") as client:
            await client.configure()
            await ask(client)
            await client.until("response.created")
            await until(lambda: value(place, "holds_usd") > 0)
            await client.until("response.done")
            used = {"tenant": "acme", "budget": "tenant month"}
            await until(lambda: 0 < value(place, "budget_used_ratio", **used) < 1)
        assert value(place, "budget_overshoot_usd_total") == 0
        denied = {"scope": "tenant", "window": "month"}
        async with place.connected(sim="words:300") as client:
            await client.configure()
            await ask(client)
            assert (await client.ended())[0] == 1008
        assert value(place, "budget_denials_total", **denied) == 1
        with pytest.raises(websockets.InvalidStatus):
            async with place.connected():
                pass
        assert value(place, "budget_denials_total", **denied) == 2
        spent = sum(entry.cost_nanousd or 0 for entry in await place.over())
        over = (spent - 5 * CENT) / 1_000_000_000
        assert value(place, "budget_overshoot_usd_total") == pytest.approx(over)
        assert over > 0.05
        await until(lambda: value(place, "holds_usd") == value(place, "budget_used_ratio", **used) == 0)
        assert "talkmeter_budget_used_ratio{" not in await place.metrics()


async def test_the_last_comparison_with_the_bill(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is billed without a word of its usage is unexplained: all of it."""
    monkeypatch.setattr(gauges, "LOOK_S", 0.1)
    async with home.open() as place:

        async def variance() -> str:
            found = re.search(r"^talkmeter_reconciliation_variance_ratio (\S+)$", await place.metrics(), re.M)
            return found[1] if found else ""

        assert await variance() == "NaN"
        async with place.connected(sim="null_usage", check=False) as client:
            await client.configure()
            await client.respond()
        await reconcile(home, place)
        while await variance() != "1.0":  # noqa: ASYNC110  the test's own time limit is the failure
            await asyncio.sleep(0.1)
