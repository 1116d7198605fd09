"""Answers that are sent while they are made: whole, or visibly not; and not made for nobody."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from proxy.admin.api import streams
from proxy.admin.api.streams import CHUNK_BYTES, CHUNKS_MAX, Pipe, Streams

Work = Callable[[Pipe], object]
Serve = Callable[[Work], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves what a work writes; returns where."""
    runners: list[web.AppRunner] = []

    async def start(work: Work) -> str:
        sends = Streams()
        app = web.Application()

        async def answer(request: web.Request) -> web.StreamResponse:
            return await sends.send(request, {"Content-Type": "text/csv"}, work)

        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_all_that_is_written_arrives(serve: Serve) -> None:
    def work(pipe: Pipe) -> None:
        for number in range(100_000):
            pipe.write(b"%d\n" % number)

    url = await serve(work)
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert (await answer.read()).split() == [b"%d" % number for number in range(100_000)]
        assert answer.headers["Content-Type"] == "text/csv"


async def test_nothing_is_an_answer_too(serve: Serve) -> None:
    url = await serve(lambda pipe: None)
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_what_breaks_off_has_no_proper_end(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def work(pipe: Pipe) -> None:
        pipe.write(b"x" * CHUNK_BYTES)
        raise ZeroDivisionError

    url = await serve(work)
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert "an answer broke off" in caplog.text


async def test_what_fails_at_once_is_raised(serve: Serve) -> None:
    url = await serve(lambda pipe: 1 // 0)
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 500


@pytest.mark.parametrize("writes", [True, False])
async def test_a_client_that_leaves_ends_the_work(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, writes: bool
) -> None:
    """Whether something is on its way to it or nothing was found yet."""
    monkeypatch.setattr(streams, "LOOK_S", 0.05)
    ended, begun = threading.Event(), threading.Event()

    def work(pipe: Pipe) -> None:
        try:
            while True:
                begun.set()
                if writes:
                    pipe.write(b"x" * CHUNK_BYTES)
                pipe.check()
        finally:
            ended.set()

    url = await serve(work)
    async with aiohttp.ClientSession() as http:
        asked = asyncio.ensure_future(http.get(url))
        assert await asyncio.to_thread(begun.wait, 30)
        if writes:
            (await asked).close()
        else:
            asked.cancel()
        assert await asyncio.to_thread(ended.wait, 30)


async def test_a_client_that_reads_nothing_is_left(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALL_S", 0.05)
    ended = threading.Event()

    def work(pipe: Pipe) -> None:
        try:
            while True:
                pipe.write(b"x" * CHUNK_BYTES)
        finally:
            ended.set()

    url = await serve(work)
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert await asyncio.to_thread(ended.wait, 30)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_the_thread_does_not_run_ahead() -> None:
    pipe = Pipe(asyncio.get_running_loop())
    written: list[int] = []

    def work(pipe: Pipe) -> None:
        for number in range(CHUNKS_MAX + 3):
            pipe.write(b"x" * CHUNK_BYTES)
            written.append(number)

    thread = threading.Thread(target=pipe.run, args=[work])
    thread.start()
    assert await pipe.read() == b"x" * CHUNK_BYTES
    assert len(written) <= CHUNKS_MAX + 1
    pipe.leave()
    await asyncio.to_thread(thread.join, 30)
    assert not thread.is_alive()
