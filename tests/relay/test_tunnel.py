"""A session on real sockets: what is relayed, in which order, and how it ends."""

import asyncio
import gc
import os
from typing import Any

import msgspec
import pytest
from websockets.frames import Opcode

from proxy.core.records import Entry, SessionClosed, SubjectOpened
from proxy.core.refusal import KEY_REVOKED, stopped
from tests.relay.conftest import Sides
from tests.relay.peers import Peer, Stage, close, frame, stage, until, upgrade

STARTED = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
ENDED = {
    "type": "response.done",
    "response": {
        "id": "resp_1",
        "status": "completed",
        "usage": {
            "total_tokens": 30,
            "input_tokens": 10,
            "output_tokens": 20,
            "input_token_details": {"text_tokens": 10, "cached_tokens": 0},
            "output_token_details": {"audio_tokens": 20},
        },
    },
}


def delta(chars: int = 6400, response_id: str = "resp_1") -> dict[str, Any]:
    """Return an audio delta of the usual kind."""
    return {
        "type": "response.output_audio.delta",
        "event_id": "event_1",
        "response_id": response_id,
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "A" * chars,
    }


def append(chars: int = 6400) -> dict[str, Any]:
    """Return an audio append of the usual kind."""
    return {"type": "input_audio_buffer.append", "audio": "A" * chars}


async def running(it: Stage) -> tuple[Peer, Peer]:
    """Return both ends of a session in which a response runs."""
    client, upstream = await it.pair()
    await client.exactly(upstream.say(STARTED))
    return client, upstream


async def gone(it: Stage) -> SessionClosed:
    """Wait for the end of the only session; return how it ended."""
    await it.over()
    (closed,) = it.journal.of(SessionClosed)
    return closed


# What is relayed


async def test_every_frame_passes_byte_for_byte(sides: Sides) -> None:
    def parts(mask: bool, event: dict[str, Any]) -> list[bytes]:
        large = b'{"type":"conversation.item.create","x":"' + b"y" * 70_000 + b'"}'
        return [
            frame('{"type":"session.update"}', mask=mask),
            frame('{"type":"session.', fin=False, mask=mask),
            frame(b"ping in between", opcode=Opcode.PING, mask=mask),
            frame('update"', opcode=Opcode.CONT, fin=False, mask=mask),
            frame("", opcode=Opcode.CONT, fin=False, mask=mask),
            frame("}", opcode=Opcode.CONT, mask=mask),
            frame(b"\x00\xff", opcode=Opcode.BINARY, mask=mask),
            frame(os.urandom(125), opcode=Opcode.PONG, mask=mask),
            frame(b"", opcode=Opcode.PING, mask=mask),
            frame(msgspec.json.encode(event), mask=mask),
            frame(large, mask=mask),
        ]

    async with stage(**sides) as it:
        client, upstream = await it.pair()
        for sender, receiver, said in (
            (client, upstream, parts(True, append())),
            (upstream, client, parts(False, delta())),
        ):
            sender.write(b"".join(said) * 3)
            # Only the ping between fragments moves: it goes before the message that is held until whole.
            held, ping = said[1:2], said[2:3]
            passed = b"".join(said[:1] + ping + held + said[3:])
            assert await read(receiver, 3 * len(passed)) == 3 * passed


async def read(peer: Peer, size: int) -> bytes:
    """Return the next `size` bytes."""
    async with asyncio.timeout(10):
        return await peer.reader.readexactly(size)


async def test_what_the_upstream_says_and_nobody_understands_is_passed_on_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        for text in ("no JSON", "[]", '{"type":"unknown"}'):
            sent = frame(text, mask=False)
            upstream.write(sent)
            await client.exactly(sent)
        assert it.metrics.registry.get_sample_value("talkmeter_upstream_unreadable_total") == 2
        told = [one for one in caplog.records if one.message == "a message of the upstream cannot be read"]
        assert [vars(one)["problem"] for one in told] == ["not JSON: JSONDecodeError", "not a JSON object"]


async def test_order_and_fragments_are_kept() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        said = b"".join(
            [
                frame('{"type":"a"', fin=False, mask=True),
                frame("}", opcode=Opcode.CONT, mask=True),
                frame('{"type":"b"}', mask=True),
                frame(b"1", opcode=Opcode.PING, mask=True),
                frame('{"type":"c"}', mask=True),
            ]
        )
        for at in range(0, len(said), 5):
            client.write(said[at : at + 5])
            await asyncio.sleep(0)
        await upstream.exactly(said)


