"""One socket under pressure: backpressure, stalls, and our frames between half-sent ones."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pytest
from websockets.frames import Opcode

from proxy.core.records import Entry, SessionClosed
from proxy.core.refusal import stopped
from proxy.relay.half import Half
from tests.relay.conftest import Sides
from tests.relay.peers import Peer, Stage, frame, stage, until

STARTED = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
ENDED = {
    "type": "response.done",
    "response": {"id": "resp_1", "status": "cancelled", "usage": {"total_tokens": 0}},
}


def delta(chars: int = 60_000) -> bytes:
    """Return an audio delta on the wire."""
    return frame(
        msgspec.json.encode(
            {"type": "response.output_audio.delta", "response_id": "resp_1", "delta": "A" * chars}
        ),
        mask=False,
    )


def append(chars: int = 200_000) -> bytes:
    """Return a large audio append on the wire, which passes as it comes."""
    message = {"type": "input_audio_buffer.append", "audio": "A" * chars}
    return frame(msgspec.json.encode(message), mask=True)


async def running(it: Stage) -> tuple[Peer, Peer]:
    """Return both ends of a session in which a response runs."""
    client, upstream = await it.pair()
    await client.exactly(upstream.say(STARTED))
    return client, upstream


@asynccontextmanager
async def flood(peer: Peer, data: bytes) -> AsyncIterator[None]:
    """Send `data` again and again, as far as the other end takes it."""

    async def send() -> None:
        while not peer.writer.is_closing():
            peer.write(data)
            await peer.writer.drain()

    sending = asyncio.gather(send(), return_exceptions=True)
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def at_rest(half: Half) -> None:
    """Wait until nothing more is read from a side, and it stays like that."""
    seen = -1
    while not half.is_held or half.lane.byte_count != seen:
        seen = half.lane.byte_count
        await asyncio.sleep(0.1)


def pause(peer: Peer) -> None:
    """Read nothing from now on."""
    cast(asyncio.Transport, peer.writer.transport).pause_reading()


def resume(peer: Peer) -> None:
    """Read again."""
    cast(asyncio.Transport, peer.writer.transport).resume_reading()


# Backpressure


async def test_a_slow_client_slows_the_upstream_down(sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await it.pair()
        (live,) = it.gateway.sessions.values()
        pause(client)
        async with flood(upstream, delta()):
            await at_rest(live.tunnel.upstream)
        assert live.tunnel.client.transport.get_write_buffer_size() < 2_000_000
        assert live.tunnel.upstream_lane.scanner.buffered < 1_000_000
        resume(client)
        async with asyncio.timeout(10):
            await client.reader.readexactly(len(delta()))
        await until(lambda: not live.tunnel.upstream.is_held)


async def test_a_slow_upstream_slows_the_client_down(sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await it.pair()
        (live,) = it.gateway.sessions.values()
        pause(upstream)
        async with flood(client, append()):
            await at_rest(live.tunnel.client)
        assert live.tunnel.upstream.transport.get_write_buffer_size() < 2_000_000


async def test_a_client_that_reads_no_answers_is_not_listened_to() -> None:
    """Each refused message is answered: answers that nobody reads must not pile up."""
    async with stage() as it:
        client, _ = await it.pair()
        (live,) = it.gateway.sessions.values()
        pause(client)
        async with flood(client, frame("[]", mask=True) * 1_000):
            await at_rest(live.tunnel.client)
        assert live.tunnel.client.is_choked
        assert live.tunnel.client.transport.get_write_buffer_size() < 1_000_000
        resume(client)
        while live.tunnel.client.is_choked:
            assert (await client.get()).json["type"] == "error"


async def test_a_client_that_takes_nothing_is_cut_and_its_session_billed(sides: Sides) -> None:
    async with stage(stall_s=0.5, **sides) as it:
        client, upstream = await running(it)
        pause(client)
        async with flood(upstream, delta()):
            assert (await upstream.get()).json["type"] == "response.cancel"
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1001, "")
        await upstream.leave()
        await it.over()
        (closed,) = it.journal.of(SessionClosed)
        assert (closed.close_code, closed.reason) == (None, "client_stalled")
        assert len(it.journal.of(Entry)) == 1


async def test_a_client_that_takes_little_is_not_cut() -> None:
    async with stage(stall_s=1.5) as it:
        client, upstream = await running(it)
        async with flood(upstream, delta()):
            for _ in range(40):  # far slower than it is sent, but never 1.5 s without a byte
                async with asyncio.timeout(5):
                    await client.reader.readexactly(300_000)
                await asyncio.sleep(0.1)
        assert it.gateway.sessions


# Half-sent frames


async def finished(upstream: Peer, sent: bytes) -> bytes:
    """Expect the frame that the client left half-sent, ended with spaces; return its payload."""
    got = await upstream.get()
    payload = got.payload
    assert got.opcode is Opcode.TEXT and len(got.raw) == len(append())
    assert payload.rstrip(b" ") == payload[: len(sent) - 14].rstrip(b" ")
    return payload


@pytest.mark.parametrize("way", ["leave", "reset"])
@pytest.mark.parametrize("at", [70_000, 123_456, 199_990])
async def test_a_client_that_vanishes_in_mid_frame(way: str, at: int, sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await running(it)
        sent = append()[:at]
        client.write(sent)
        await client.writer.drain()
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.tunnel.upstream.bytes_sent >= at - 10_000)
        if way == "leave":
            await client.leave()
        else:
            client.reset()
        await finished(upstream, sent)
        assert (await upstream.get()).json["type"] == "response.cancel"
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1001, "")
        upstream.close(1001)
        await it.over()
        assert [entry.estimated for entry in it.journal.of(Entry)] == [False]


async def test_a_client_that_vanishes_in_mid_message_between_its_frames() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        text = msgspec.json.encode({"type": "input_audio_buffer.append", "audio": "A" * 200_000})
        first = frame(text[:150_000], fin=False, mask=True)
        client.write(first)
        await upstream.exactly(first)
        client.reset()
        last = await upstream.get()
        assert (last.opcode, last.fin, last.payload) == (Opcode.CONT, True, b"")
        assert (await upstream.get()).json["type"] == "response.cancel"


async def test_a_client_that_vanishes_in_mid_frame_with_nothing_open() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        sent = append()[:100_000]
        client.write(sent)
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.tunnel.upstream.bytes_sent >= 90_000)
        client.reset()
        await finished(upstream, sent)
        assert (await upstream.get()).close == (1001, "")


async def test_a_client_that_is_stopped_in_mid_frame(sides: Sides) -> None:
    async with stage(**sides) as it:
        client, upstream = await running(it)
        sent = append()[:100_000]
        client.write(sent)
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.tunnel.upstream.bytes_sent >= 90_000)
        it.gateway.stop(live.id, stopped(""))
        await finished(upstream, sent)
        assert (await upstream.get()).json["type"] == "response.cancel"
        assert (await client.get()).json["error"]["code"] == "session_stopped"
        assert (await client.get()).close[0] == 1008
        client.write(append()[100_000:])
        client.close(1008)
        assert await client.end() == b""
        upstream.say(ENDED)
        assert (await upstream.get()).close == (1001, "")


async def test_a_client_that_breaks_the_protocol_in_mid_message() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        text = msgspec.json.encode({"type": "input_audio_buffer.append", "audio": "A" * 200_000})
        client.write(frame(text[:150_000], fin=False, mask=True) + frame("{}", mask=True))
        assert (await client.get()).close[0] == 1002
        assert not (await upstream.get()).fin
        assert (await upstream.get()).fin
        assert (await upstream.get()).json["type"] == "response.cancel"


async def test_our_message_waits_for_the_client_to_finish_its_frame() -> None:
    """A cancel goes upstream while the client is still there and in the middle of a large append."""
    async with stage() as it:
        client, upstream = await running(it)
        raw = append()
        client.write(raw[:100_000])
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.tunnel.upstream.bytes_sent >= 90_000)
        live.tunnel.upstream.send('{"type":"response.cancel"}')
        client.write(raw[100_000:])
        await upstream.exactly(raw)
        assert (await upstream.get()).json["type"] == "response.cancel"
        await upstream.exactly(client.say({"type": "session.update"}))


async def test_a_frame_that_is_finished_for_a_live_client_swallows_its_rest() -> None:
    async with stage() as it:
        client, upstream = await running(it)
        raw = append()
        client.write(raw[:100_000])
        (live,) = it.gateway.sessions.values()
        await until(lambda: live.tunnel.upstream.bytes_sent >= 90_000)
        live.tunnel.upstream.send('{"type":"response.cancel"}')
        await finished(upstream, raw[:100_000])
        assert (await upstream.get()).json["type"] == "response.cancel"
        live.tunnel.upstream.send('{"type":"still a boundary"}')
        assert (await upstream.get()).json["type"] == "still a boundary"
        client.write(raw[100_000:])
        await upstream.exactly(client.say({"type": "session.update"}) + client.say({"type": "x"}))


async def test_a_message_that_is_ended_for_a_live_client_is_its_last() -> None:
    """Nobody can tell how many frames of it are still to come."""
    async with stage() as it:
        client, upstream = await running(it)
        text = msgspec.json.encode({"type": "input_audio_buffer.append", "audio": "A" * 200_000})
        client.write(frame(text[:150_000], fin=False, mask=True))
        await upstream.get()
        (live,) = it.gateway.sessions.values()
        live.tunnel.upstream.send('{"type":"ours"}')
        assert (await upstream.get()).opcode is Opcode.CONT
        assert (await upstream.get()).json["type"] == "ours"
        assert await client.end() == b""
        assert (await upstream.get()).json["type"] == "response.cancel"


async def test_both_sockets_are_kept_alive_by_the_system() -> None:
    async with stage() as it:
        await it.pair()
        (live,) = it.gateway.sessions.values()
        for half in (live.tunnel.client, live.tunnel.upstream):
            sock = half.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
