"""A plain WebSocket client that talks to a simulator and checks every event with the SDK's own types."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import websockets
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter
from websockets.asyncio.client import ClientConnection

from proxy.simulator import Simulator, Truth, read, serve
from proxy.simulator.audio import silence, tone

PATIENCE_S = 20  # a test that waits longer than this has failed
KEY = "sk-simulator"
MODEL = "model=gpt-realtime-2.1"
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])

Event = dict[str, Any]


class Client:
    """One connection; `events` is everything that came, in order."""

    def __init__(self, connection: ClientConnection, *, check: bool) -> None:
        self.connection = connection
        self.events: list[Event] = []
        self._check = check

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> Event:
        """Return the next event, valid by the types of the openai package."""
        text = await asyncio.wait_for(self.connection.recv(), PATIENCE_S)
        event: Event = json.loads(text)
        if self._check:
            _ADAPTER.validate_python(event)
        self.events.append(event)
        return event

    async def until(self, kind: str) -> Event:
        """Return the next event of this type."""
        while True:
            event = await self.next()
            if event["type"] == kind:
                return event

    async def ended(self) -> tuple[int, str]:
        """Read to the end of the connection; return its close code and reason."""
        try:
            while True:
                await self.next()
        except websockets.ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    async def configure(self, **session: Any) -> Event:
        """Send a `session.update` and return the session that results; turns are manual unless told."""
        audio = session.setdefault("audio", {})
        audio.setdefault("input", {}).setdefault("turn_detection", None)
        await self.send("session.update", session={"type": "realtime", **session})
        shown: Event = (await self.until("session.updated"))["session"]
        return shown

    async def say(self, text: str, **part: Any) -> Event:
        """Add a message of the user and return it as the server shows it."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content, **part}
        await self.send("conversation.item.create", item=item)
        shown: Event = (await self.until("conversation.item.done"))["item"]
        return shown

    async def speak(self, ms: int, *, silent_ms: int = 0) -> None:
        """Append a tone and then silence, in pieces of 100 ms at most."""
        sound = tone(ms) + silence(silent_ms)
        for at in range(0, len(sound), 4_800):
            piece = base64.b64encode(sound[at : at + 4_800]).decode()
            await self.send("input_audio_buffer.append", audio=piece)

    async def respond(self, **response: Any) -> Event:
        """Ask for a response and return it as it stands in `response.done`."""
        await self.send("response.create", response=response)
        done: Event = (await self.until("response.done"))["response"]
        return done


@asynccontextmanager
async def connected(
    simulator: Simulator,
    query: str = MODEL,
    *,
    key: str | None = KEY,
    check: bool = True,
    path: str = "/v1/realtime",
    **settings: Any,
) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    headers |= settings.pop("headers", {})
    url = f"ws://127.0.0.1:{simulator.port}{path}?{query}"
    async with websockets.connect(
        url, additional_headers=headers, max_size=None, proxy=None, **settings
    ) as connection:
        yield Client(connection, check=check)


@asynccontextmanager
async def simulating(truth: Path | None = None, **options: Any) -> AsyncIterator[Simulator]:
    """A simulator that speaks a thousand times as fast as real time, unless told otherwise."""
    simulator = await serve(truth=truth, **({"speed": 1_000.0, "think_s": 0.0} | options))
    try:
        yield simulator
    finally:
        await simulator.close()


def bills(truth: Path) -> list[Truth]:
    """Return what was billed: the truth file without what was only opened."""
    return [line for line in read(truth) if line.what != "opened"]
