"""The data plane, put together: everything is opened in order, and closed in the opposite one.

    database → journal → what a crash left open → poster → catalogue → gateway → ports → control plane

`run` is `talkmeter serve`: signals, a control plane in a process of its own, fail-stop. `running` is
the same within a process that does other things too, such as a test or the demo.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from proxy import __version__
from proxy.admin.child import supervise
from proxy.observe import logs
from proxy.observe.metrics import Metrics
from proxy.plane import Plane, Stores, data_plane, open_stores
from proxy.ports import Ports, open_ports, server_tls
from proxy.processes.addresses import Addresses
from proxy.processes.journals import warn_of_left_over
from proxy.processes.stopping import Stop, give_up_later
from proxy.processes.worker_task import Worker
from proxy.pulse import Pulse
from proxy.relay.gateway import Gateway
from proxy.settings import Settings
from proxy.store.catalog import Catalog
from proxy.store.database import describe
from proxy.store.journal import Journal, JournalFailed
from proxy.store.poster import Poster

SWITCH_INTERVAL_S = 0.0005  # other threads must not keep the relay waiting for the usual 5 ms
EXIT_JOURNAL_FAILED = 70

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class App:
    """A data plane that runs, and its control plane."""

    settings: Settings
    stores: Stores
    plane: Plane
    ports: Ports

    @property
    def gateway(self) -> Gateway:
        return self.plane.gateway

    @property
    def metrics(self) -> Metrics:
        return self.plane.metrics

    @property
    def catalog(self) -> Catalog:
        return self.plane.catalog

    @property
    def journal(self) -> Journal:
        return self.stores.journal

    @property
    def poster(self) -> Poster:
        return self.stores.poster

    @property
    def port(self) -> int:
        """Return the data plane's port."""
        return self.ports.listen.port

    @property
    def admin_port(self) -> int:
        """Return the control plane's port."""
        return self.ports.admin_listen.port

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.ports.listen, self.ports.admin_listen, self.settings.tls_cert is not None)

    @property
    def url(self) -> str:
        """Return the base URL for apps: what they put where OpenAI's was."""
        return self.addresses.url

    @property
    def admin_url(self) -> str:
        """Return the control plane's URL."""
        return self.addresses.admin_url


@dataclass(slots=True)
class _Journal:
    """Whether the journal still keeps what it is given, and who has to know when it does not."""

    on_failure: Callable[[Exception], None] | None
    has_failed: bool = False
    then: list[Callable[[], None]] = field(default_factory=list)

    def failed(self, error: Exception) -> None:
        self.has_failed = True
        logger.critical("the journal failed: all sessions are dropped", extra={"error": error})
        for call in self.then:
            call()
        if self.on_failure is not None:
            self.on_failure(error)


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    child: bool = False,
    on_journal_failure: Callable[[Exception], None] | None = None,
    worker: Worker | None = None,
) -> AsyncIterator[App]:
    """Run a data plane, and drain it in the end; after an error all sessions are dropped instead.

    The control plane is a process of its own if `child`, else it shares this event loop. A `worker` has none.

    Raises:
        SettingsError, StoreError, ListenError: it cannot start; the text says why and what to do.
    """
    settings.need_upstream_key()
    tls = server_tls(settings)
    state = _Journal(on_journal_failure)
    async with contextlib.AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings, state.failed))
        plane = await stack.enter_async_context(data_plane(settings, stores))
        ports = await stack.enter_async_context(open_ports(settings, plane, tls, worker))
        state.then.append(plane.gateway.abort)
        jobs = _jobs(stores, plane)
        if ports.control is not None and child:
            jobs.append(supervise(ports.control))
        elif ports.control is not None and ports.admin_socket is not None:
            from proxy import control  # only here: a data plane with a child needs none of it

            runner = await control.serve(ports.control, ports.admin_socket)
            stack.push_async_callback(runner.cleanup)
        await stack.enter_async_context(_background(jobs))
        await stack.enter_async_context(_drained(plane.gateway, state))
        yield App(settings, stores, plane, ports)


def _jobs(stores: Stores, plane: Plane) -> list[Coroutine[Any, Any, None]]:
    pulse = Pulse(
        stores.engine,
        plane.gateway,
        stores.journal,
        stores.poster,
        metrics=plane.metrics,
        clock=plane.gateway.clock,
    )
    return [pulse.run(), pulse.probe_loop(), _keep_leases(stores)]


async def _keep_leases(stores: Stores) -> None:
    """Keep leases, unless the journal fails before they begin: whoever runs this was told of that already."""
    with contextlib.suppress(JournalFailed):
        await stores.leases.run(stores.poster.posted_up_to_now)


@contextlib.asynccontextmanager
async def _background(jobs: list[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Do `jobs` beside the body, and end them with it. An error of the body comes out as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) == 1:
            raise errors.exceptions[0] from None
        raise


@contextlib.asynccontextmanager
async def _drained(gateway: Gateway, journal: _Journal) -> AsyncIterator[None]:
    """Let sessions end before what they need is closed."""
    try:
        yield
    except BaseException:
        gateway.abort()
        raise
    finally:
        if not journal.has_failed:
            await gateway.drain()


async def run(settings: Settings, warnings: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal drops the sessions that are left.

    `warnings` about the settings are logged first.

    When the journal fails the process ends at once, with status 70: nothing may be forwarded any
    more that could not be recorded, and the next start replays what the disk has.

    Raises:
        SettingsError, StoreError, ListenError: it cannot start; the text says why and what to do.
    """
    logs.configure(settings.log_format, settings.log_level)
    for warning in warnings:
        logger.warning(warning)
    stop = Stop()
    stop.listen()
    await asyncio.to_thread(warn_of_left_over, settings)
    await serve(settings, stop, lambda app: print(app.addresses.greeting, flush=True))


async def serve(
    settings: Settings, stop: Stop, on_ready: Callable[[App], None], worker: Worker | None = None
) -> None:
    """Serve until `stop` is asked for, then drain; a data plane with its control plane, or one worker."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _raise_file_limit()
    stop.hurry = give_up_later
    async with running(settings, child=True, on_journal_failure=_die, worker=worker) as app:
        stop.hurry = partial(_hurry, app.gateway)
        gc.freeze()  # what a start made stays: no collection need look at it again
        logger.info("serving", extra=_facts(app) | ({"worker": worker.number} if worker else {}))
        on_ready(app)
        await stop.asked.wait()
        logger.info("draining", extra={"sessions": len(app.gateway.sessions)})
    logger.info("stopped")


def _hurry(gateway: Gateway) -> None:
    gateway.abort()
    give_up_later()


def _facts(app: App) -> dict[str, object]:
    facts = {"version": __version__, "instance": app.journal.instance_id, "journal": app.journal.path}
    places = {"listen": app.ports.listen, "admin_listen": app.ports.admin_listen}
    stores = {"database": describe(app.settings.database_url), "upstream": app.settings.upstream_url}
    return facts | places | stores


def _die(error: Exception) -> None:
    os._exit(EXIT_JOURNAL_FAILED)


def _raise_file_limit() -> None:
    """Take as many file descriptors as this process may have: a session needs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
