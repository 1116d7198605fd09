"""HTTP with limits: what is malformed, late or too much, before any handler has seen a request."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from proxy.admin.http import Limits, serve_http
from proxy.admin.listen import bind

KEY = "tm_" + "k" * 43
PATIENCE_S = 10


@dataclass
class Client:
    """A connection that sends what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self, request: bytes) -> bytes:
        """Send `request` and return all that comes until the server closes."""
        self.writer.write(request)
        return await self.rest()

    async def rest(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), PATIENCE_S)
        return b""

    async def head(self, request: bytes) -> bytes:
        """Send `request` and return the head of its answer, whose body is `ok`."""
        self.writer.write(request)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert await self.reader.readexactly(2) == b"ok"
        return head


class Place:
    """A server, and the clients it has."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.release = asyncio.Event()
        self._clients: list[Client] = []

    async def client(self) -> Client:
        self._clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self._clients[-1]

    def leave(self) -> None:
        self.release.set()
        for client in self._clients:
            client.writer.close()


def broken(status: int) -> web.Response:
    return web.json_response({"said": status}, status=status)


@contextlib.asynccontextmanager
async def place(limits: Limits | None = None) -> AsyncIterator[Place]:
    """A server with `/ok`, `/slow` (which waits for `release`) and `/raise`."""
    listener = bind("127.0.0.1", 0, "LISTEN")
    it = Place(listener.getsockname()[1])

    async def ok(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def slow(request: web.Request) -> web.Response:
        await it.release.wait()
        return web.Response(text="ok")

    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    application = web.Application()
    application.add_routes([web.get("/ok", ok), web.get("/slow", slow), web.get("/raise", fail)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await serve_http(runner, listener, None, broken, limits or Limits())
    try:
        yield it
    finally:
        it.leave()
        await runner.cleanup()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.mark.parametrize(
    "request_",
    [
        f"GET /ok?api-key={KEY} X\r\n\r\n".encode(),
        f"GET /ok HTTP/1.1\nAuthorization: Bearer {KEY}\n\n".encode(),
        f"GET /ok HTTP/1.1\r\nHost: a\r\nHost: b\r\napi-key: {KEY}\r\n\r\n".encode(),
        f"GET /ok HTTP/1.1\r\nHost: a\r\napi-key: {KEY}\x1b\r\n\r\n".encode(),
        b"GET /ok?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_shortly_and_not_quoted(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither to the client nor in the log, which nobody outside may fill with tracebacks."""
    caplog.set_level(logging.DEBUG)
    async with place() as it:
        answer = await (await it.client()).answer(request_)
        assert answer.startswith(b"HTTP/1.0 400 ") and answer.endswith(b'{"said": 400}')
        assert b"xxx" not in answer and KEY.encode() not in answer
    assert KEY not in caplog.text and "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_bug_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with place() as it:
        answer = await (await it.client()).answer(get("/raise"))
        assert answer.startswith(b"HTTP/1.1 500 ") and answer.endswith(b'{"said": 500}')
    assert "RuntimeError: a bug" in caplog.text


@pytest.mark.parametrize("sent", [b"", b"GET /ok HTTP/1.1\r\nHost: x\r\nX-"])
async def test_who_sends_no_request_is_closed(sent: bytes) -> None:
    """Nothing, or half a head: connections are few, and those that only wait are the first to go."""
    async with place(Limits(head_s=0.05)) as it:
        assert await (await it.client()).answer(sent) == b""


async def test_who_sent_a_request_in_time_keeps_the_connection() -> None:
    """However long its answer takes, and for the next request too."""
    async with place(Limits(head_s=0.2)) as it:
        client = await it.client()
        assert b" 200 " in await client.head(get("/ok"))
        client.writer.write(get("/slow"))
        await asyncio.sleep(0.5)
        it.release.set()
        assert b" 200 " in await client.head(b"")
        assert b" 200 " in await client.head(get("/ok"))


async def test_of_too_many_that_wait_the_oldest_has_to_go() -> None:
    """So that somebody who sends his request at once gets through, whatever a crowd does."""
    async with place(Limits(waiting_max=3)) as it:
        busy, idle = await it.client(), await it.client()
        busy.writer.write(get("/slow"))
        assert b" 200 " in await idle.head(get("/ok"))  # and waits for its next one
        crowd = [await it.client() for _ in range(5)]
        assert b" 200 " in await (await it.client()).head(get("/ok"))
        assert await idle.rest() == b"" and await crowd[0].rest() == b""
        it.release.set()
        assert b" 200 " in await busy.head(b"")
