"""The two ends of a session on real sockets, and the data plane between them."""

import asyncio
import base64
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key, apply_mask

from proxy.core.allowance import Account, Allowance
from proxy.core.commands import Ask as AskForMoney
from proxy.core.identity import Principal
from proxy.core.limits import NO_LIMITS, Limits, narrowest
from proxy.core.models import ALL_MODELS, ModelRules
from proxy.core.rating import Amounts, CardBook
from proxy.core.records import Record, SessionOpened
from proxy.core.refusal import UNKNOWN_KEY, Refusal
from proxy.observe.metrics import Metrics
from proxy.observe.sessions import SessionWatch
from proxy.relay.dial import Dialer, UpstreamConfig
from proxy.relay.gateway import Gateway, GatewayConfig
from proxy.relay.handler import Handler

WAIT_S = 10.0
T = TypeVar("T")
KEY = "tm_key_of_acme"
OTHER_KEY = "tm_key_of_other"
UPSTREAM_KEY = "sk-of-the-installation"


def frame(payload: str | bytes, *, opcode: Opcode = Opcode.TEXT, fin: bool = True, mask: bool) -> bytes:
    """Return one frame as it stands on the wire."""
    data = payload.encode() if isinstance(payload, str) else payload
    return Frame(opcode, data, fin=fin).serialize(mask=mask)


def close(code: int, reason: str = "", *, mask: bool) -> bytes:
    """Return a close frame."""
    return frame(Close(code, reason).serialize(), opcode=Opcode.CLOSE, mask=mask)


@dataclass
class Got:
    """A frame that arrived."""

    opcode: Opcode
    fin: bool
    payload: bytes
    raw: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = msgspec.json.decode(self.payload)
        return value

    @property
    def close(self) -> tuple[int, str]:
        assert self.opcode is Opcode.CLOSE, self
        parsed = Close.parse(self.payload)
        return parsed.code, parsed.reason


class Peer:
    """One end of a WebSocket connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, masks: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.masks = masks
        self.head = ""

    def write(self, data: bytes) -> None:
        """Send raw bytes, unless the connection is gone."""
        if not self.writer.is_closing():
            self.writer.write(data)

    def say(self, message: str | bytes | Mapping[str, Any]) -> bytes:
        """Send a text message in one frame; return its bytes."""
        text = message if isinstance(message, str | bytes) else msgspec.json.encode(message)
        raw = frame(text, mask=self.masks)
        self.write(raw)
        return raw

    def close(self, code: int, reason: str = "") -> bytes:
        """Send a close frame; return its bytes."""
        raw = close(code, reason, mask=self.masks)
        self.write(raw)
        return raw

    async def get(self) -> Got:
        """Return the next frame."""
        async with asyncio.timeout(WAIT_S):
            return await self._frame()

    async def _frame(self) -> Got:
        raw = head = await self.reader.readexactly(2)
        length = head[1] & 0x7F
        if length > 125:
            extended = await self.reader.readexactly(2 if length == 126 else 8)
            raw += extended
            length = int.from_bytes(extended, "big")
        mask = await self.reader.readexactly(4) if head[1] & 0x80 else b""
        assert bool(mask) is not self.masks, "frames are masked by clients, and by them only"
        body = await self.reader.readexactly(length)
        payload = apply_mask(body, mask) if mask else body
        return Got(Opcode(head[0] & 0xF), bool(head[0] & 0x80), payload, raw + mask + body)

    async def exactly(self, data: bytes) -> None:
        """Expect these bytes and no others next."""
        async with asyncio.timeout(WAIT_S):
            assert await self.reader.readexactly(len(data)) == data

    async def end(self) -> bytes:
        """Wait for the end of the stream; return what came before it."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def leave(self) -> None:
        """Close the socket the usual way."""
        self.writer.close()
        try:
            async with asyncio.timeout(WAIT_S):
                await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return

    def reset(self) -> None:
        """Vanish without a word."""
        with suppress(AttributeError):  # of CPython 3.11.2, where TLS is torn down already: it is gone
            self.writer.transport.abort()