async def test_large_messages_pass_both_ways(sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await it.pair()
        for sender, receiver, message in (
            (client, upstream, append(3_000_000)),
            (upstream, client, delta(3_000_000)),
            (client, upstream, {"type": "conversation.item.create", "x": "y" * 3_000_000}),
        ):
            raw = sender.say(message)
            await receiver.exactly(raw)


async def test_early_bytes_on_both_sides_are_kept(sides: Sides) -> None:
    async with stage(**sides) as it:
        it.upstream.early = frame('{"type":"session.created"}', mask=False) + frame("x" * 200, mask=False)
        peer = await it.dial()
        early = frame('{"type":"session.update"}', mask=True) + frame('{"type":"x"}', mask=True)
        await it.ask(upgrade() + early[:-3], peer)
        upstream = await it.upstream.peer()
        await peer.exactly(it.upstream.early)
        peer.write(early[-3:])
        await upstream.exactly(early)


async def test_what_upstream_says_and_closes_with_its_101_arrives_unchanged(sides: Sides) -> None:
    """OpenAI refuses that way; it may have hung up before we look."""
    async with stage(**sides) as it:
        error = frame('{"type":"error","error":{"code":"invalid_api_key"}}', mask=False)
        it.upstream.early = error + close(3000, "invalid_request_error.invalid_api_key", mask=False)
        it.upstream.hangs_up = True
        client = await it.connect()
        await client.exactly(it.upstream.early)
        client.close(3000)
        await client.end()
        closed = await gone(it)
        assert (closed.close_code, closed.reason) == (3000, "upstream_closed")


async def test_a_message_the_session_refuses_is_answered_and_not_passed_on() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        client.say("[]")
        answer = (await client.get()).json
        assert (answer["type"], answer["error"]["type"]) == ("error", "invalid_request_error")
        await upstream.exactly(client.say({"type": "session.update"}))


# Record before you deliver


async def test_a_bill_leaves_only_once_it_is_on_disk_and_everything_later_queues_behind(
    sides: Sides,
) -> None:
    async with stage(**sides) as it:
        client, upstream = await running(it)
        it.journal.is_slow = True
        before = upstream.say(delta())
        bill, after = upstream.say(ENDED), upstream.say(delta())
        last = upstream.close(1000, "done")
        await upstream.writer.drain()
        await client.exactly(before)
        await until(lambda: it.journal.is_waited_for)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.reader.readexactly(1)
        assert len(it.journal.of(Entry)) == 1
        it.journal.is_slow = False
        it.journal.catch_up()
        await client.exactly(bill + after + last)
        client.close(1000)
        await client.end()
        assert (await gone(it)).reason == "upstream_closed"


async def test_the_end_of_the_stream_queues_behind_the_record() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        it.journal.is_slow = True
        bill = upstream.say(ENDED)
        await upstream.leave()
        await until(lambda: it.journal.is_waited_for)
        await asyncio.sleep(0.1)
        assert not client.reader.at_eof()
        it.journal.is_slow = False
        it.journal.catch_up()
        await client.exactly(bill)
        assert await client.end() == b""
        assert (await gone(it)).reason == "upstream_lost"


async def test_what_a_side_sends_while_a_record_is_written_is_bounded() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        it.journal.is_slow = True
        upstream.say(ENDED)
        await until(lambda: it.journal.is_waited_for)
        sent = b"".join(upstream.say(delta()) for _ in range(3_000))
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.tunnel.upstream.is_held)
        await asyncio.sleep(0.1)
        assert live.tunnel.upstream_lane.scanner.buffered < 1_000_000
        it.journal.is_slow = False
        it.journal.catch_up()
        bill = frame(msgspec.json.encode(ENDED), mask=False)
        assert await read(client, len(bill + sent)) == bill + sent


# Closes


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going away"), (3000, "x.y"), (4999, "ü" * 61)]
)
async def test_a_close_passes_both_ways_with_code_and_reason(code: int, reason: str, sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await it.pair()
        await upstream.exactly(client.close(code, reason))
        await client.exactly(upstream.close(code, "the answer"))
        assert await client.end() == await upstream.end() == b""
        closed = await gone(it)
        assert (closed.close_code, closed.reason) == (code, "client_closed")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4004, "model_not_found")])
