"""A whole Talkmeter between a client and a simulated voice API, all in this event loop."""

import asyncio
import gc
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import websockets
from pydantic import SecretStr
from sqlalchemy import Engine

from proxy.app import App, running
from proxy.clock import utc_now
from proxy.settings import Address, Settings
from proxy.simulator import Simulator, read, serve
from proxy.simulator.truth import Truth, total_usd
from proxy.store import reports
from proxy.store.audit import Act
from proxy.store.database import open_database, writing
from proxy.store.sessions import SessionRow, list_sessions
from proxy.store.tenants import create_key, create_tenant
from tests.e2e.oracle import Booked, differences, ledger
from tests.relay.peers import Peer, until, upgrade
from tests.simulator.talk import Client
from tests.warm import WARM

WAIT_S = 20.0
QUERY = "model=gpt-realtime-2.1"
UPSTREAM_KEY = "sk-of-the-installation"
PEPPER = "a pepper that only tests have"
ANY_PORT = Address("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates for both servers, and the context that trusts them."""

    files: Mapping[str, Path]
    server: ssl.SSLContext
    client: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Home:
    """What outlives a Talkmeter: a folder, a migrated database, and a tenant with a key in it."""

    folder: Path
    database_url: str
    secret: str = field(repr=False)
    tls: Tls | None = None

    @property
    def truth(self) -> Path:
        return self.folder / "truth.jsonl"

    def settings(self, **changes: Any) -> Settings:
        """Return settings under which waiting is short."""
        facts: dict[str, Any] = {
            "_env_file": None,
            "listen": ANY_PORT,
            "admin_listen": ANY_PORT,
            "database_url": self.database_url,
            "journal_path": self.folder / "journal.db",
            "key_pepper": SecretStr(PEPPER),
            "upstream_api_key": SecretStr(UPSTREAM_KEY),
            "linger_s": 5,
            "drain_s": 0,
        }
        files = self.tls.files if self.tls else {}
        return Settings(**(facts | dict(files) | changes))

    @asynccontextmanager
    async def simulating(self, **options: Any) -> AsyncIterator[Simulator]:
        """Run a simulator that speaks a thousand times as fast as people do, unless told otherwise."""
        fast: dict[str, Any] = {"speed": 1_000.0, "think_s": 0.0, "api_keys": {UPSTREAM_KEY}}
        tls = self.tls.server if self.tls else None
        simulator = await serve(truth=self.truth, tls=tls, **(fast | options))
        try:
            yield simulator
        finally:
            await simulator.close()

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator["Place"]:
        """Run a simulator and a Talkmeter; see afterwards that nothing is left of them.

        `options` that are settings go to Talkmeter, the others to the simulator.
        """
        ours = {name: value for name, value in options.items() if name in Settings.model_fields}
        theirs = {name: value for name, value in options.items() if name not in ours}
        tasks, files = asyncio.all_tasks(), open_files()
        async with self.simulating(**theirs) as simulator:
            async with running(self.settings(**({"upstream_url": simulator.url} | ours))) as app:
                place = Place(self, app, simulator)
                try:
                    yield place
                finally:
                    place.reset_peers()
            assert not app.gateway.sessions
        await until(lambda: asyncio.all_tasks() == tasks)
        await until(lambda: gc.collect() >= 0 and open_files() <= files)  # a thread may just be at its end

    def truths(self) -> list[Truth]:
        """Return what the simulator sent."""
        return read(self.truth)

    def booked(self) -> list[Booked]:
        """Return what is in the ledger."""
        with self._database() as engine:
            return ledger(engine)

    def sessions(self) -> list[SessionRow]:
        """Return the sessions as the database has them, the oldest first."""
        with self._database() as engine:
            return list_sessions(engine, utc_now())[::-1]

    def check(self) -> list[Booked]:
        """Return the ledger, after comparing it and the report's total with what was sent."""
        booked = self.booked()
        wrong = differences(self.truths(), booked)
        assert not wrong, "\n".join(wrong)  # spelt out: pytest explains asserts in test modules only
        with self._database() as engine:
            total = reports.run(engine, reports.CostQuery()).total
        assert total["cost_nanousd"] == sum(entry.cost_nanousd or 0 for entry in booked)
        if not any(entry.estimated for entry in booked) and not any(t.fault for t in self.truths()):
            assert total["cost_nanousd"] == total_usd(self.truths()) * Decimal(1_000_000_000)
        return booked

    @contextmanager
    def _database(self) -> Iterator[Engine]:
        engine = open_database(self.database_url)
        try:
            yield engine
        finally:
            engine.dispose()


@dataclass
class Place:
    """A Talkmeter that runs, with its upstream."""

    home: Home
    app: App
    simulator: Simulator
    peers: list[Peer] = field(default_factory=list)

    @property
    def root(self) -> str:
        """Return the URL of the data plane without a path."""
        return self.app.url.removesuffix("/v1")

    @property
    def ws_url(self) -> str:
        """Return the base URL for WebSocket clients, `ws(s)://host:port/v1`."""
        return self.app.url.replace("http", "ws", 1)

    @asynccontextmanager
    async def connected(
        self,
        query: str = QUERY,
        *,
        sim: str = "",
        headers: Mapping[str, str] | None = None,
        check: bool = True,
        path: str = "/v1/realtime",
        **settings: Any,
    ) -> AsyncIterator[Client]:
        """Yield a client; `sim` are the faults that its session shall have."""
        if headers is None:
            headers = {"Authorization": f"Bearer {self.home.secret}"}
        url = f"{self.ws_url.removesuffix('/v1')}{path}?{query}&sim={sim}".removesuffix("&sim=")
        tls: dict[str, Any] = {"ssl": self.home.tls.client} if self.home.tls else {}
        async with websockets.connect(
            url, additional_headers=headers, max_size=None, proxy=None, close_timeout=2, **tls, **settings
        ) as connection:
            yield Client(connection, check=check)

    async def raw(self, query: str = QUERY, *, sim: str = "", **headers: str) -> Peer:
        """Return a client that talks byte by byte; its session is open."""
        peer = await raw_peer(self.app.port, self.home.tls)
        self.peers.append(peer)
        headers = {"authorization": f"Bearer {self.home.secret}"} | headers
        peer.write(upgrade(f"/v1/realtime?{query}&sim={sim}".removesuffix("&sim="), **headers))
        async with asyncio.timeout(WAIT_S):
            peer.head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
        assert peer.head.startswith("HTTP/1.1 101 "), peer.head
        return peer

    def reset_peers(self) -> None:
        """Drop the raw clients that are still there."""
        for peer in self.peers:
            peer.reset()
        self.peers.clear()

    async def over(self) -> list[Booked]:
        """Wait for the end of all sessions; return the ledger, which is compared with what was sent."""
        await until(lambda: not self.app.gateway.sessions)
        await self.app.poster.posted_up_to_now()
        return await asyncio.to_thread(self.home.check)

    async def session(self, session_id: str, secret: str | None = None) -> tuple[int, dict[str, Any]]:
        """Return what `GET /talkmeter/v1/sessions/{id}` answers: status and body."""
        return await self.get(f"{self.root}/talkmeter/v1/sessions/{session_id}", secret or self.home.secret)

    async def get(self, url: str, secret: str) -> tuple[int, dict[str, Any]]:
        """Return status and JSON body of a plain GET."""
        tls: dict[str, Any] = {"ssl": self.home.tls.client} if self.home.tls else {}
        headers = {"Authorization": f"Bearer {secret}"}
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers, **tls) as answer:
            return answer.status, await answer.json()

    async def metrics(self, accept: str = "text/plain") -> str:
        """Return the text of /metrics, as a scraper gets it that accepts such a format."""
        tls: dict[str, Any] = {"ssl": self.home.tls.client} if self.home.tls else {}
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.app.admin_url}/metrics", headers={"Accept": accept}, **tls) as answer,
        ):
            return await answer.text()