class Upstream:
    """A voice API that does what a test tells it."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[Peer] = asyncio.Queue()
        self.accepted: list[Peer] = []
        self.port = 0
        self.answer: bytes | None = None  # instead of the 101
        self.early = b""  # together with the 101
        self.is_silent = False
        self.gate = asyncio.Event()  # it answers once this is set
        self.gate.set()
        self.hangs_up = False  # right after the 101 and what is early
        self._server: asyncio.Server | None = None

    async def start(self, tls: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, masks=False)
        self.accepted.append(peer)
        peer.head = (await reader.readuntil(b"\r\n\r\n")).decode()
        await self.gate.wait()
        if self.is_silent:
            return
        if self.answer is not None:
            writer.write(self.answer)
            writer.close()
            return
        accept = accept_key(header(peer.head, "Sec-WebSocket-Key"))
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
            + self.early
        )
        if self.hangs_up:
            writer.close()
        self.connections.put_nowait(peer)

    async def peer(self) -> Peer:
        """Return the next connection."""
        async with asyncio.timeout(WAIT_S):
            return await self.connections.get()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for peer in self.accepted:
            peer.writer.transport.abort()


def header(head: str, name: str) -> str:
    """Return the value of a header in a request or response head; "" if it is not there."""
    for line in head.split("\r\n")[1:]:
        found, _, value = line.partition(":")
        if found.lower() == name.lower():
            return value.strip()
    return ""


class Catalog:
    """Two tenants with a key each."""

    def __init__(self) -> None:
        self.cards = CardBook()
        self.keys = {
            KEY: Principal("key_1", "ten_1", "acme", tags={"team": "core"}),
            OTHER_KEY: Principal("key_2", "ten_2", "other"),
        }
        self.revoked: dict[str, Refusal] = {}
        self.version = 0
        self.counts_sessions = False
        self.limits: dict[str, Limits] = {}
        self.models = ALL_MODELS

    async def authenticate(self, secret: str, now: datetime) -> Principal | Refusal:
        return self.keys.get(secret, UNKNOWN_KEY)

    def key_ok(self, api_key_id: str) -> Refusal | None:
        return self.revoked.get(api_key_id)

    def limits_of(self, owner_id: str) -> Limits:
        return self.limits.get(owner_id, NO_LIMITS)

    def limits_for(self, principal: Principal) -> Limits:
        return narrowest(self.limits_of(principal.tenant_id), self.limits_of(principal.api_key_id))

    def models_for(self, principal: Principal) -> ModelRules:
        return self.models


class Journal:
    """Keeps records in memory. While `is_slow`, nothing is durable before `catch_up`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.accepting = True
        self.is_full = False
        self.is_slow = False
        self.delay_s: Callable[[], float] = lambda: 0.0  # how long a commit takes
        self._waiting: list[Callable[[], None]] = []

    def append(self, record: Record, durable: Callable[[], None] | None = None) -> None:
        self.records.append(record)
        if durable is not None:
            self._waiting.append(durable)
            if not self.is_slow and len(self._waiting) == 1:
                asyncio.get_running_loop().call_later(self.delay_s(), self.catch_up)

    def catch_up(self) -> None:
        """Everything so far is on disk now."""
        waiting, self._waiting = self._waiting, []
        for durable in waiting:
            durable()

    @property
    def is_waited_for(self) -> bool:
        return bool(self._waiting)

    def of(self, kind: type[T]) -> list[T]:
        """Return the records of one kind."""
        return [record for record in self.records if isinstance(record, kind)]


def _open_door() -> asyncio.Event:
    door = asyncio.Event()
    door.set()
    return door


@dataclass
class Bank:
    """Budgets that a test sets: what an `Ask` gets, and when."""

    accounts: list[Account] = field(default_factory=list)
    gives_nanousd: int = 0
    is_slow: bool = False  # answers wait for `answer`
    door: asyncio.Event = field(default_factory=_open_door)  # admissions wait for it
    asked: list[AskForMoney] = field(default_factory=list)
    waiting: list[Callable[[bool], None]] = field(default_factory=list)
    is_changed: bool = False
    left: int = 0

    async def admit(self, facts: SessionOpened, need: Amounts) -> Allowance | Refusal:
        await self.door.wait()
        short = [one for one in self.accounts if not one.can_hold(need[one.basis])]
        return short[0].refusal if short else Allowance(self.accounts, is_priced_only=bool(self.accounts))

    def ask(self, ask: AskForMoney, done: Callable[[bool], None]) -> None:
        self.asked.append(ask)
        self.waiting.append(done)
        if not self.is_slow:
            asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        for need in self.asked[-1].needs:
            need.account.leased_nanousd += self.gives_nanousd
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(self.gives_nanousd > 0)

    def refresh(self, allowance: Allowance, now: datetime) -> bool:
        changed, self.is_changed = self.is_changed, False
        return changed

    def leave(self, allowance: Allowance) -> None:
        self.left += 1


