"""Clients that talk without end and write down what reached them: what was forwarded, seen from outside."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import websockets

from tests.simulator.talk import Client, Event

Key = tuple[str, str]  # the upstream's session id and the id of what was billed, as in the truth file
QUERY = "model=gpt-realtime-2.1"
HEARING = {"input": {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}}
RETRY_S = 0.15  # more often, and clients take what an instance needs to start
# What a client may meet while its proxy is killed, starts, or refuses.
LOST = (OSError, EOFError, TimeoutError, websockets.WebSocketException)


@dataclass
class Seen:
    """What reached the clients, all of them together."""

    opened: set[Key] = field(default_factory=set)  # response.created
    billed: set[Key] = field(default_factory=set)  # response.done, transcriptions
    commits: Counter[str] = field(default_factory=Counter)  # of audio, sent by the client, by session
    sessions: set[str] = field(default_factory=set)
    turned_away: Counter[int] = field(default_factory=Counter)  # by HTTP status


class Witness(Client):
    """A client that writes down what it sees."""

    def __init__(self, connection: websockets.ClientConnection, seen: Seen) -> None:
        super().__init__(connection, check=False)
        self._seen = seen
        self.session = ""

    async def next(self) -> Event:
        event = await super().next()
        match event["type"]:
            case "session.created":
                self.session = event["session"]["id"]
                self._seen.sessions.add(self.session)
            case "response.created":
                self._seen.opened.add((self.session, event["response"]["id"]))
            case "response.done":
                self._seen.billed.add((self.session, event["response"]["id"]))
            case "conversation.item.input_audio_transcription.completed":
                self._seen.billed.add((self.session, f"{event['item_id']}:{event['content_index']}"))
        return event

    async def commit(self) -> None:
        """Say that the audio so far is a turn: it will be transcribed."""
        self._seen.commits[self.session] += 1
        await self.send("input_audio_buffer.commit")


@asynccontextmanager
async def connected(url: str, secret: str, seen: Seen, **options: Any) -> AsyncIterator[Witness]:
    """Yield a client whose session is open; `url` ends with `/v1`."""
    sim = options.pop("sim", "")
    async with websockets.connect(
        f"{url}/realtime?{QUERY}&sim={sim}".removesuffix("&sim="),
        additional_headers={"Authorization": f"Bearer {secret}"},
        max_size=None,
        proxy=None,
        compression=None,
        close_timeout=2,
        open_timeout=20,
        **options,
    ) as connection:
        client = Witness(connection, seen)
        await client.until("session.created")
        yield client


async def converse(client: Witness, dice: random.Random) -> None:
    """Hold a short conversation, and leave it at any point."""
    await client.configure(audio=HEARING)
    for _ in range(dice.randrange(1, 6)):
        if dice.random() < 0.4:
            await client.speak(dice.randrange(200, 2_000))
            await client.commit()
        await client.say(f"Give me {dice.randrange(1, 60)} words")
        await client.send("response.create")
        if dice.random() < 0.15:
            await client.until("response.output_audio.delta")
            if dice.random() < 0.5:
                return  # in mid-answer
            await client.send("response.cancel")
        await client.until("response.done")


async def chatter(url: str, secret: str, seen: Seen, dice: random.Random, over: Callable[[], bool]) -> None:
    """Hold one conversation after another, whatever becomes of the proxy, until `over`."""
    while not over():
        try:
            async with connected(url, secret, seen) as client:
                await converse(client, dice)
        except websockets.InvalidStatus as refusal:
            seen.turned_away[refusal.response.status_code] += 1
            await asyncio.sleep(RETRY_S)
        except LOST:
            await asyncio.sleep(RETRY_S)


@asynccontextmanager
async def crowd(url: str, secret: str, seen: Seen, dice: random.Random, clients: int) -> AsyncIterator[None]:
    """Let so many clients chatter for as long as the block runs; they end their conversations."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            of_its_own = random.Random(dice.randrange(2**32))
            group.create_task(chatter(url, secret, seen, of_its_own, over.is_set))
        try:
            yield
        finally:
            over.set()