def furnish(folder: Path, database_url: str, tls: Tls | None = None) -> Home:
    """Return a home whose database, which is migrated, has a tenant with a key."""
    return Home(folder, database_url, add_key(database_url, "acme"), tls)


def add_key(database_url: str, tenant: str) -> str:
    """Return the secret of a new key of a new tenant."""
    engine = open_database(database_url)
    try:
        with writing(engine) as connection:
            create_tenant(connection, tenant, Act("test", utc_now()))
            pepper = PEPPER.encode()
            return create_key(connection, pepper, tenant_name=tenant, act=Act("test", utc_now()))[1]
    finally:
        engine.dispose()


async def raw_peer(port: int, tls: Tls | None) -> Peer:
    """Return a plain connection to a port of this machine."""
    secure: dict[str, Any] = {"ssl": tls.client, "server_hostname": "127.0.0.1"} if tls else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26, **secure)
    return Peer(reader, writer, masks=True)


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection by a TCP reset, whatever is on its way; nothing if it ends already."""
    if transport.is_closing():
        return
    stream: socket.socket = transport.get_extra_info("socket")
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def open_files() -> int:
    """Return how many files and sockets this process has open, without those of uvloop and tests to spare."""
    numbers = os.listdir("/proc/self/fd")
    targets = [_target(number) for number in numbers]
    return sum(target not in ("", os.devnull) for target in targets) - WARM.count()


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:  # the list itself was read through one of them
        return ""
