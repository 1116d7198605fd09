"""A wire tap: a TCP relay that keeps a copy of what passes, and changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CHUNK_BYTES = 65_536


@dataclass
class Tapped:
    """One connection: what each end said, HTTP heads included."""

    said_by_client: bytearray = field(default_factory=bytearray)
    said_by_server: bytearray = field(default_factory=bytearray)
    task: asyncio.Task[None] | None = None  # nobody else keeps it from being collected in mid-life

    @property
    def request(self) -> str:
        """Return the head of the upgrade request."""
        return self.said_by_client.partition(b"\r\n\r\n")[0].decode()

    @property
    def frames(self) -> tuple[bytes, bytes]:
        """Return what client and server said after their HTTP heads."""
        return tuple(  # type: ignore[return-value]
            bytes(said.partition(b"\r\n\r\n")[2]) for said in (self.said_by_client, self.said_by_server)
        )


@dataclass
class Tap:
    """A relay to one port of this machine."""

    target: int
    port: int = 0
    connections: list[Tapped] = field(default_factory=list)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tapped = Tapped(task=asyncio.current_task())
        self.connections.append(tapped)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer, tapped.said_by_client))
                group.create_task(_pump(far_reader, writer, tapped.said_by_server))
        finally:
            for end in (writer, far_writer):
                end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while data := await reader.read(CHUNK_BYTES):
            kept += data
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:  # a connection that is gone, or ENOTCONN, which is no ConnectionError
        writer.transport.abort()


@asynccontextmanager
async def tapping(target: int) -> AsyncIterator[Tap]:
    """Run a tap in front of a port; leave it when no connection is open any more."""
    tap = Tap(target)
    server = await asyncio.start_server(tap._serve, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()
        await server.wait_closed()
        if tasks := [tapped.task for tapped in tap.connections if tapped.task]:
            await asyncio.wait(tasks)  # only newer Pythons have waited for them
