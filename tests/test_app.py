"""A whole Talkmeter in this process, and `talkmeter serve` as it is run: start, failures, end."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus

from proxy import simulator
from proxy.admin.listen import ListenError, bind
from proxy.app import EXIT_JOURNAL_FAILED, running
from proxy.settings import Address, Settings, SettingsError
from proxy.store import StoreError
from proxy.store.journal import JournalFailed
from proxy.store.ledger import entries
from tests.apps import UPSTREAM_KEY, answer, call, environment_of, make_key, settings_in, until

START_S = 60


@pytest.fixture
async def upstream() -> AsyncIterator[simulator.Simulator]:
    server = await simulator.serve(api_keys={UPSTREAM_KEY})
    yield server
    await server.close()


# --- In this process


async def test_a_conversation_is_metered(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """From an app's request to the ledger, and everything that tells of it."""
    async with running(settings_in(tmp_path, upstream.url)) as app, aiohttp.ClientSession() as http:
        secret = make_key(app)
        async with call(app.url, secret) as socket:
            done = await answer(socket)
        await app.gateway.drain()
        await app.poster.posted_up_to_now()
        (entry,) = entries(app.stores.engine)
        assert (entry.tenant, entry.subject_id) == ("acme", done["response"]["id"])
        assert entry.cost_nanousd
        metrics = await (await http.get(f"{app.admin_url}/metrics")).text()
    assert 'talkmeter_responses_total{model="gpt-realtime",status="completed",tenant="acme"} 1.0' in metrics
    assert "talkmeter_posted_entries_total 1.0" in metrics
    assert re.search(r'talkmeter_sessions_ended_total\{code="1000",reason="client_closed"\} 1.0', metrics)
    assert re.search(r"talkmeter_journal_commit_seconds_count [1-9]", metrics)
    assert secret not in metrics


