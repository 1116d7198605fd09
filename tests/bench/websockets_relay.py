"""What one would write without Talkmeter: a relay with the `websockets` library. It meters nothing.

python -m tests.bench.websockets_relay PORT UPSTREAM_URL
"""

import asyncio
import ssl
import sys

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

PORT, UPSTREAM_URL = int(sys.argv[1]), sys.argv[2]
TLS = ssl.create_default_context() if UPSTREAM_URL.startswith("wss:") else None


async def pass_on(source: Connection, target: Connection) -> None:
    """Relay messages, as bytes: decoding and encoding the text would cost more."""
    try:
        while True:
            await target.send(await source.recv(decode=False), text=True)
    except ConnectionClosed:
        await target.close()


async def session(client: ServerConnection) -> None:
    """Relay one session."""
    assert client.request is not None
    query = client.request.path.partition("?")[2]
    async with connect(
        f"{UPSTREAM_URL}/realtime?{query}",
        compression=None,
        max_size=None,
        ping_interval=None,
        proxy=None,
        ssl=TLS,
    ) as upstream:
        await asyncio.gather(pass_on(client, upstream), pass_on(upstream, client))


async def main() -> None:
    """Serve until killed."""
    async with serve(
        session, "127.0.0.1", PORT, compression=None, max_size=None, ping_interval=None
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