async def test_an_upstream_close_passes_with_its_answer(code: int, reason: str, sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await it.pair()
        last = upstream.say({"type": "error"})
        await client.exactly(last + upstream.close(code, reason))
        await upstream.exactly(client.close(code, "the answer"))
        assert await client.end() == await upstream.end() == b""
        closed = await gone(it)
        assert (closed.close_code, closed.reason) == (code, "upstream_closed")


async def test_a_close_without_a_code_stays_without() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        empty = frame(b"", opcode=Opcode.CLOSE, mask=True)
        client.write(empty)
        await upstream.exactly(empty)
        answer = frame(b"", opcode=Opcode.CLOSE, mask=False)
        upstream.write(answer)
        await client.exactly(answer)
        assert (await gone(it)).close_code == 1005


async def test_a_close_that_upstream_does_not_answer_is_answered_for_it() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        await upstream.exactly(client.close(1000, "bye"))
        assert (await client.get()).close == (1000, "")
        assert await client.end() == b""
        assert (await gone(it)).close_code == 1000


async def test_a_close_that_the_client_does_not_answer_is_answered_for_it() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        await client.exactly(upstream.close(4000, "no"))
        assert (await upstream.get()).close == (4000, "")
        assert await client.end() == b""
        assert (await gone(it)).close_code == 4000


async def test_closes_that_cross() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        theirs, ours = upstream.close(1001, "server"), client.close(1000, "client")
        await client.exactly(theirs)
        await upstream.exactly(ours)
        assert await client.end() == await upstream.end() == b""
        await gone(it)


async def test_a_half_closed_client_still_gets_its_answer() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        raw = client.close(1000)
        client.writer.write_eof()
        await upstream.exactly(raw)
        await client.exactly(upstream.close(1000))
        assert await client.end() == b""


# Clients that leave


async def test_a_close_in_mid_response_is_answered_and_the_bill_awaited(sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await running(it)
        client.close(1000, "bye")
        assert (await client.get()).close == (1000, "")
        assert await client.end() == b""
        cancel = (await upstream.get()).json
        assert (cancel["type"], cancel["response_id"]) == ("response.cancel", "resp_1")
        upstream.say(delta())
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1000, "")
        upstream.close(1000)
        assert await upstream.end() == b""
        closed = await gone(it)
        (entry,) = it.journal.of(Entry)
        assert (entry.subject_id, entry.estimated) == ("resp_1", False)
        assert (closed.close_code, closed.reason) == (1000, "client_closed")


@pytest.mark.parametrize("way", ["leave", "reset"])
async def test_a_client_that_vanishes_is_metered_to_the_end(way: str, sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await running(it)
        if way == "leave":
            await client.leave()
        else:
            client.reset()
        assert (await upstream.get()).json["type"] == "response.cancel"
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1001, "")
        upstream.close(1001)
        closed = await gone(it)
        assert [entry.estimated for entry in it.journal.of(Entry)] == [False]
        assert (closed.close_code, closed.reason) == (None, "client_lost")


async def test_a_bill_that_never_comes_is_estimated_when_lingering_has_passed() -> None:
    async with stage(linger_s=0.2) as it:
        client, upstream = await running(it)
        client.reset()
        assert (await upstream.get()).json["type"] == "response.cancel"
        assert (await upstream.get()).close == (1001, "")
        assert await upstream.end() == b""  # it does not answer: 2 s later it is dropped
        await gone(it)
        assert [entry.estimated for entry in it.journal.of(Entry)] == [True]


async def test_a_response_that_starts_after_the_client_left_is_cancelled_and_billed() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        await upstream.exactly(client.say({"type": "response.create"}))
        client.reset()
        upstream.say(STARTED)
        assert (await upstream.get()).json["type"] == "response.cancel"
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1001, "")
        await upstream.leave()
        await gone(it)
        assert len(it.journal.of(Entry)) == len(it.journal.of(SubjectOpened)) == 1


async def test_pings_of_a_lingering_upstream_are_answered() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        client.reset()
        assert (await upstream.get()).json["type"] == "response.cancel"
        upstream.write(frame(b"are you there?", opcode=Opcode.PING, mask=False))
        pong = await upstream.get()
        assert (pong.opcode, pong.payload) == (Opcode.PONG, b"are you there?")


# Upstreams that leave


@pytest.mark.parametrize("way", ["leave", "reset"])
async def test_an_upstream_that_vanishes_ends_the_client_without_a_close_frame(
    way: str, sides: Sides
) -> None:
    async with stage(**sides) as it:
        client, upstream = await running(it)
        raw = upstream.say(delta())
        await client.exactly(raw)
        if way == "leave":
            await upstream.leave()
        else:
            upstream.reset()
        assert await client.end() == b""
        closed = await gone(it)
        assert [entry.estimated for entry in it.journal.of(Entry)] == [True]
        assert (closed.close_code, closed.reason) == (None, "upstream_lost")


