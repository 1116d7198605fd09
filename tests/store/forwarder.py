"""A TCP relay to a database that a test can cut, so that the database is gone without being stopped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType

from sqlalchemy import URL, make_url

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def dial(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the server, whose address libpq takes from either place; a folder is one of sockets."""
    host = str(url.query.get("host") or url.host or "127.0.0.1")
    port = int(str(url.query.get("port") or url.port or 5432))
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


@asynccontextmanager
async def behind(database_url: str) -> AsyncIterator[tuple["Forwarder", str]]:
    """Yield a link to a database that can be cut, and the URL that leads through it."""
    url = make_url(database_url)
    async with Forwarder(lambda: dial(url)) as link:
        through = url.set(host="127.0.0.1", port=link.port, query={})
        yield link, through.render_as_string(hide_password=False)


class Forwarder:
    """`async with Forwarder(dial) as link:` then connect to `link.port`; `cut()` and `restore()`.

    `dial` opens a connection to what is behind it.
    """

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def __aenter__(self) -> "Forwarder":
        await self.restore()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def restore(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:  # noqa: ASYNC110  each handler takes its own out
            await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        if self._server is None:  # it was cut meanwhile
            for one in (writer, back):
                one.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            self._writers -= {writer, back}


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass  # the end of one direction is the end of both
    finally:
        sink.transport.abort()
