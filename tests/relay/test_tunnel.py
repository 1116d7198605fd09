"""A session on real sockets: what is relayed, in which order, and how it ends."""

import asyncio

from proxy.core.records import Entry, SessionClosed, SubjectOpened
from tests.relay.peers import stage


async def test_it_works() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        raw = client.say({"type": "session.update", "session": {}})
        await upstream.exactly(raw)
        raw = upstream.say({"type": "session.created", "session": {}})
        await client.exactly(raw)
        raw = client.close(1000, "bye")
        await upstream.exactly(raw)
        raw = upstream.close(1000, "bye too")
        await client.exactly(raw)
        assert await client.end() == b""
        assert await upstream.end() == b""
        await it.over()
        assert it.journal.of(SessionClosed)[0].reason == "client_closed"