async def test_an_estimate_is_on_disk_before_the_client_sees_the_end() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        it.journal.is_slow = True
        raw = upstream.close(1011, "broken")
        await until(lambda: it.journal.is_waited_for)
        assert [entry.estimated for entry in it.journal.of(Entry)] == [True]
        it.journal.is_slow = False
        it.journal.catch_up()
        await client.exactly(raw)


async def test_an_upstream_that_breaks_the_protocol() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        upstream.write(frame("masked, as only clients do", mask=True))
        assert (await upstream.get()).close[0] == 1002
        assert await client.end() == b""
        await upstream.leave()
        assert (await gone(it)).reason == "upstream_violation"
        assert [entry.estimated for entry in it.journal.of(Entry)] == [True]


# What we end


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame("not masked", mask=False), 1002),
        (frame(b"\xff\xfe", mask=True), 1007),
        (b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"mask", 1009),
    ],
    ids=["unmasked", "not utf-8", "too large"],
)
async def test_a_client_that_breaks_the_protocol(bad: bytes, code: int) -> None:
    async with stage() as it:
        client, upstream = await running(it)
        client.write(bad)
        assert (await client.get()).close[0] == code
        assert (await upstream.get()).json["type"] == "response.cancel"
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1001, "")
        await upstream.leave()
        await client.leave()
        closed = await gone(it)
        assert (closed.close_code, closed.reason) == (code, "client_violation")


async def test_an_administrators_stop() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        (session_id,) = it.gateway.sessions
        assert it.gateway.stop(session_id, stopped("enough"))
        error = (await client.get()).json["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "session_stopped")
        code, reason = (await client.get()).close
        assert code == 1008 and "enough" in reason
        client.say(append())  # discarded
        client.close(1008)
        assert await client.end() == b""
        assert (await upstream.get()).json["type"] == "response.cancel"
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1001, "")
        upstream.close(1001)
        closed = await gone(it)
        assert (closed.close_code, closed.reason) == (1008, "stopped")
        assert not it.gateway.stop(session_id, stopped(""))


async def test_a_key_that_is_revoked_ends_its_sessions_within_two_seconds() -> None:
    async with stage() as it:
        client, _ = await it.pair()
        it.catalog.revoked["key_1"] = KEY_REVOKED
        assert (await client.get()).json["error"]["code"] == "invalid_api_key"
        assert (await client.get()).close[0] == 1008


async def test_our_close_waits_for_the_end_of_the_message_that_is_passing() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        raw = frame(msgspec.json.encode(delta(200_000)), mask=False)
        upstream.write(raw[:100_000])
        await client.exactly(raw[:60_000])
        (session_id,) = it.gateway.sessions
        it.gateway.stop(session_id, stopped(""))
        upstream.write(raw[100_000:])
        await client.exactly(raw[60_000:])
        assert (await client.get()).json["error"]["code"] == "session_stopped"
        assert (await client.get()).close[0] == 1008


async def test_a_client_is_dropped_when_no_place_comes_for_our_close() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        raw = frame(msgspec.json.encode(delta(200_000)), mask=False)
        upstream.write(raw[:100_000])
        await client.exactly(raw[:60_000])
        (session_id,) = it.gateway.sessions
        it.gateway.stop(session_id, stopped(""))
        assert raw[60_000:].startswith(await client.end())
        assert (await upstream.get()).json["type"] == "response.cancel"


async def test_a_silent_client_is_closed() -> None:
    async with stage(idle_timeout_s=0.5) as it:
        client, upstream = await it.pair()
        assert (await client.get()).close[0] == 1001
        await client.leave()
        assert (await upstream.get()).close == (1001, "")
        await upstream.leave()
        assert (await gone(it)).reason == "client_idle"


async def test_a_client_that_only_pongs_is_alive() -> None:
    async with stage(idle_timeout_s=1.5) as it:
        client, upstream = await it.pair()
        for _ in range(8):
            await asyncio.sleep(0.3)
            client.write(frame(b"", opcode=Opcode.PONG, mask=True))
        await client.exactly(upstream.say({"type": "still.here"}))


async def test_nothing_is_left_of_a_session() -> None:
    async with stage() as it:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            client, upstream = await running(it)
            upstream.say(ENDED)
            await client.get()
            await upstream.exactly(client.close(1000))
            await client.exactly(upstream.close(1000))
            await client.leave()
            await upstream.leave()
            await it.over()
        it.clients.clear()
        it.upstream.accepted.clear()
        del client, upstream
        gc.collect()
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        assert len(it.journal.of(SessionClosed)) == 5
