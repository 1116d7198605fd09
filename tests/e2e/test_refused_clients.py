"""Refused in mid-sentence or at the door: every client tells its app why, and none comes back for ever.

Each of them talks through a tap that counts its connections. The last one behaves like a client that
reconnects whatever a close frame says, and gives up only where an `error` event or an HTTP answer says why.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import openai
import pytest
import websockets
from agents import set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.websocket_reconnection import ReconnectingEvent
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close

from proxy.clock import utc_now
from proxy.core.limits import LimitName
from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.live import request_stop
from tests.e2e.place import QUERY, WAIT_S, Home, Place
from tests.e2e.tap import Tap, tapping
from tests.e2e.test_budgets import CENT, ask, heard, set_amount
from tests.e2e.test_limits import limit, rule
from tests.relay.peers import until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

set_tracing_disabled(True)

MODEL = "gpt-realtime-2.1"
TALK = "Give me 3000 words"
SPENT = "The month budget of this tenant is spent."
LIVES = 20  # connections after which a client has come back for ever
FINAL = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "invalid_api_key",
    "account_deactivated",
    "billing_hard_limit_reached",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """A way in which a session is ended while it is speaking, and what its client is told."""

    code: str
    message: str
    arrange: Callable[[Home], object]
    provoke: Callable[[Place], None]


def stop(place: Place) -> None:
    (session_id,) = place.app.gateway.sessions
    request_stop(place.app.stores.engine, session_id, Act("test", utc_now(), "too loud"))


ENDINGS = {
    "cut": Ending("insufficient_quota", SPENT, lambda home: set_amount(home, 2 * CENT), lambda place: None),
    "limit": Ending(
        "session_limit_exceeded",
        "A session may cost $0.02 here (limit session_cost).",
        lambda home: limit(home, LimitName.SESSION_COST, "0.02"),
        lambda place: None,
    ),
    "stop": Ending(
        "session_stopped", "An administrator stopped this session: too loud", lambda home: None, stop
    ),
}
EVERY_ENDING = pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())


async def provoke(ending: Ending, place: Place) -> None:
    """Do what ends the session, as soon as it can be done: a session is live once that was published."""

    def done() -> bool:
        try:
            ending.provoke(place)
        except StoreError:
            return False
        return True

    await until(done)


@asynccontextmanager
async def opened(home: Home, ending: Ending) -> AsyncIterator[tuple[Place, Tap]]:
    """Run a Talkmeter behind a tap, in which that will happen; see that it happened to one session only."""
    ending.arrange(home)
    async with home.open(speed=20.0) as place, tapping(place.app.port) as tap:
        if ending.code == "insufficient_quota":
            await heard(place)
        yield place, tap
        (entry,) = await place.over()
        assert entry.status == "cancelled"
        assert (len(tap.connections), place.simulator.sessions) == (1, 1)
    (row,) = home.sessions()
    assert (row.close_code, row.reason) == (
        1008,
        "stopped" if ending.code == "session_stopped" else "refused",
    )


@asynccontextmanager
async def spent(home: Home) -> AsyncIterator[tuple[Place, Tap]]:
    """Run a Talkmeter behind a tap, whose budget an earlier conversation has spent; nobody else gets in."""
    set_amount(home, 2 * CENT)
    async with home.open(speed=20.0) as place, tapping(place.app.port) as tap:
        await heard(place)
        async with place.connected() as client:
            await client.configure()
            await ask(client, TALK)
            assert (await client.ended())[0] == 1008
        before = await place.over()
        yield place, tap
        assert await place.over() == before
        assert place.simulator.sessions == 1
    assert len(home.sessions()) == 1


def check_close(ending: Ending, closed: Close | None) -> None:
    """See that the close frame is one that no client takes for a passing trouble, and can be read."""
    assert closed is not None
    assert (closed.code, closed.reason) == (1008, f"{ending.code}: {ending.message}")


def check_answer(refused: InvalidStatus) -> None:
    """See that an HTTP answer says what is the matter."""
    assert refused.response.status_code == 402
    error = json.loads(refused.response.body or b"")["error"]
    assert (error["type"], error["code"], error["message"]) == (
        "insufficient_quota",
        "insufficient_quota",
        SPENT,
    )


# The openai package, as it comes and told to reconnect

RECONNECTS = pytest.mark.parametrize("reconnects", [False, True], ids=["as it comes", "reconnecting"])


@asynccontextmanager
async def package(home: Home, tap: Tap, tried: list[Any] | None) -> AsyncIterator[AsyncRealtimeConnection]:
    def again(event: ReconnectingEvent) -> None:
        assert tried is not None
        tried.append(event)

    base_url = f"ws://127.0.0.1:{tap.port}/v1"
    options: dict[str, Any] = {} if tried is None else {"on_reconnecting": again, "initial_delay": 0.01}
    async with (
        openai.AsyncOpenAI(api_key=home.secret, websocket_base_url=base_url) as client,
        client.realtime.connect(model=MODEL, **options) as connected,
    ):
        yield connected


@RECONNECTS
@EVERY_ENDING
async def test_openai(home: Home, ending: Ending, reconnects: bool) -> None:
    """An `error` event to read, then an exception; it does not try again."""
    tried: list[Any] = []
    async with opened(home, ending) as (place, tap):
        async with package(home, tap, tried if reconnects else None) as connected:
            content: Any = [{"type": "input_text", "text": TALK}]
            await connected.conversation.item.create(
                item={"type": "message", "role": "user", "content": content}
            )
            await connected.response.create()
            async for event in connected:
                if event.type == "response.output_audio.delta":
                    break
            await provoke(ending, place)
            events = []
            with pytest.raises(ConnectionClosedError) as closed:
                async for event in connected:
                    events.append(event)
        (error,) = [event for event in events if event.type == "error"]
        assert error is events[-1]
        assert (error.error.code, error.error.message) == (ending.code, ending.message)
        check_close(ending, closed.value.rcvd)
        assert tried == []


@RECONNECTS
async def test_openai_at_the_door(home: Home, reconnects: bool) -> None:
    async with spent(home) as (_, tap):
        with pytest.raises(InvalidStatus) as refused:
            async with package(home, tap, [] if reconnects else None):
                raise AssertionError("this should be refused")
        check_answer(refused.value)
        assert len(tap.connections) == 1


# The agents package


@asynccontextmanager
async def running(home: Home, tap: Tap) -> AsyncIterator[RealtimeSession]:
    assistant: RealtimeAgent[Any] = RealtimeAgent(name="assistant", instructions="Be brief.")
    model: Any = {"url": f"ws://127.0.0.1:{tap.port}/v1/realtime", "api_key": home.secret}
    async with await RealtimeRunner(assistant).run(model_config=model) as session:
        yield session


@EVERY_ENDING
async def test_openai_agents(home: Home, ending: Ending) -> None:
    """An `error` event of the session to read, then its iterator raises."""
    async with opened(home, ending) as (place, tap):
        async with running(home, tap) as session, asyncio.timeout(WAIT_S):
            await session.send_message(TALK)
            async for event in session:
                if event.type == "audio":
                    break
            await provoke(ending, place)
            events: list[Any] = []
            with pytest.raises(ConnectionClosedError) as closed:
                async for event in session:
                    events.append(event)
        (error,) = [event.error for event in events if event.type == "error"]
        assert (error.code, error.message) == (ending.code, ending.message)
        check_close(ending, closed.value.rcvd)


async def test_openai_agents_at_the_door(home: Home) -> None:
    async with spent(home) as (_, tap):
        with pytest.raises(InvalidStatus) as refused:
            async with running(home, tap):
                raise AssertionError("this should be refused")
        check_answer(refused.value)
        assert len(tap.connections) == 1


# A client that comes back whatever a close frame says


@dataclass
class Restless:
    """Talks, and reconnects when the connection ends, until it knows that it need not.

    `error` is what told it so: the `error` event with one of the final strings in `code` or `type`, or the
    fourth HTTP answer in a row that is no 101.
    """

    url: str
    secret: str
    lives: int = LIVES
    tries_max: int = 4
    error: Any = None
    closed: Close | None = None
    refused: InvalidStatus | None = None

    async def run(self, met: Callable[[], Any] | None = None) -> None:
        """Live until something is final, or `lives` are used up. `met` is awaited while it is spoken to."""
        tries = 0
        for _ in range(self.lives):
            headers = {"Authorization": f"Bearer {self.secret}"}
            try:
                connection = await websockets.connect(self.url, additional_headers=headers, proxy=None)
            except InvalidStatus as refused:
                tries += 1
                if tries == self.tries_max:
                    self.refused = refused
                    return
                continue
            tries = 0
            try:
                await self._talk(connection, met)
            except ConnectionClosedError as closed:
                self.closed = closed.rcvd
            if self.error is not None:
                return

    async def _talk(self, connection: ClientConnection, met: Callable[[], Any] | None) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TALK}]}
        with suppress(ConnectionClosedError):  # what was said before is read all the same
            for message in ({"type": "conversation.item.create", "item": item}, {"type": "response.create"}):
                await connection.send(json.dumps(message))
        async for text in connection:
            event = json.loads(text)
            if event["type"] == "response.output_audio.delta" and met is not None:
                met = await met()
            if event["type"] == "error" and FINAL & {event["error"].get("code"), event["error"]["type"]}:
                self.error = event["error"]


def restless(home: Home, tap: Tap, sim: str = "", **options: Any) -> Restless:
    return Restless(f"ws://127.0.0.1:{tap.port}/v1/realtime?{QUERY}{sim}", home.secret, **options)


async def test_the_restless_client_does_come_back(home: Home) -> None:
    """So that the others of its tests prove something: a mere close frame, of any code, does not stop it."""
    async with home.open() as place, tapping(place.app.port) as tap:
        client = restless(home, tap, "&sim=close_after_audio:3", lives=5)
        await client.run()
        assert client.error is None
        await place.over()
        assert (len(tap.connections), place.simulator.sessions) == (5, 5)


@EVERY_ENDING
async def test_a_client_that_always_comes_back(home: Home, ending: Ending) -> None:
    """It takes the `error` event for final, although it would not believe the close frame."""
    async with opened(home, ending) as (place, tap):
        client = restless(home, tap)
        await client.run(lambda: provoke(ending, place))
        assert (client.error["code"], client.error["message"]) == (ending.code, ending.message)
        check_close(ending, client.closed)


async def test_a_client_that_always_comes_back_with_a_model_that_it_may_not_use(home: Home) -> None:
    """Nobody has named that model but the upstream."""
    rule(home, f"{MODEL}-2026-06-01", allowed=False)
    async with home.open() as place, tapping(place.app.port) as tap:
        client = restless(home, tap, "&sim=snapshot:2026-06-01")
        await client.run()
        assert client.error["code"] == "model_not_allowed"
        assert client.closed is not None and client.closed.code == 1008
        assert await place.over() == []
        assert (len(tap.connections), place.simulator.sessions) == (1, 1)


@pytest.mark.parametrize(
    ("name", "code"),
    [(LimitName.SESSIONS, "too_many_sessions"), (LimitName.SESSIONS_PER_MINUTE, "rate_limit_exceeded")],
)
async def test_who_may_have_no_further_session_is_told_so_at_the_door(
    home: Home, name: LimitName, code: str
) -> None:
    """Each of the three tries as often as with any HTTP answer, and raises what it says."""
    limit(home, name, "1")
    async with home.open() as place, tapping(place.app.port) as tap, place.connected():
        client = restless(home, tap)
        await client.run()
        with pytest.raises(InvalidStatus) as package_refused:
            async with package(home, tap, []):
                raise AssertionError("this should be refused")
        with pytest.raises(InvalidStatus) as agents_refused:
            async with running(home, tap):
                raise AssertionError("this should be refused")
        for refused in (client.refused, package_refused.value, agents_refused.value):
            assert refused is not None and refused.response.status_code == 429
            error = json.loads(refused.response.body or b"")["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", code)
        assert len(tap.connections) == client.tries_max + 2
        assert place.simulator.sessions == 1


async def test_a_client_that_always_comes_back_at_the_door(home: Home) -> None:
    """It tries a few times more, as with any HTTP answer, and gives up."""
    async with spent(home) as (_, tap):
        client = restless(home, tap)
        await client.run()
        assert client.refused is not None
        check_answer(client.refused)
        assert len(tap.connections) == client.tries_max