@dataclass
class Stage:
    """A data plane with its upstream; clients come by `connect`."""

    gateway: Gateway
    upstream: Upstream
    journal: Journal
    catalog: Catalog
    metrics: Metrics
    budgets: Bank
    port: int
    runner: web.AppRunner
    client_tls: ssl.SSLContext | None
    clients: list[Peer] = field(default_factory=list)

    async def dial(self) -> Peer:
        """Return a plain connection to the data plane."""
        host = "localhost" if self.client_tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.client_tls, server_hostname=host, limit=2**26
        )
        peer = Peer(reader, writer, masks=True)
        self.clients.append(peer)
        return peer

    async def ask(self, request: bytes, peer: Peer | None = None) -> tuple[str, bytes, Peer]:
        """Send a request; return the answer's head and body (none for a 101), and the connection."""
        peer = peer or await self.dial()
        peer.write(request)
        async with asyncio.timeout(WAIT_S):
            head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
            length = 0 if " 101 " in head else int(header(head, "Content-Length") or 0)
            peer.head = head
            return head, await peer.reader.readexactly(length), peer

    async def connect(self, path: str = "/v1/realtime?model=gpt-realtime-2.1", **headers: str) -> Peer:
        """Return a client whose session is open."""
        head, body, peer = await self.ask(upgrade(path, **headers))
        assert head.startswith("HTTP/1.1 101 "), head + body.decode()
        return peer

    async def pair(self) -> tuple[Peer, Peer]:
        """Return both ends of a new session."""
        return await self.connect(), await self.upstream.peer()

    async def over(self) -> None:
        """Wait until no session is left."""
        await until(lambda: not self.gateway.sessions)


def upgrade(path: str = "/v1/realtime?model=gpt-realtime-2.1", /, **headers: str) -> bytes:
    """Return an upgrade request; `headers` with `_` for `-` add to the usual ones or replace them."""
    lines = {
        "host": "localhost",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
        "authorization": f"Bearer {KEY}",
    }
    lines |= {name.lower().replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"GET {path} HTTP/1.1\r\n{text}\r\n".encode()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  a test looks from outside, where no event is set
            await asyncio.sleep(0.005)


@asynccontextmanager
async def stage(
    *,
    client_side: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
    upstream_side: ssl.SSLContext | None = None,
    open_timeout_s: float = WAIT_S,
    upstream_url: str | None = None,
    **limits: Any,
) -> AsyncIterator[Stage]:
    """Run a data plane and its upstream, with TLS where contexts are given; see that nothing is left."""
    tasks = asyncio.all_tasks()
    upstream, journal, catalog = Upstream(), Journal(), Catalog()
    await upstream.start(upstream_side)
    metrics = Metrics(CollectorRegistry(), "test")
    budgets = Bank()
    config = GatewayConfig(**({"linger_s": 5.0, "drain_s": 0.2} | limits))
    gateway = Gateway(
        config,
        catalog=catalog,
        journal=journal,
        budgets=budgets,
        metrics=metrics,
        watch=SessionWatch(metrics, lambda opened: "acme"),
    )
    gateway.start()
    url = upstream_url or f"{'https' if upstream_side else 'http'}://localhost:{upstream.port}/v1"
    dialer = Dialer(UpstreamConfig(url, UPSTREAM_KEY, "org-1", "proj-1", open_timeout_s))
    app = web.Application()
    app.add_routes(Handler(gateway, dialer, _find_session, _find_spending).routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=client_side)
    await site.start()
    port = runner.addresses[0][1]
    it = Stage(gateway, upstream, journal, catalog, metrics, budgets, port, runner, client_tls)
    try:
        yield it
    finally:
        gateway.abort()
        await gateway.drain()
        await runner.cleanup()
        await upstream.stop()
        for client in it.clients:
            client.reset()
    await until(lambda: asyncio.all_tasks() == tasks)


async def _find_spending(principal: Principal, user: str | None) -> Mapping[str, Any]:
    return {"tenant": principal.tenant, "user": user}


async def _find_session(session_id: str, tenant_id: str) -> Mapping[str, Any] | None:
    return {"id": session_id, "live": False} if (session_id, tenant_id) == ("ses_old", "ten_1") else None
