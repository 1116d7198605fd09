"""What compose, Kubernetes and systemd would start, started by hand: the same commands, the same environment.

Only places differ, since there is one machine: the database's host, ports, the upstream's address, and
folders of the test's own where volumes would be.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import URL, make_url

from proxy.settings import Address
from tests.apps import answer, call
from tests.deploy.files import (
    compose,
    container,
    directive,
    health_check,
    image_environment,
    instructions,
    manifest,
    unit,
    variables,
)
from tests.faults.instance import free_address
from tests.postgres import Server, as_text, connect

ROOT = Path(__file__).parents[2]
START_S = 60.0  # a busy machine is not a bug
ASK_S = 0.1
UPSTREAM_KEY = "sk-of-the-installation"
METRICS_TOKEN = "a token that only tests have"
# What compose takes from the shell that it is started from.
SHELL = {
    "OPENAI_API_KEY": UPSTREAM_KEY,
    "TALKMETER_KEY_PEPPER": "a pepper that only tests have",
    "TALKMETER_METRICS_TOKEN": METRICS_TOKEN,
}
# What people write into the templates of secrets.
SECRETS = {
    "TALKMETER_DATABASE_URL": "postgresql://talkmeter:talkmeter@postgres/talkmeter",
    "TALKMETER_KEY_PEPPER": SHELL["TALKMETER_KEY_PEPPER"],
    "TALKMETER_UPSTREAM_API_KEY": UPSTREAM_KEY,
    "TALKMETER_METRICS_TOKEN": METRICS_TOKEN,
}
OWNER_SECRETS = {"TALKMETER_DATABASE_URL": "postgresql://talkmeter_owner:talkmeter@postgres/talkmeter"}


@dataclass(frozen=True, slots=True)
class Command:
    """What is started: the arguments of `talkmeter`, and the variables that are set for it."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to deploy: what brings the database up to date, and what serves."""

    name: str
    migrate: Command
    serve: Command


def substituted(text: str) -> str:
    """Return `text` with its variables put in, as compose does it: `${A}`, `${A:-else}`, `${A:?why}`."""

    def value(found: re.Match[str]) -> str:
        name, otherwise = found["name"], found["otherwise"] or ""
        if SHELL.get(name):
            return SHELL[name]
        assert not otherwise.startswith(":?"), f"compose would not start without {name}"
        return otherwise.removeprefix(":-")

    return re.sub(r"\$\{(?P<name>\w+)(?P<otherwise>:[-?][^}]*)?\}", value, text)


def by_compose() -> Way:
    """Return what `docker compose up` starts."""

    def command(name: str) -> Command:
        one = compose()["services"][name]
        given = {key: substituted(value) for key, value in one["environment"].items()}
        return Command(one.get("command", _image_command()), image_environment() | given)

    return Way("compose", command("migrate"), command("talkmeter-1"))


def _image_command() -> list[str]:
    (command,) = instructions("CMD")
    parsed: list[str] = json.loads(command)
    return parsed


def by_kubernetes() -> Way:
    """Return what the manifests start, once their secrets are filled in."""

    def command(workload: dict[str, Any], secrets: Mapping[str, str]) -> Command:
        given: dict[str, str] = {}
        for source in container(workload)["envFrom"]:
            if "configMapRef" in source:
                given |= manifest("ConfigMap", source["configMapRef"]["name"])["data"]
            else:
                given |= filled(manifest("Secret", source["secretRef"]["name"])["stringData"], secrets)
        return Command(container(workload)["args"], image_environment() | given)

    return Way(
        "kubernetes",
        command(manifest("Job", "talkmeter-migrate"), OWNER_SECRETS),
        command(manifest("StatefulSet"), SECRETS),
    )


def by_systemd() -> Way:
    """Return what the units start, once their files of variables are filled in."""

    def command(name: str, secrets: Mapping[str, str]) -> Command:
        file = Path(directive(name, "EnvironmentFile")).name
        lines = " ".join(one.value for one in unit(name) if one.name == "Environment")
        given = dict(pair.split("=", 1) for pair in lines.split())
        return Command(directive(name, "ExecStart").split()[1:], given | filled(variables(file), secrets))

    return Way(
        "systemd",
        command("talkmeter-migrate.service", OWNER_SECRETS),
        command("talkmeter.service", SECRETS),
    )


