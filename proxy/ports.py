"""Where a data plane is reached: by apps on its port, by its control plane on a private Unix socket."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from proxy.admin import status
from proxy.admin.config import ControlConfig
from proxy.admin.http import serve_http
from proxy.admin.listen import tls_context
from proxy.plane import Plane
from proxy.processes.addresses import address_of, private_folder, taken
from proxy.processes.control_config import control_config
from proxy.processes.worker_task import Worker
from proxy.settings import Address, Settings

KEEPALIVE_S = 75  # for a connection without a request; load balancers give up idle ones after 60 s
SHUTDOWN_S = 1  # for plain HTTP requests; sessions are not aiohttp's any more


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that were taken, and what a control plane has to know; a worker leaves that to its parent."""

    listen: Address
    admin_listen: Address
    admin_socket: socket.socket | None
    control: ControlConfig | None


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS that both planes speak, None for plain text.

    Raises:
        ListenError: the files cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return tls_context(settings.tls_cert, settings.tls_key)


@contextlib.asynccontextmanager
async def open_ports(
    settings: Settings, plane: Plane, tls: ssl.SSLContext | None, worker: Worker | None = None
) -> AsyncIterator[Ports]:
    """Listen for apps and for the control plane; take the control plane's port, but serve nothing there.

    Raises:
        ListenError: a port cannot be taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(await taken(settings.listen, "TALKMETER_LISTEN", shared=bool(worker)))
        if worker is not None:
            ports = Ports(address_of(listener), settings.admin_listen, None, None)
            private = worker.private
        else:
            admin = stack.enter_context(await taken(settings.admin_listen, "TALKMETER_ADMIN_LISTEN"))
            private = str(stack.enter_context(private_folder()) / "s")
            told = control_config(settings, admin.fileno(), [private])
            ports = Ports(address_of(listener), address_of(admin), admin, told)
        runner = await stack.enter_async_context(_served(_private_application(plane)))
        await web.UnixSite(runner, private).start()
        runner = await stack.enter_async_context(_served(_application(plane)))
        await serve_http(runner, listener, tls, plane.handler.broken)
        yield ports


def _application(plane: Plane) -> web.Application:
    application = web.Application()
    application.router.add_get("/healthz", status.healthz)
    application.router.add_get("/readyz", status.readyz(plane.not_ready))
    application.router.add_routes(plane.handler.routes())  # the last of them takes every other path
    return application


def _private_application(plane: Plane) -> web.Application:
    """Return what the control plane asks; nobody else can reach it."""
    application = web.Application()
    application.router.add_get("/healthz", status.healthz)
    application.router.add_get("/readyz", status.readyz(plane.not_ready))
    application.router.add_get("/metrics", status.metrics(plane.metrics.registry))
    return application


@contextlib.asynccontextmanager
async def _served(application: web.Application) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=SHUTDOWN_S
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()