async def test_health_on_both_planes(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """Ready while it takes sessions, not while it drains."""
    async with running(settings_in(tmp_path, upstream.url)) as app, aiohttp.ClientSession() as http:
        data = app.url.removesuffix("/v1")
        for url in (data, app.admin_url):
            assert (await http.get(f"{url}/healthz")).status == 200
            assert (await (await http.get(f"{url}/readyz")).json())["reasons"] == []
        app.gateway.is_draining = True
        unready = await http.get(f"{data}/readyz")
        assert (unready.status, (await unready.json())["reasons"]) == (503, ["draining"])
        app.journal.accepting = False
        assert len((await (await http.get(f"{data}/readyz")).json())["reasons"]) == 2
        assert (await http.get(f"{data}/metrics")).status == 404


async def test_two_in_one_process(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """They share nothing: a key of one opens nothing at the other."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    settings = [settings_in(tmp_path / name, upstream.url) for name in "ab"]
    async with running(settings[0]) as one, running(settings[1]) as two:
        secret = make_key(one)
        make_key(two)
        async with call(one.url, secret) as socket:
            await answer(socket)
        with pytest.raises(InvalidStatus) as refused:
            await call(two.url, secret)
        assert refused.value.response.status_code == 401


async def test_a_restart_keeps_keys_and_ledger(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """The pepper, the journal and the database lie side by side."""
    settings = settings_in(tmp_path, upstream.url)
    async with running(settings) as app:
        secret = make_key(app)
        first = app.journal.instance_id
        async with call(app.url, secret) as socket:
            await answer(socket)
    async with running(settings) as app:
        assert app.journal.instance_id == first
        async with call(app.url, secret) as socket:
            await answer(socket)
        await app.poster.posted_up_to_now()
        assert len(list(entries(app.stores.engine))) == 2


async def test_draining_lets_a_response_end(tmp_path: Path) -> None:
    """Its bill is in the ledger although the session was still open when we were asked to stop."""
    server = await simulator.serve(api_keys={UPSTREAM_KEY}, speed=5)
    settings = settings_in(tmp_path, server.url, linger_s=20)
    async with running(settings) as app:
        socket = await call(app.url, make_key(app))
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await socket.send(json.dumps({"type": "response.create"}))
        response = (await until(socket, "response.created"))["response"]["id"]
        engine = app.stores.engine
    (entry,) = entries(engine)
    assert (entry.subject_id, entry.estimated) == (response, False)
    with pytest.raises(ConnectionClosed) as closed:
        await until(socket, "never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    await server.close()
    engine.dispose()


async def test_an_error_in_the_body_comes_out_as_it_is(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """And does not wait for sessions."""
    settings = settings_in(tmp_path, upstream.url, drain_s=600)
    with pytest.raises(LookupError, match="mine"):
        async with running(settings) as app:
            socket = await call(app.url, make_key(app))
            raise LookupError("mine")
    with pytest.raises(ConnectionClosed):
        await until(socket, "never")


async def test_a_failed_journal_drops_everything(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """Nothing is forwarded that cannot be recorded; in this process the caller decides what is next."""
    failures: list[Exception] = []
    settings = settings_in(tmp_path, upstream.url)
    async with running(settings, on_journal_failure=failures.append) as app:
        socket = await call(app.url, make_key(app))
        app.journal._fail(OSError("no flush"))
        with pytest.raises(ConnectionClosed):
            await until(socket, "never")
    assert [str(failure) for failure in failures] == ["no flush"]


async def test_a_journal_may_fail_before_anything_has_begun(tmp_path: Path) -> None:
    """The leases, which wait for what the last run left, do not bring their own error up."""
    failures: list[Exception] = []
    settings = settings_in(tmp_path, "http://127.0.0.1:1")
    async with running(settings, on_journal_failure=failures.append) as app:
        app.journal._fail(OSError("no flush"))
        with pytest.raises(JournalFailed):
            await app.poster.posted_up_to_now()
    assert [str(failure) for failure in failures] == ["no flush"]


# --- What cannot start


async def test_no_upstream_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is opened."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="UPSTREAM_API_KEY is not set"):
        async with running(settings_in(tmp_path, "http://127.0.0.1:1", upstream_api_key=None)):
            pass
    assert os.listdir(tmp_path) == []


async def test_a_second_instance_on_sqlite_is_refused(tmp_path: Path) -> None:
    """The answer names what to use instead."""
    settings = settings_in(tmp_path, "http://127.0.0.1:1")
    async with running(settings):
        with pytest.raises(StoreError, match="SQLite is for one instance: for more, set .* PostgreSQL"):
            async with running(settings.model_copy(update={"journal_path": tmp_path / "other.db"})):
                pass


async def test_a_second_instance_on_a_journal_is_refused(tmp_path: Path) -> None:
    """Whatever database it uses."""
    settings = settings_in(tmp_path, "http://127.0.0.1:1", journal_path=tmp_path / "j.db")
    (tmp_path / "b").mkdir()
    other = settings_in(tmp_path / "b", "http://127.0.0.1:1", journal_path=tmp_path / "j.db")
    async with running(settings):
        with pytest.raises(StoreError, match="journal .* is in use by another process"):
            async with running(other):
                pass


@pytest.mark.parametrize("name", ["listen", "admin_listen"])
async def test_a_port_in_use(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is named, and everything that was opened is closed again."""
    monkeypatch.setattr("proxy.processes.addresses.PORT_PATIENCE_S", 0)
    with bind("127.0.0.1", 0, "x") as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        settings = settings_in(tmp_path, "http://127.0.0.1:1", **{name: address})
        with pytest.raises(ListenError, match=f"TALKMETER_{name.upper()} is {address}: this port is in use"):
            async with running(settings):
                pass
    async with running(settings):
        pass


async def test_postgres_that_is_down_at_the_start(tmp_path: Path) -> None:
    """A start needs the database; the error does not show its password."""
    url = "postgresql://app:canary@127.0.0.1:1/x"
    settings = settings_in(tmp_path, "http://127.0.0.1:1", database_url=url, journal_path=tmp_path / "j.db")
    with pytest.raises(StoreError, match="cannot be used") as refused:
        async with running(settings):
            pass
    assert "canary" not in str(refused.value)


# --- TLS


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, dict[str, Path]]:
    """Return a context that trusts our certificate, and the settings that name its files."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    issued.cert_chain_pems[0].write_to_path(files["tls_cert"])
    issued.private_key_pem.write_to_path(files["tls_key"])
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting, files


async def test_tls_on_both_planes(
    tmp_path: Path, upstream: simulator.Simulator, certified: tuple[ssl.SSLContext, dict[str, Path]]
) -> None:
    """`wss:` for apps, `https:` for scrapers, and nothing in plain text."""
    trusting, files = certified
    settings = settings_in(tmp_path, upstream.url, **files)
    async with running(settings) as app, aiohttp.ClientSession() as http:
        assert app.url.startswith("https:")
        async with call(app.url, make_key(app), ssl=trusting) as socket:
            assert (await answer(socket))["response"]["status"] == "completed"
        assert (await http.get(f"{app.admin_url}/metrics", ssl=trusting)).status == 200
        with pytest.raises(aiohttp.ClientError):
            await http.get(app.url.replace("https", "http"))


# --- `talkmeter serve`


class Served:
    """A `talkmeter serve` that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.url = self.admin_url = ""

    async def ready(self) -> None:
        """Wait until it says where it is."""
        assert self.process.stdout is not None
        line = (await asyncio.wait_for(self.process.stdout.readline(), START_S)).decode()
        found = re.search(r"serves apps at (\S+), the API, health and metrics at (\S+)", line)
        assert found, line + str(await self.log())
        self.url, self.admin_url = found.groups()

    async def logged(self, event: str) -> dict[str, Any]:
        """Return the next log line of this event."""
        assert self.process.stderr is not None
        while line := await asyncio.wait_for(self.process.stderr.readline(), START_S):
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"].startswith(event):
                return self.lines[-1]
        raise AssertionError(f"{event!r} was not logged: {self.lines}")

    async def log(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), START_S)


