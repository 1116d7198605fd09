"""Routes that are loaded with the first request: once, in a thread, whoever comes first."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web

from proxy.admin.later import Later
from tests.announcements import until


async def _said(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.method} {dict(request.match_info)}")


async def _well(request: web.Request) -> web.Response:
    return web.Response(text="well")


class Loading:
    """What loads the routes: it takes until `may_end` is set, and fails as often as is said."""

    def __init__(self, failures: int = 0) -> None:
        self.threads: list[threading.Thread] = []
        self.may_end = threading.Event()
        self._failures = failures

    def fill(self, router: web.UrlDispatcher, prefix: str) -> None:
        self.threads.append(threading.current_thread())
        assert self.may_end.wait(20)
        if len(self.threads) <= self._failures:
            raise OSError("a module cannot be read")
        router.add_get(f"{prefix}/things/{{name}}", _said, allow_head=False)
        router.add_post(f"{prefix}/things/{{name}}", _said)
        router.add_get(f"{prefix}/things/new", _well, allow_head=False)


@contextlib.asynccontextmanager
async def serving(fill: Callable[[web.UrlDispatcher, str], None]) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve below `/api`, beside `/healthz`."""
    below, application = web.Application(), web.Application()
    below.router.register_resource(Later(fill))
    application.router.add_get("/healthz", _well)
    application.add_subapp("/api", below)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as http:
            yield http
    finally:
        await runner.cleanup()


async def _ask(http: aiohttp.ClientSession, path: str, method: str = "GET") -> tuple[int, str]:
    async with http.request(method, path) as answer:
        return answer.status, await answer.text()


async def test_many_that_come_first_wait_for_one_loading_in_a_thread() -> None:
    loading = Loading()
    async with serving(loading.fill) as http:
        assert await _ask(http, "/healthz") == (200, "well")
        assert loading.threads == [], "nobody has asked for them"
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_ask(http, f"/api/things/{n}")) for n in range(20)]
            await until(lambda: bool(loading.threads))
            assert await _ask(http, "/healthz") == (200, "well"), "it is answered meanwhile"
            loading.may_end.set()
        assert [one.result() for one in asked] == [(200, f"GET {{'name': '{n}'}}") for n in range(20)]
        (thread,) = loading.threads
        assert thread is not threading.main_thread()


async def test_what_is_not_there_is_as_with_any_route() -> None:
    loading = Loading()
    loading.may_end.set()
    async with serving(loading.fill) as http:
        assert (await _ask(http, "/api/nothing"))[0] == 404
        assert (await _ask(http, "/nothing"))[0] == 404
        async with http.delete("/api/things/1") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET,POST")
        assert await _ask(http, "/api/things/1", "POST") == (200, "POST {'name': '1'}")
        assert await _ask(http, "/api/things/new") == (200, "well"), "a name before a parameter"
        assert len(loading.threads) == 1


async def test_loading_that_fails_is_tried_again() -> None:
    loading = Loading(failures=1)
    loading.may_end.set()
    async with serving(loading.fill) as http:
        assert (await _ask(http, "/api/things/1"))[0] == 500
        assert (await _ask(http, "/api/things/1"))[0] == 200
