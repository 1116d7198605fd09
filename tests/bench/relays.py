"""The relays that are compared, each as a process of its own, pinned to one core."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import commands

ROOT = Path(__file__).parents[2]
START_S = 20.0
KEY = "the key that is made"
STOP_S = 5.0
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

_NGINX_CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "Upgrade";
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Relay:
    """A relay that runs: the URL for clients, the key that it wants, the process that does the work."""

    name: str
    url: str
    pid: int
    key: str = "none"


@dataclass(frozen=True)
class Place:
    """Where a relay is to run: a folder for its files, a core, the upstream and its certificate.

    Talkmeter takes an embedded database unless there is a URL of another one, which has to be migrated.
    """

    folder: Path
    core: int | None
    upstream_port: int
    ca: Path | None = None
    database_url: str | None = None

    def upstream(self, scheme: str) -> str:
        """Return the upstream's base URL; `scheme` is "http" or "ws", to which an `s` is added for TLS."""
        return f"{scheme}{'s' if self.ca else ''}://127.0.0.1:{self.upstream_port}/v1"


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def talkmeter(place: Place) -> contextlib.AbstractContextManager[Relay]:
    """Talkmeter as it is run: `serve`, the embedded database, journalling on."""
    return _talkmeter(place, "Talkmeter")


def with_budgets(place: Place) -> contextlib.AbstractContextManager[Relay]:
    """The same under three budgets that are never spent: they are leased, held for and counted."""
    return _talkmeter(place, "with budgets", _OWNERS)


def two_workers(place: Place) -> contextlib.AbstractContextManager[Relay]:
    """The same with two data planes, which want PostgreSQL; the process is their parent."""
    return _talkmeter(place, "two workers", _OWNERS, workers=2)


_OWNERS = (("--organisation",), ("--tenant", "bench"), ("--key", KEY))


@contextlib.contextmanager
def _talkmeter(
    place: Place, name: str, owners: Sequence[Sequence[str]] = (), workers: int = 1
) -> Iterator[Relay]:
    """Run Talkmeter, with a budget for each of `owners`."""
    port = free_port()
    settings = {
        "LISTEN": f"127.0.0.1:{port}",
        "ADMIN_LISTEN": "127.0.0.1:0",
        "DATABASE_URL": place.database_url or f"sqlite:///{place.folder}/talkmeter.db",
        "KEY_PEPPER": "a pepper for benchmarks only",
        "UPSTREAM_URL": place.upstream("http"),
        "UPSTREAM_API_KEY": "sk-of-the-benchmark",
        "LOG_LEVEL": "warning",
        "DRAIN_S": "0",
        "WORKERS": str(workers),
    }
    environment = {f"TALKMETER_{name}": value for name, value in settings.items()}
    with _process([sys.executable, "-m", "proxy", "serve"], port, place, environment) as pid:
        _say(["tenant", "create", "bench"], environment)
        made = json.loads(_say(["key", "create", "--tenant", "bench", "--json"], environment))
        for owner in owners:
            whose = [made["id"] if word == KEY else word for word in owner]
            # Nobody is to be cut, however long a busy machine's database takes.
            patient = ["--on-store-down", "retry"]
            _say(["budget", "set", "--amount", "1000000", "--window", "month", *patient, *whose], environment)
        yield Relay(name, f"http://127.0.0.1:{port}/v1/realtime", pid, made["secret"])


@contextlib.contextmanager
def nginx(place: Place) -> Iterator[Relay]:
    """nginx as a reverse proxy: one worker, 16 KiB buffers. It meters nothing."""
    assert NGINX is not None
    port = free_port()
    conf = place.folder / "nginx.conf"
    conf.write_text(_NGINX_CONF.format(port=port, upstream=place.upstream("http")), encoding="ascii")
    command = [NGINX, "-p", str(place.folder), "-c", str(conf), "-e", "stderr"]
    with _process(command, port, place, {}) as pid:
        yield Relay("nginx", f"http://127.0.0.1:{port}/v1/realtime", pid)


@contextlib.contextmanager
def websockets(place: Place) -> Iterator[Relay]:
    """The relay that the `websockets` library makes in 40 lines, on uvloop. It meters nothing."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.websockets_relay", str(port), place.upstream("ws")]
    with _process(command, port, place, {}) as pid:
        yield Relay("websockets", f"http://127.0.0.1:{port}/v1/realtime", pid)


Start = Callable[[Place], contextlib.AbstractContextManager[Relay]]


def available() -> Mapping[str, Start]:
    """Return what can be compared on this machine."""
    return {"Talkmeter": talkmeter, **({"nginx": nginx} if NGINX else {}), "websockets": websockets}


@contextlib.contextmanager
def _process(command: list[str], port: int, place: Place, environment: Mapping[str, str]) -> Iterator[int]:
    """Run a server until the block ends; give its process id once it listens."""
    (place.folder / "log").touch()
    with (place.folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=place.folder,
            env=_environment(place, environment),
            stdout=log,
            stderr=log,
        )
    pin(server.pid, place.core)
    try:
        _wait_for(port, server, place.folder / "log")
        yield server.pid
    finally:
        _stop(server)


def pin(pid: int, core: int | None) -> None:
    """Keep a process, and what it starts from now on, on one core."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


def _environment(place: Place, more: Mapping[str, str]) -> dict[str, str]:
    trusted = {"SSL_CERT_FILE": str(place.ca)} if place.ca else {}
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TALKMETER_")}
    return {**ours, "PYTHONPATH": str(ROOT), **trusted, **more}


def _say(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command of `talkmeter` in this process; return what it prints."""
    done = commands.run(*words, env=environment)
    if done.exit_code:
        raise RuntimeError(f"talkmeter {' '.join(words)}: {done.output}")
    return str(done.stdout)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{server.args!r} does not listen:\n{log.read_text(errors='replace')}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
