"""A direction under chaos: whatever both sides do, every session ends once, and nothing is left."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from websockets.frames import Opcode

from proxy.core.commands import Journal
from proxy.core.rating import CardBook, RateCard
from proxy.core.records import Entry, SessionClosed, SubjectOpened
from proxy.core.refusal import stopped
from proxy.relay import half
from proxy.relay.reason import Reason
from proxy.relay.tunnel import Tunnel
from tests.core.accounts import account
from tests.core.scripts import PRICES
from tests.relay.conftest import Sides
from tests.relay.peers import Peer, frame, stage, until

SESSIONS = 40
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def message(chance: random.Random, mask: bool) -> bytes:
    """Return something that a side may say: usual, large, fragmented, broken, billed."""
    response_id = f"resp_{chance.randrange(3)}"
    usual: list[dict[str, object]] = [
        {"type": "session.update"},
        {"type": "input_audio_buffer.append", "audio": "A" * chance.choice([10, 6_400, 150_000])},
        {"type": "response.create"},
        {"type": "response.created", "response": {"id": response_id}},
        {"type": "response.output_audio.delta", "response_id": response_id, "delta": "A" * 6_400},
        {"type": "response.done", "response": {"id": response_id, "usage": {"total_tokens": 1}}},
    ]
    text = msgspec.json.encode(chance.choice(usual))
    cut = chance.randrange(len(text))
    return chance.choice(
        [
            frame(text, mask=mask),
            frame(text, mask=mask),
            frame(text[:cut], fin=False, mask=mask) + frame(text[cut:], opcode=Opcode.CONT, mask=mask),
            frame(b"ping", opcode=Opcode.PING, mask=mask),
            frame("[]", mask=mask),
        ]
    )


def say_last(chance: random.Random, peer: Peer) -> None:
    """Say something that is often no proper end."""
    half_sent = message(chance, peer.masks)
    last = chance.randrange(5)
    if last == 0:
        peer.write(half_sent[: chance.randrange(len(half_sent))])
    elif last == 1:
        peer.close(1000)
    elif last == 2:
        peer.close(4000, "said and left there")
    elif last == 3:
        peer.write(frame("wrong", mask=not peer.masks))


async def behave(chance: random.Random, peer: Peer) -> None:
    """Say things, then leave in one way or another; swallow all that comes."""
    swallowing = asyncio.gather(peer.reader.read(), return_exceptions=True)
    for _ in range(chance.randrange(12)):
        peer.write(message(chance, peer.masks))
        await asyncio.sleep(chance.random() * 0.01)
    say_last(chance, peer)
    if chance.random() < 0.5:
        peer.writer.close()
    await asyncio.wait([swallowing], timeout=chance.random() * 3)
    peer.reset()
    await swallowing


@pytest.mark.parametrize("seed", range(2))
async def test_every_session_ends_once_whatever_happens(
    seed: int, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half, "CLOSE_S", 0.3)
    monkeypatch.setattr(half, "BOUNDARY_S", 0.2)
    chance = random.Random(seed)
    async with stage(linger_s=0.3, stall_s=1.0, **sides) as it:
        it.journal.delay_s = lambda: chance.random() * 0.05
        pairs = [await it.pair() for _ in range(SESSIONS)]
        async with asyncio.TaskGroup() as group:
            for peer in (peer for pair in pairs for peer in pair):
                group.create_task(behave(random.Random(chance.random()), peer))
        await it.over()
        assert len(it.journal.of(SessionClosed)) == SESSIONS
        assert not [closed for closed in it.journal.of(SessionClosed) if closed.reason == "failed"]
        # Everything that was opened is billed or estimated, and once.
        opened = {(record.session_id, record.subject_id) for record in it.journal.of(SubjectOpened)}
        billed = [(entry.session_id, entry.subject_id) for entry in it.journal.of(Entry)]
        assert opened <= set(billed) and len(billed) == len(set(billed))


async def test_what_waits_for_the_disk_stands_in_no_other_session_s_way() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        other, other_upstream = await it.pair()
        it.journal.is_slow = True
        started = upstream.say({"type": "response.created", "response": {"id": "resp_1"}})
        await until(lambda: it.journal.is_waited_for)
        await other_upstream.exactly(other.say({"type": "x"}))
        await other.exactly(other_upstream.say({"type": "y"}))
        await upstream.exactly(client.say({"type": "x"}))  # nor does the other direction wait
        it.journal.is_slow = False
        it.journal.catch_up()
        await client.exactly(started)


def delta(chars: int = 6_400) -> bytes:
    """Return audio of the answer `resp_1` on the wire."""
    text = {"type": "response.output_audio.delta", "response_id": "resp_1", "delta": "A" * chars}
    return frame(msgspec.json.encode(text), mask=False)


async def test_audio_behind_a_record_waits_for_it_too() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        (live,) = it.gateway.sessions.values()
        it.journal.is_slow = True
        said = upstream.say({"type": "response.created", "response": {"id": "resp_1"}})
        await until(lambda: it.journal.is_waited_for)
        audio, scanner = delta() * 3, live.tunnel.upstream_lane.scanner
        for end in (1, 2, 3):  # each by itself
            upstream.write(delta())
            await until(lambda end=end: scanner.buffered == len(delta()) * end)  # type: ignore[misc]
        assert live.tunnel.client.bytes_sent == 0
        it.journal.is_slow = False
        it.journal.catch_up()
        await client.exactly(said + audio)
        upstream.write(delta())
        await client.exactly(delta())


async def test_the_cut_comes_with_the_audio_that_costs_too_much() -> None:
    async with stage() as it:
        it.budgets.accounts = [account(1_000)]  # 5 s of speech at 20 tokens a second
        it.catalog.cards = CardBook([RateCard("c", "openai", "gpt-realtime-2.1", EPOCH, PRICES)])
        client, upstream = await it.pair()
        await client.exactly(upstream.say({"type": "response.created", "response": {"id": "resp_1"}}))
        for _ in range(50):  # a tenth of a second each
            upstream.write(delta())
            await client.exactly(delta())
        assert (await client.get()).json["error"]["code"] == "insufficient_quota"
        assert (await client.get()).close[0] == 1008
        assert (await upstream.get()).json["type"] == "response.cancel"


async def test_what_follows_waits_while_more_money_is_asked_for() -> None:
    """The response is decided about again with the answer, and nothing overtakes it."""
    async with stage() as it:
        it.catalog.cards = CardBook([RateCard("c", "openai", "gpt-realtime-2.1", EPOCH, PRICES)])
        it.budgets.accounts = [account(400, leased=True)]
        client, upstream = await it.pair()
        it.budgets.accounts[0].leased_nanousd = 0
        it.budgets.is_slow, it.budgets.gives_nanousd = True, 1_000
        said = upstream.say({"type": "response.created", "response": {"id": "resp_1"}})
        upstream.write(delta())
        await until(lambda: bool(it.budgets.waiting))
        (live,) = it.gateway.sessions.values()
        assert live.tunnel.client.bytes_sent == 0
        it.budgets.answer()
        await client.exactly(said + delta())
        assert it.budgets.accounts[0].held_nanousd == 400


async def test_audio_that_came_at_once_is_asked_for_at_once() -> None:
    """Of many messages in one read the first one costs too much already: the answer has to cover them all."""
    async with stage() as it:
        it.catalog.cards = CardBook([RateCard("c", "openai", "gpt-realtime-2.1", EPOCH, PRICES)])
        it.budgets.accounts = [account(400, leased=True)]
        client, upstream = await it.pair()
        await client.exactly(upstream.say({"type": "response.created", "response": {"id": "resp_1"}}))
        it.budgets.gives_nanousd = 1_000
        upstream.write(delta() * 40)
        await client.exactly(delta() * 40)
        await until(lambda: it.budgets.accounts[0].held_nanousd == 1_200)
        assert len(it.budgets.asked) == 1


async def test_a_response_is_refused_only_once_the_answer_is_no() -> None:
    async with stage() as it:
        it.catalog.cards = CardBook([RateCard("c", "openai", "gpt-realtime-2.1", EPOCH, PRICES)])
        it.budgets.accounts = [account(400, leased=True)]
        client, upstream = await it.pair()
        it.budgets.accounts[0].leased_nanousd = 0
        upstream.say({"type": "response.created", "response": {"id": "resp_1"}})
        assert (await client.get()).json["error"]["code"] == "insufficient_quota"
        assert (await client.get()).close[0] == 1008
        assert (await upstream.get()).json["type"] == "response.cancel"
        assert [need.nanousd for ask in it.budgets.asked for need in ask.needs] == [400]


@pytest.mark.parametrize("asks", ["client", "upstream"])
async def test_a_stop_does_not_wait_for_more_money(asks: str) -> None:
    async with stage() as it:
        it.catalog.cards = CardBook([RateCard("c", "openai", "gpt-realtime-2.1", EPOCH, PRICES)])
        it.budgets.accounts = [account(400, leased=True)]
        client, upstream = await it.pair()
        it.budgets.accounts[0].leased_nanousd = 0
        it.budgets.is_slow = True
        if asks == "client":
            client.say({"type": "response.create"})
        else:
            upstream.say({"type": "response.created", "response": {"id": "resp_1"}})
        await until(lambda: bool(it.budgets.waiting))
        (live,) = it.gateway.sessions.values()
        assert it.gateway.stop(live.id, stopped("too loud"))
        assert (await client.get()).json["error"]["code"] == "session_stopped"
        assert (await client.get()).close[0] == 1008
        if asks == "upstream":
            assert (await upstream.get()).json["type"] == "response.cancel"
        it.budgets.answer()  # which nobody waits for any more


async def test_an_answer_to_the_client_waits_for_the_end_of_a_large_message() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        raw = frame(
            msgspec.json.encode(
                {"type": "response.output_audio.delta", "response_id": "r", "delta": "A" * 200_000}
            ),
            mask=False,
        )
        upstream.write(raw[:100_000])
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.tunnel.client.bytes_sent > 60_000)
        client.say("[]")
        await until(lambda: live.tunnel.client.is_choked)
        await asyncio.sleep(half.BOUNDARY_S + 0.2)  # longer than a close would wait
        upstream.write(raw[100_000:])
        await client.exactly(raw)
        assert (await client.get()).json["type"] == "error"
        await upstream.exactly(client.say({"type": "x"}))


def append(chars: int = 6_400) -> bytes:
    """Return audio of the client on the wire."""
    return frame(msgspec.json.encode({"type": "input_audio_buffer.append", "audio": "A" * chars}), mask=True)


async def test_audio_takes_the_short_way_after_the_first_message() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        (live,) = it.gateway.sessions.values()
        for sender, receiver, lane, audio in (
            (client, upstream, live.tunnel.client_lane, append()),
            (upstream, client, live.tunnel.upstream_lane, delta()),
        ):
            for number in range(3):
                sender.write(audio)
                await receiver.exactly(audio)
                assert lane.short_bytes == number * len(audio)  # the first one found it clear
            assert (lane.message_count, lane.byte_count) == (3, 3 * len(audio))
            assert (lane.untold(), lane.untold()) == ((3, 3 * len(audio)), (0, 0))
            assert lane.target.bytes_sent == 3 * len(audio)


IN_THE_WAY: dict[str, Callable[[Tunnel], None]] = {
    "a frame of ours to the client": lambda tunnel: tunnel.client.send("{}"),
    "a frame of ours to the upstream": lambda tunnel: tunnel.upstream.send("{}"),
    "a record on its way to the disk": lambda tunnel: tunnel.upstream_lane.do(
        [Journal(tunnel.session.facts)]
    ),
    "a side that is shut": lambda tunnel: tunnel.client.close(),
    "a side that does not count any more": lambda tunnel: tunnel.client_lane.deafen(),
    "a frame that had to be finished": lambda tunnel: tunnel.upstream.end_feeder(),
    "a session that lingers": lambda tunnel: tunnel.dismiss(1000, "", Reason.STOPPED),
    "a session that leaves": lambda tunnel: tunnel.leave(10.0),
    "a bug": lambda tunnel: tunnel.fail(),
}


@pytest.mark.parametrize("put", IN_THE_WAY.values(), ids=IN_THE_WAY)
async def test_whatever_gets_in_the_way_is_looked_at(put: Callable[[Tunnel], None]) -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        (live,) = it.gateway.sessions.values()
        await upstream.exactly(client.say({"type": "x"}))
        await client.exactly(upstream.say({"type": "y"}))
        lanes = (live.tunnel.client_lane, live.tunnel.upstream_lane)
        assert all(lane.is_clear for lane in lanes)
        it.journal.is_slow = True
        put(live.tunnel)
        assert not any(lane.is_clear for lane in lanes)
        it.journal.is_slow = False
        it.journal.catch_up()
        live.tunnel.abort()


async def test_a_read_is_timed_whichever_way_it_takes() -> None:
    """The short one, the long one, and the wait for the disk; never two for one sample."""
    async with stage() as it:
        client, upstream = await it.pair()
        (live,) = it.gateway.sessions.values()
        lane = live.tunnel.client_lane

        def timed(side: str = "client") -> float:
            labels = {"sender": side}
            return it.metrics.registry.get_sample_value("talkmeter_relay_seconds_count", labels) or 0

        before, audio = timed(), append()
        for expected in (before + 1, before + 1, before + 2):
            if expected != timed():
                lane.sample()
                assert not lane.is_clear
            client.write(audio)
            await upstream.exactly(audio)
            assert timed() == expected
        lane.sample()
        await upstream.exactly(client.say({"type": "x"}))
        assert timed() == before + 3
        it.journal.is_slow = True
        live.tunnel.upstream_lane.sample()
        before = timed("upstream")
        started = upstream.say({"type": "response.created", "response": {"id": "r"}})
        await until(lambda: it.journal.is_waited_for)
        assert timed("upstream") == before
        it.journal.is_slow = False
        it.journal.catch_up()
        await client.exactly(started)
        assert timed("upstream") == before + 1


async def test_who_is_not_listened_to_any_more_is_not_timed() -> None:
    async with stage() as it:
        client, _ = await it.pair()
        (live,) = it.gateway.sessions.values()
        lane, count = live.tunnel.client_lane, "talkmeter_relay_seconds_count"
        lane.deafen()
        before = it.metrics.registry.get_sample_value(count, {"sender": "client"}) or 0
        lane.sample()
        client.write(append())
        await until(lambda: not lane.is_sampled)
        assert (it.metrics.registry.get_sample_value(count, {"sender": "client"}) or 0) == before


async def test_the_first_audio_of_a_response_is_noticed() -> None:
    """By whichever way it comes, and in whichever spelling."""
    beta = {"type": "response.audio.delta", "response_id": "resp_2", "delta": "AAAA"}
    spellings = [delta(), frame(json.dumps(beta), mask=False)]
    async with stage() as it:
        client, upstream = await it.pair()
        for number, first in enumerate(spellings, 1):
            started = {"type": "response.created", "response": {"id": f"resp_{number}"}}
            stopped = {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900}
            for message in (stopped, started):
                await client.exactly(upstream.say(message))
            for _ in range(2):
                upstream.write(first)
                await client.exactly(first)
            name = "talkmeter_time_to_first_audio_seconds_count"
            assert it.metrics.registry.get_sample_value(name, {"model": "gpt-realtime-2.1"}) == number
