"""Taking clients over from aiohttp, which must not notice them any more."""

import asyncio
import gc

import pytest
from aiohttp.web_protocol import RequestHandler

from tests.relay.conftest import Sides
from tests.relay.peers import Stage, frame, header, stage, until, upgrade

GET = b"GET /talkmeter/v1/sessions/x HTTP/1.1\r\nHost: x\r\n\r\n"


async def works(it: Stage, request: bytes = b"") -> None:
    """Expect that a new client and its upstream hear each other."""
    _, _, client = await it.ask(request or upgrade())
    upstream = await it.upstream.peer()
    await upstream.exactly(client.say({"type": "x"}))
    await client.exactly(upstream.say({"type": "y"}))


async def test_after_keep_alive_requests(sides: Sides) -> None:
    async with stage(**sides) as it:
        peer = await it.dial()
        for _ in range(3):
            head, _, _ = await it.ask(GET, peer)
            assert " 401 " in head
        await it.ask(upgrade(), peer)
        upstream = await it.upstream.peer()
        await upstream.exactly(peer.say({"type": "x"}))


async def test_pipelined_behind_other_requests_in_one_packet(sides: Sides) -> None:
    async with stage(**sides) as it:
        peer = await it.dial()
        early = frame('{"type":"x"}', mask=True)
        head, _, _ = await it.ask(GET + upgrade() + early, peer)
        assert " 401 " in head
        head, _, _ = await it.ask(b"", peer)
        assert " 101 " in head
        await (await it.upstream.peer()).exactly(early)


async def test_what_comes_during_the_dial_is_bounded_and_kept(sides: Sides) -> None:
    async with stage(**sides) as it:
        it.upstream.gate.clear()
        peer = await it.dial()
        early = frame(b'{"type":"' + b"x" * 100_000 + b'"}', mask=True)
        peer.write(upgrade())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    peer.write(early)
                    await peer.writer.drain()
        buffered = peer.writer.transport.get_write_buffer_size()
        assert buffered > 0  # it was made to wait
        it.upstream.gate.set()
        upstream = await it.upstream.peer()
        for _ in range(10):
            await upstream.exactly(early)


async def test_a_client_that_leaves_during_the_dial_leaves_nothing_behind() -> None:
    async with stage(open_timeout_s=5.0) as it:
        it.upstream.is_silent = True
        peer = await it.dial()
        peer.write(upgrade())
        await until(lambda: bool(it.upstream.accepted))
        peer.reset()
        assert await it.upstream.accepted[0].end() == b""
        it.upstream.is_silent = False
        await works(it)
        assert len(it.gateway.sessions) == 1


async def test_aiohttp_forgets_the_connection() -> None:
    def protocols() -> int:
        gc.collect()
        return sum(isinstance(thing, RequestHandler) for thing in gc.get_objects())

    async with stage() as it:
        before = protocols()
        client = await it.connect()
        await until(lambda: protocols() == before)
        server = it.runner.server
        assert server is not None and server.connections == []
        # Its shutdown neither waits for the session nor ends it.
        async with asyncio.timeout(2):
            await it.runner.shutdown()
            await server.shutdown()
        upstream = await it.upstream.peer()
        await upstream.exactly(client.say({"type": "x"}))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"upgrade": ""}, 426),
        ({"upgrade": "h2c"}, 426),
        ({"connection": "keep-alive"}, 426),
        ({"sec_websocket_version": "12"}, 426),
        ({"sec_websocket_version": ""}, 426),
        ({"sec_websocket_key": ""}, 400),
        ({"sec_websocket_key": "c2hvcnQ="}, 400),
        ({"sec_websocket_key": "not base64, at all!!!!=="}, 400),
        ({"content_length": "2"}, 400),
    ],
)
async def test_handshakes_that_are_none(changes: dict[str, str], status: int) -> None:
    async with stage() as it:
        head, body, _ = await it.ask(upgrade(**changes) + (b"{}" if "content_length" in changes else b""))
        assert head.startswith(f"HTTP/1.1 {status} ")
        assert b'"error"' in body
        assert not it.upstream.accepted
        if status == 426:
            assert header(head, "Sec-WebSocket-Version") == "13"


async def test_spellings_that_are_fine() -> None:
    async with stage() as it:
        await works(it, upgrade(upgrade="WebSocket", connection="keep-alive, UPGRADE"))


async def test_compression_is_never_accepted() -> None:
    async with stage() as it:
        head, _, _ = await it.ask(upgrade(sec_websocket_extensions="permessage-deflate"))
        assert " 101 " in head and not header(head, "Sec-WebSocket-Extensions")
        assert not header((await it.upstream.peer()).head, "Sec-WebSocket-Extensions")


async def test_other_methods_are_no_handshake() -> None:
    async with stage() as it:
        head, _, _ = await it.ask(upgrade().replace(b"GET", b"POST"))
        assert " 426 " in head