def filled(template: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return a template with its secrets; all that are known have to be asked for in it."""
    assert secrets.keys() <= template.keys()
    return {name: secrets.get(name, value) for name, value in template.items()}


def make_roles(server: Server) -> None:
    """Make the two roles as the compose file's PostgreSQL has them."""
    postgres = compose()["services"]["postgres"]["environment"]
    owner, password = postgres["POSTGRES_USER"], substituted(postgres["POSTGRES_PASSWORD"])
    with connect(server.url) as connection:
        connection.execute(f"CREATE ROLE {owner} SUPERUSER LOGIN PASSWORD '{password}'")  # as the image does
        connection.execute(substituted(compose()["configs"]["role"]["content"]))


@contextmanager
def new_database(server: Server) -> Iterator[URL]:
    """Make an empty database that belongs to the owner of the tables to be; drop it in the end."""
    url = server.create()
    try:
        with connect(server.url) as connection:
            connection.execute(f'ALTER DATABASE "{url.database}" OWNER TO talkmeter_owner')
        yield url
    finally:
        server.drop(url)


@dataclass
class Place:
    """Where a way is followed: a database, a folder in place of the volume, ports, and an upstream."""

    way: Way
    database: URL
    folder: Path
    upstream_url: str
    listen: Address = field(default_factory=free_address)
    admin_listen: Address = field(default_factory=free_address)
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)  # or it has a journal that was restored

    @property
    def url(self) -> str:
        return f"http://{self.listen}/v1"

    @property
    def journal(self) -> Path:
        return self.folder / "talkmeter.journal.db"

    def environment(self, command: Command) -> dict[str, str]:
        """Return what a command finds set: what it is given, at this place."""
        given = dict(command.environment)
        url = make_url(given["TALKMETER_DATABASE_URL"])
        there = self.database.set(username=url.username, password=url.password)
        if "TALKMETER_JOURNAL_PATH" in given:
            (volume,) = instructions("VOLUME")
            given["TALKMETER_JOURNAL_PATH"] = given["TALKMETER_JOURNAL_PATH"].replace(
                volume, str(self.folder)
            )
        return given | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TALKMETER_DATABASE_URL": as_text(there),
            "TALKMETER_LISTEN": str(self.listen),
            "TALKMETER_ADMIN_LISTEN": str(self.admin_listen),
            "TALKMETER_UPSTREAM_URL": self.upstream_url,
        }

    async def _start(self, *arguments: str, command: Command) -> asyncio.subprocess.Process:
        with (self.folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                env=self.environment(command),
                cwd=self.folder,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def run(self, *arguments: str, command: Command | None = None) -> str:
        """Run Python to its end, in the environment of `serve` or another; return what it printed."""
        process = await self._start(*arguments, command=command or self.way.serve)
        printed, _ = await asyncio.wait_for(process.communicate(), START_S)
        assert process.returncode == 0, self.said()
        return printed.decode()

    async def talkmeter(self, *arguments: str) -> str:
        """Run `talkmeter` as `docker compose exec` and `kubectl exec` do; return what it printed."""
        return await self.run("-m", "proxy", *arguments)

    async def _tell(self, *arguments: str) -> bytes:
        """Run `talkmeter` and return what it printed, however it ended."""
        process = await self._start("-m", "proxy", *arguments, command=self.way.serve)
        printed, _ = await asyncio.wait_for(process.communicate(), START_S)
        return printed

    async def failed_checks(self) -> list[str]:
        """Return what `talkmeter check` finds wrong: who serves must not own the tables, for one."""
        checks = json.loads(await self._tell("check", "--json"))["checks"]
        return [f"{one['name']}: {one['found']}" for one in checks if one["status"] == "failed"]

    async def migrate(self) -> None:
        await self.run("-m", "proxy", *self.way.migrate.arguments, command=self.way.migrate)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve until the block ends, then stop the way that a service manager does; it must end well."""
        self.process = await self._start("-m", "proxy", *self.way.serve.arguments, command=self.way.serve)
        try:
            await self._ready()
            yield
            if self.process.returncode is None:
                self.process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(self.process.wait(), START_S) == 0, self.said()
        finally:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()

    async def _ready(self) -> None:
        assert self.process is not None
        async with asyncio.timeout(START_S):
            while await self.status("/readyz") != 200:
                assert self.process.returncode is None, self.said()
                await asyncio.sleep(ASK_S)

    async def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def status(self, path: str, *, admin: bool = False, token: str | None = None) -> int | None:
        """Return how a GET of one of the ports is answered; None if nobody listens there."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://{self.admin_listen if admin else self.listen}{path}"
        try:
            async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as got:
                return got.status
        except aiohttp.ClientConnectionError:
            return None

    async def look(self) -> None:
        """Run the image's health check."""
        await self.run(*health_check()[1:])

    async def new_key(self) -> str:
        """Make a tenant and a key, as the compose file's first lines say; return the key's secret."""
        await self.talkmeter("tenant", "create", "acme")
        made = json.loads(await self.talkmeter("key", "create", "--tenant", "acme", "--json"))
        return str(made["secret"])

    async def talk(self, secret: str) -> None:
        """Hold one short conversation."""
        async with call(self.url, secret) as socket:
            done = await answer(socket)
        assert done["response"]["status"] == "completed"

    async def booked(self, entries: int) -> None:
        """Wait until the ledger has so many entries."""
        async with asyncio.timeout(START_S):
            while await asyncio.to_thread(self._entries) < entries:  # noqa: ASYNC110  no event is set here
                await asyncio.sleep(ASK_S)

    def _entries(self) -> int:
        with connect(self.database) as connection:
            (count,) = connection.execute("SELECT count(*) FROM ledger_entry").fetchone() or (0,)
        return int(count)

    async def ledger(self, entries: int) -> list[dict[str, Any]]:
        """Return the ledger as soon as it has so many entries."""
        await self.booked(entries)
        lines = (await self.talkmeter("ledger", "list", "--json")).splitlines()
        return [json.loads(line) for line in lines]

    async def verify(self, digest: str | None = None) -> dict[str, Any]:
        """Verify the ledger, and compare it with a digest that was kept; return the verdict."""
        given = ("--digest", digest) if digest else ()
        printed = await self._tell("ledger", "verify", "--json", *given)
        verdict: dict[str, Any] = json.loads(printed)
        return verdict

    def said(self) -> str:
        """Return everything that was logged here."""
        return (self.folder / "log").read_text(errors="replace")
