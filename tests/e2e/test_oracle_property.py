"""Many small random conversations at once, everything that can go wrong going wrong: the ledger is exact."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.e2e.place import Home, Place, reset
from tests.relay.peers import until
from tests.simulator.talk import Client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SESSIONS = 40
QUIET_S = 0.15  # nothing comes any more, as far as this client waits
LINGER_S = 5.0  # a bill that comes is never given up for being slow, however busy the machine

# Every way in which a voice API misbehaves, often none; what ends the upstream early, or keeps a bill back.
LOSING = (
    "abort_after_audio:3",
    "drop_after_audio:5",
    "close_after_audio:4",
    "stall_after_audio:4",
    "abort_before_done",
    "abort_after_done",
    "mute_cancel",
    "expire:0.1",
)
ODD = (
    "duplicate_done",
    "unknown_done",
    "omit_usage",
    "null_usage",
    "zero_usage",
    "no_details",
    "cached_without_details",
    "totals_mismatch",
    "obfuscation",
    "fragment:300",
    "snapshot:2026-08-01",
    "fail:server_error",
    "content_filter",
    "ignore_cancel",
    "ahead:20",
    "early_cancel:null",
    "early_cancel:usage",
    "late_transcription:0.1",
    "omit_transcription_usage",
    "fail_transcription",
    "slow_response:0.05",
    "words:15",
)
MODELS = ("gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime", "gpt-realtime-mini-2025-10-06")
TRANSCRIBERS = (None, "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1", "gpt-realtime-whisper")


def faults(rng: random.Random) -> list[str]:
    """Return what is wrong with one session's upstream: mostly little."""
    losing = [rng.choice(LOSING)] if rng.random() < 0.3 else []
    return losing + rng.sample(ODD, rng.choice([0, 0, 1, 1, 2]))


Act = Callable[[Client, random.Random], Awaitable[None]]


async def write(client: Client, rng: random.Random) -> None:
    content = [{"type": "input_text", "text": f"Give me {rng.randint(1, 40)} words"}]
    await client.send(
        "conversation.item.create", item={"type": "message", "role": "user", "content": content}
    )


async def show(client: Client, rng: random.Random) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    item = {"type": "message", "role": "user", "content": [image]}
    await client.send("conversation.item.create", item=item)


async def ask(client: Client, rng: random.Random) -> None:
    await client.send("response.create")


async def ask_apart(client: Client, rng: random.Random) -> None:
    await client.send("response.create", response={"conversation": "none", "output_modalities": ["text"]})


async def speak(client: Client, rng: random.Random) -> None:
    await client.speak(rng.randint(100, 900), silent_ms=rng.choice([0, 600]))


async def commit(client: Client, rng: random.Random) -> None:
    await client.send("input_audio_buffer.commit")


async def cancel(client: Client, rng: random.Random) -> None:
    await client.send("response.cancel")


async def configure(client: Client, rng: random.Random) -> None:
    transcriber = rng.choice(TRANSCRIBERS)
    listening = {
        "turn_detection": rng.choice([None, {"type": "server_vad"}]),
        "transcription": transcriber and {"model": transcriber},
    }
    session = {"type": "realtime", "audio": {"input": listening}, "instructions": "Be brief. " * 30}
    await client.send("session.update", session=session)
    await client.until("session.updated")


async def change_model(client: Client, rng: random.Random) -> None:
    """Change it, and wait: a response and a change that cross are a matter of luck upstream."""
    await client.send("session.update", session={"type": "realtime", "model": rng.choice(MODELS)})
    await client.until("session.updated")


async def listen(client: Client, rng: random.Random) -> None:
    """Hear some events, or until nothing comes for a while."""
    with contextlib.suppress(TimeoutError):
        for _ in range(rng.randint(1, 60)):
            async with asyncio.timeout(QUIET_S):
                await client.next()


ACTS: tuple[Act, ...] = (write, write, show, ask, ask, ask_apart, speak, commit, cancel, listen, listen)


async def conversation(place: Place, rng: random.Random, sim: list[str]) -> str | None:
    """Have one, to a random end; return the upstream's id of the session, None if there was none."""
    upstream_id = None
    with contextlib.suppress(ConnectionClosed, InvalidHandshake, TimeoutError):
        model = f"model={rng.choice(MODELS)}"
        async with place.connected(model, sim=",".join(sim), check=False) as client:
            upstream_id = (await client.next())["session"]["id"]
            await act(client, rng, changes_model="unknown_done" not in sim and rng.random() < 0.2)
    return upstream_id


async def act(client: Client, rng: random.Random, *, changes_model: bool) -> None:
    """Do this and that. What ends without having begun is booked on the model of that time."""
    async with asyncio.timeout(5):
        await configure(client, rng)
        for _ in range(rng.randint(4, 14)):
            await rng.choice(ACTS)(client, rng)
        if changes_model:
            await change_model(client, rng)
            await ask(client, rng)
            await listen(client, rng)
    if rng.random() < 0.4:
        reset(client.connection.transport)


@pytest.mark.parametrize("home", ["plain", "postgres"], indirect=True)
@pytest.mark.parametrize("seed", range(2))
async def test_the_ledger_is_what_was_sent(home: Home, seed: int) -> None:
    """No order, repetition or loss of messages makes the ledger differ from the truth file."""
    rng = random.Random(seed)
    plans = [faults(rng) for _ in range(SESSIONS)]
    async with home.open(linger_s=LINGER_S, speed=rng.choice([50.0, 1_000.0])) as place:
        ids = await asyncio.gather(
            *(conversation(place, random.Random(seed * 1_000 + n), sim) for n, sim in enumerate(plans))
        )
        booked = await place.over()
    assert len(home.sessions()) >= len([i for i in ids if i])
    assert len(booked) > SESSIONS
    losing = {i for i, sim in zip(ids, plans, strict=True) if i and set(sim) & set(LOSING)}
    assert {entry.session for entry in booked if entry.estimated} <= losing


async def test_a_restart_in_the_middle_of_it_all(home: Home) -> None:
    """What runs is drained, what comes is refused, and the next start goes on where this one ended."""
    rng = random.Random(7)
    for _ in range(2):
        async with home.open(linger_s=0.5, speed=100.0) as place:
            randoms = [random.Random(rng.random()) for _ in range(SESSIONS // 2)]
            conversations = asyncio.gather(*(conversation(place, own, faults(own)) for own in randoms))
            await until(lambda: place.simulator.sessions >= SESSIONS // 4)
            await place.app.gateway.drain()
            await conversations
        home.check()