@contextlib.asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Served]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "proxy",
        "serve",
        env=environment_of(settings),
        cwd=Path(str(settings.database_url.database)).parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Served(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_serve(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """Both planes, the control plane replaced when it dies, a clean end after SIGTERM."""
    async with serve(settings_in(tmp_path, upstream.url)) as served, aiohttp.ClientSession() as http:
        await served.ready()
        facts = await served.logged("serving")
        assert served.url == f"http://{facts['listen']}/v1"
        started = await served.logged("control plane started")
        assert (await http.get(f"{served.admin_url}/readyz")).status == 200
        assert (await http.get(served.url.replace("/v1", "/readyz"))).status == 200
        openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
        metrics = await (await http.get(f"{served.admin_url}/metrics", headers=openmetrics)).text()
        assert "talkmeter_control_plane_starts_total 1.0" in metrics
        assert metrics.endswith("# EOF\n")

        os.kill(started["child_pid"], signal.SIGKILL)
        await served.logged("control plane ended")
        again = await served.logged("control plane started")
        assert again["child_pid"] != started["child_pid"]
        async with aiohttp.ClientSession() as fresh:
            metrics = await (await fresh.get(f"{served.admin_url}/metrics")).text()
            assert "talkmeter_control_plane_starts_total 2.0" in metrics

        served.process.terminate()
        assert await served.ended() == 0
        assert '"event":"stopped"' in await served.log()
    with pytest.raises(ProcessLookupError):
        os.kill(again["child_pid"], 0)


async def test_sigterm_drains_and_the_second_one_hurries(
    tmp_path: Path, upstream: simulator.Simulator
) -> None:
    """An open session holds the end up for DRAIN_S at most, and nobody new is let in."""
    settings = settings_in(tmp_path, upstream.url, drain_s=600)
    async with running(settings) as app:
        secret = make_key(app)
    async with serve(settings) as served:
        await served.ready()
        socket = await call(served.url, secret)
        assert (await answer(socket))["response"]["status"] == "completed"
        served.process.send_signal(signal.SIGTERM)
        assert (await served.logged("draining"))["sessions"] == 1
        with pytest.raises(InvalidStatus) as refused:
            await call(served.url, secret)
        assert refused.value.response.status_code == 503
        assert (await answer(socket))["response"]["status"] == "completed"
        served.process.send_signal(signal.SIGINT)
        assert await served.ended() == 0
        await socket.close()
        log = await served.log()
    assert '"responses":2' in log
    assert secret not in log
    assert UPSTREAM_KEY not in log


async def test_sigterm_while_starting_ends_it(tmp_path: Path) -> None:
    """A service manager that changes its mind is obeyed."""
    async with serve(settings_in(tmp_path, "http://127.0.0.1:1")) as served:
        while not (tmp_path / "talkmeter.db-instance").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        served.process.terminate()
        assert await served.ended() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="takes the disk away from another process")
async def test_a_failed_journal_ends_the_process(tmp_path: Path, upstream: simulator.Simulator) -> None:
    """Fail-stop, with a status of its own: not one more byte can be written to any file."""
    settings = settings_in(tmp_path, upstream.url, drain_s=600)
    async with running(settings) as app:
        secret = make_key(app)
    async with serve(settings) as served:
        await served.ready()
        socket = await call(served.url, secret)
        await until(socket, "session.created")
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (1, 1))
        with pytest.raises(ConnectionClosed):
            await answer(socket)
        assert await served.ended() == EXIT_JOURNAL_FAILED
        assert "the journal failed" in await served.log()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"LISTEN": "nowhere"}, "error: TALKMETER_LISTEN is 'nowhere': it should be HOST:PORT"),
        ({"UPSTREAM_API_KEY": ""}, "error: TALKMETER_UPSTREAM_API_KEY is not set"),
        ({"DATABASE_URL": "sqlite:////nowhere/x.db"}, "error: sqlite:////nowhere/x.db cannot be used"),
        ({"TLS_CERT": "/nowhere", "TLS_KEY": "/nowhere"}, "error: TALKMETER_TLS_CERT is '/nowhere'"),
        ({"LISTEN": "192.0.2.1:80"}, "error: TALKMETER_LISTEN is 192.0.2.1:80: this machine does not"),
    ],
)
async def test_a_start_that_fails_says_why(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    """One line for people, status 1, no traceback."""
    environment = environment_of(settings_in(tmp_path, "http://127.0.0.1:1"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "proxy",
        "serve",
        env=environment | {f"TALKMETER_{name}": value for name, value in changes.items()},
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), START_S)
    assert process.returncode == 1
    assert said in errors.decode()
    assert "Traceback" not in errors.decode()
