"""Both peers get what the other one sent, byte for byte, and the same endings as without Talkmeter."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import websockets

from tests.e2e.place import QUERY, UPSTREAM_KEY, WAIT_S, Home, Place
from tests.e2e.tap import Tap, tapping
from tests.simulator.talk import Client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


@asynccontextmanager
async def tapped(home: Home, **options: Any) -> AsyncIterator[tuple[Place, Tap, Tap]]:
    """Run a Talkmeter with taps on both of its sides."""
    async with home.simulating(**options) as simulator, tapping(simulator.port) as behind:
        url = f"http://127.0.0.1:{behind.port}/v1"
        async with home.open(upstream_url=url) as place, tapping(place.app.port) as before:
            yield place, before, behind


@asynccontextmanager
async def client_of(port: int, key: str, sim: str = "") -> AsyncIterator[Client]:
    """Connect to a port: a tap's, or the simulator's own."""
    url = f"ws://127.0.0.1:{port}/v1/realtime?{QUERY}&sim={sim}"
    headers = {"Authorization": f"Bearer {key}"}
    async with websockets.connect(url, additional_headers=headers, proxy=None, max_size=None) as connection:
        yield Client(connection, check=True)


async def converse(client: Client) -> None:
    """Have a conversation in which nearly every kind of event occurs."""
    audio = {"input": {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}}
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    await client.configure(audio=audio, tools=[tool])
    await client.speak(1_500, silent_ms=200)
    await client.send("input_audio_buffer.commit")
    await client.until("conversation.item.input_audio_transcription.completed")
    await client.respond()
    await client.say("Please look")
    await client.respond()
    await client.send("no.such.event")
    await client.until("error")
    await (await client.connection.ping(b"are you there?"))
    await client.say("Give me 40 words")
    await client.respond(conversation="none", output_modalities=["text"])
    await client.connection.send(b"\x00 binary")
    await client.until("error")


async def _pinged(client: Client, behind: Tap) -> None:
    """Wait until the voice API has pinged, which an idle connection is."""
    while b"\x89\x04" not in behind.connections[0].said_by_server:  # websockets pings with four bytes
        await client.say("And now?")


def up_to_close(said: bytes) -> bytes:
    """Return what a client said without the pongs after its close frame, for pings that had crossed that."""
    return re.sub(rb"(?:\x8a\x84.{8})+\Z", b"", said, flags=re.DOTALL)


@pytest.mark.parametrize("sim", ["", "obfuscation", "fragment:200", "duplicate_done,unknown_done"])
async def test_every_byte_of_a_conversation(home: Home, sim: str) -> None:
    async with tapped(home, ping_interval_s=0.02) as (place, before, behind):
        async with client_of(before.port, home.secret, sim) as client:
            await converse(client)
            await asyncio.wait_for(_pinged(client, behind), WAIT_S)
            await client.connection.close(4321, "good bye, ünïcode")
        await place.over()
    (near,), (far,) = before.connections, behind.connections
    assert len(near.frames[1]) > 50_000
    assert up_to_close(near.frames[0]) == up_to_close(far.frames[0])
    assert near.frames[1] == far.frames[1]


async def test_every_byte_of_the_openai_packages(home: Home) -> None:
    async with tapped(home) as (place, before, behind):
        url = f"ws://127.0.0.1:{before.port}/v1"
        async with (
            openai.AsyncOpenAI(api_key=home.secret, websocket_base_url=url) as package,
            package.realtime.connect(model="gpt-realtime-2.1") as connected,
        ):
            await connected.response.create()
            async for event in connected:
                if event.type == "response.done":
                    break
        await place.over()
    (near,), (far,) = before.connections, behind.connections
    assert near.frames == far.frames
    assert home.secret in near.request
    assert home.secret not in far.request
    assert f"Authorization: Bearer {UPSTREAM_KEY}" in far.request
    assert "User-Agent: AsyncOpenAI/Python" in far.request
    assert "X-Stainless" in near.request and "X-Stainless" not in far.request


Act = Callable[[Client], Awaitable[None]]


async def listen(client: Client) -> None:
    """Hear an answer, for as long as there is a connection."""
    await client.say("Give me 40 words")
    await client.send("response.create")
    await client.ended()


async def close(client: Client) -> None:
    await client.next()
    await client.connection.close(1000)


async def close_oddly(client: Client) -> None:
    await client.next()
    await client.connection.close(4999, "r" * 123)


ENDINGS: list[tuple[str, Act]] = [
    ("", close),
    ("", close_oddly),
    ("close_after_audio:3", listen),
    ("drop_after_audio:3", listen),
    ("expire:0.2", listen),
    ("refuse:insufficient_quota", Client.ended),  # type: ignore[list-item]
]


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize(("sim", "act"), ENDINGS)
async def test_an_ending_is_the_same_as_without_us(home: Home, sim: str, act: Act) -> None:
    """Close codes and reasons, as both ends see them, and the events before."""
    seen = []
    async with home.open() as place:
        for port, key in ((place.simulator.port, UPSTREAM_KEY), (place.app.port, home.secret)):
            async with client_of(port, key, sim) as client:
                await act(client)
            connection = client.connection
            kinds = [kind for kind in client.kinds() if "delta" not in kind]
            seen.append((connection.close_code, connection.close_reason, kinds))
        # not compared with the truth file, which holds the direct conversation too
    assert seen[0] == seen[1]
