"""HTTP with limits: what happens to connections before, between and without requests.

aiohttp answers a malformed request with a part of it and logs a traceback, both of which may hold a
key, and it lets any number of connections wait for over a minute. Both planes are served through
this instead: a short answer that quotes nothing, a time for the first request, and a number of
connections that may wait for one.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy.admin.listen import BACKLOG

# The answer to a request that has no handler's: 400 for what is malformed, 500 for a bug of ours.
Broken = Callable[[int], web.Response]


@dataclass(frozen=True, slots=True)
class Limits:
    """`head_s` is the time for a TLS handshake, and again for the first request's head."""

    head_s: float = 10.0
    waiting_max: int = 2_000


class _Door:
    """Makes the connections of one server and knows those that wait, the longest waiting first."""

    def __init__(self, server: web.Server, broken: Broken, limits: Limits) -> None:
        self.server = server
        self.broken = broken
        self.limits = limits
        self._waiting: dict[_Connection, None] = {}

    def __call__(self) -> "_Connection":
        return _Connection(self)

    def enter(self, connection: "_Connection") -> None:
        """Note that `connection` waits for a request; close the one that has waited longest, if need be."""
        self._waiting[connection] = None
        if len(self._waiting) > self.limits.waiting_max:
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.force_close()

    def leave(self, connection: "_Connection") -> None:
        """Note that `connection` has a request, or is gone."""
        self._waiting.pop(connection, None)


class _Connection(RequestHandler):
    """One connection, until a session takes it over (which looks like a lost connection from here)."""

    def __init__(self, door: _Door) -> None:
        server = door.server
        super().__init__(server, loop=asyncio.get_running_loop(), **server._kwargs)
        self._door = door
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._deadline = self._loop.call_later(self._door.limits.head_s, self.force_close)
        self._door.enter(self)

    def data_received(self, data: bytes) -> None:
        """Parse `data`; a request that is complete ends the waiting."""
        super().data_received(data)
        if self._messages:
            self._have_request()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._have_request()
        super().connection_lost(exc)

    def _have_request(self) -> None:
        self._door.leave(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    async def finish_response(self, *args: Any) -> tuple[web.StreamResponse, bool]:
        """Send an answer, and wait for the next request: for as long as `keepalive_timeout` says."""
        finished = await super().finish_response(*args)
        if self.transport is not None and not self._messages:
            self._door.enter(self)
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return what `broken` says, instead of a text that quotes the request."""
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("there is half an answer already")
        response = self._door.broken(status)
        response.force_close()
        return response


class _Site(web.SockSite):
    """A listening socket whose connections are ours."""

    def __init__(self, runner: web.AppRunner, listener: socket.socket, door: _Door) -> None:
        super().__init__(runner, listener)
        self._listener = listener
        self._door = door

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """Accept connections, until the runner is cleaned up."""
        self._runner._reg_site(self)
        self._server = await asyncio.get_running_loop().create_server(
            self._door,
            sock=self._listener,
            ssl=tls,
            ssl_handshake_timeout=self._door.limits.head_s if tls else None,
            backlog=BACKLOG,
        )


async def serve_http(
    runner: web.AppRunner,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    broken: Broken,
    limits: Limits = Limits(),
) -> None:
    """Serve on `listener` what `runner` has set up; `runner.cleanup()` ends it."""
    server = runner.server
    assert server is not None
    await _Site(runner, listener, _Door(server, broken, limits)).open(tls)
