"""Feeds: parts of pages that are kept current, sent to browsers as server-sent events.

All who look at the same share one look a second, however many they are. What a look finds is rendered once
too; only the token of their forms is each viewer's own.
"""

import asyncio
import contextlib
import logging
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from proxy.admin.api.problems import Problem, unavailable
from proxy.console.desk import Desk
from proxy.console.headers import HEADERS
from proxy.console.visitors import Visitors

STREAMS_MAX = 50  # open at the same time
STREAMS_OF_ONE_MAX = 10  # by one person: nobody can keep all others out
BEAT_S = 1.0
EARLY_S = 0.1  # a look so much younger than a beat is as good as a new one: clocks tick unevenly
KEEP_ALIVE_S = 15.0
RECHECK_S = 15.0  # after which to see whether somebody is still signed in
STALL_S = 30.0  # for a browser to take what it is sent
END_S = 1.0  # for streams to end when the control plane stops
CONTENT_TYPE = "text/event-stream"
KEEP_ALIVE = b": still here\n\n"
_LINE = re.compile(r"\r\n|\r|\n")

logger = logging.getLogger(__name__)

Look = Callable[[str], Awaitable[str]]  # from the token that forms shall carry to HTML


@dataclass(slots=True)
class _Shared:
    """What was seen last, by all who look at the same."""

    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    viewers: int = 0
    seen_s: float = float("-inf")
    html: str = ""


class Feeds:
    """The streams that are open on this control plane."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._shared: dict[Hashable, _Shared] = {}
        self._open = 0
        self._of: Counter[str] = Counter()  # by who looks
        self._closing = asyncio.Event()
        self._nobody = asyncio.Event()  # watches
        self._nobody.set()
        self._mark = secrets.token_hex(32)  # stands for a viewer's token in what is shared

    async def shut_down(self, application: web.Application) -> None:
        """End all streams, and wait for what they are asking: the database closes next."""
        self._closing.set()
        with contextlib.suppress(TimeoutError):  # who is stuck is cancelled by the server
            async with asyncio.timeout(END_S):
                await self._nobody.wait()

    async def send(self, desk: Desk, key: Hashable, look: Look) -> web.StreamResponse:
        """Send what `look` finds whenever it has changed, until the viewer leaves or is signed out.

        `key` is the same for all who are to see the same.

        Raises:
            Problem: too many streams are open, or there is nothing to look at.
        """
        self._check_room(desk.caller.id)
        shared = self._shared.setdefault(key, _Shared())
        self._open += 1
        self._of[desk.caller.id] += 1
        self._nobody.clear()
        shared.viewers += 1
        try:
            await self._latest(shared, look)  # what fails now is a page that says so
            response = web.StreamResponse(headers={**HEADERS, "X-Accel-Buffering": "no"})
            response.content_type = CONTENT_TYPE
            response.charset = "utf-8"
            await response.prepare(desk.request)
            await self._carry(desk, response, shared, look)
            return response
        finally:
            self._open -= 1
            self._of -= Counter({desk.caller.id: 1})
            if not self._open:
                self._nobody.set()
            shared.viewers -= 1
            if not shared.viewers:
                self._shared.pop(key, None)

    def _check_room(self, caller: str) -> None:
        if self._of[caller] >= STREAMS_OF_ONE_MAX:
            raise unavailable(f"You have {STREAMS_OF_ONE_MAX} live pages open: close one of them.")
        if self._open >= STREAMS_MAX:
            raise unavailable(f"{STREAMS_MAX} live pages are open, and no more at a time: close one of them.")

    async def _latest(self, shared: _Shared, look: Look) -> str:
        """Return what is to be seen now: what somebody has just found, or else by a new look."""
        async with shared.alone:
            now_s = asyncio.get_running_loop().time()
            if now_s - shared.seen_s >= BEAT_S - EARLY_S:
                shared.html = await look(self._mark)
                shared.seen_s = now_s
            return shared.html

    async def _carry(self, desk: Desk, response: web.StreamResponse, shared: _Shared, look: Look) -> None:
        request = desk.request
        try:
            await self._keep_current(desk, response, shared, look)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        except (Problem, SQLAlchemyError) as error:  # the browser says that it has lost us, and comes again
            logger.info("a live page was ended", extra={"path": request.path, "error": str(error)})

    async def _keep_current(
        self, desk: Desk, response: web.StreamResponse, shared: _Shared, look: Look
    ) -> None:
        time = asyncio.get_running_loop().time
        told, spoken_s, checked_s = None, time(), time()
        while not self._closing.is_set() and not _has_left(desk.request):
            if time() - checked_s >= RECHECK_S:
                checked_s = time()
                if not await self._visitors.is_still(desk.request, desk.caller):
                    await _write(response, event("signed out", "reload"))
                    return
            html = await self._latest(shared, look)
            if html != told:
                await _write(response, event(html.replace(self._mark, desk.csrf)))
                told, spoken_s = html, time()
            elif time() - spoken_s >= KEEP_ALIVE_S:
                await _write(response, KEEP_ALIVE)
                spoken_s = time()
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                await self._closing.wait()


FEEDS = web.AppKey("feeds", Feeds)


def event(text: str, name: str = "message") -> bytes:
    """Return a server-sent event."""
    lines = "".join(f"data: {line}\n" for line in _LINE.split(text))
    return f"event: {name}\n{lines}\n".encode()


def wants_events(request: web.Request) -> bool:
    """Tell whether a browser asks for a stream, and not for a page."""
    return CONTENT_TYPE in request.headers.get("Accept", "")


def over() -> web.Response:
    """Return a stream that says only that its page has to be loaded again."""
    return web.Response(body=event("signed out", "reload"), content_type=CONTENT_TYPE, headers=HEADERS)


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(STALL_S):
        await response.write(data)


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
