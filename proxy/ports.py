"""Where a data plane is reached: by apps on its port, by its control plane on a private Unix socket."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from pydantic import SecretStr

from proxy.admin import status
from proxy.admin.config import BillConfig, ControlConfig, OidcConfig
from proxy.admin.http import serve_http
from proxy.admin.listen import bind, tls_context
from proxy.plane import Plane
from proxy.settings import Address, Settings

PORT_PATIENCE_S = 3  # a predecessor that was killed may hold its ports a moment longer
SOCKET_PATH_BYTES_MAX = 100  # a Unix socket's address holds about so much
KEEPALIVE_S = 75  # for a connection without a request; load balancers give up idle ones after 60 s
SHUTDOWN_S = 1  # for plain HTTP requests; sessions are not aiohttp's any more


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that were taken, and what a control plane has to know."""

    listen: Address
    admin_listen: Address
    admin_socket: socket.socket
    control: ControlConfig


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS that both planes speak, None for plain text.

    Raises:
        ListenError: the files cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return tls_context(settings.tls_cert, settings.tls_key)


@contextlib.asynccontextmanager
async def open_ports(settings: Settings, plane: Plane, tls: ssl.SSLContext | None) -> AsyncIterator[Ports]:
    """Listen for apps and for the control plane; take the control plane's port, but serve nothing there.

    Raises:
        ListenError: a port cannot be taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(await _taken(settings.listen, "TALKMETER_LISTEN"))
        admin_socket = stack.enter_context(await _taken(settings.admin_listen, "TALKMETER_ADMIN_LISTEN"))
        private = str(stack.enter_context(_private_folder()) / "s")
        runner = await stack.enter_async_context(_served(_private_application(plane)))
        await web.UnixSite(runner, private).start()
        runner = await stack.enter_async_context(_served(_application(plane)))
        await serve_http(runner, listener, tls, plane.handler.broken)
        config = _control_config(settings, admin_socket, private)
        yield Ports(_address(listener), _address(admin_socket), admin_socket, config)


async def _taken(address: Address, setting: str) -> socket.socket:
    return await asyncio.to_thread(bind, address.host, address.port, setting, PORT_PATIENCE_S)


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


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user can enter, with a path short enough for a Unix socket."""
    folder = tempfile.mkdtemp(prefix="talkmeter-")
    if len(os.fsencode(folder)) > SOCKET_PATH_BYTES_MAX - len("/s"):
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="talkmeter-", dir="/tmp")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _control_config(settings: Settings, admin_socket: socket.socket, private: str) -> ControlConfig:
    return ControlConfig(
        listen_fd=admin_socket.fileno(),
        data_plane_socket=private,
        database_url=settings.database_url.render_as_string(hide_password=False),
        metrics_token=_plain(settings.metrics_token),
        admin_token=_plain(settings.admin_token),
        key_pepper=_plain(settings.key_pepper),
        period_timezone=settings.period_timezone,
        model_aliases=settings.model_aliases,
        statement_issuer=settings.statement_issuer,
        four_eyes=settings.four_eyes,
        four_eyes_usd=settings.four_eyes_usd,
        smtp_url=_plain(settings.smtp_url),
        smtp_from=settings.smtp_from,
        anomaly_usd=settings.anomaly_usd,
        anomaly_deviations=settings.anomaly_deviations,
        bill=bill_config(settings),
        oidc=oidc_config(settings),
        public_url=settings.public_url,
        tls_cert=str(settings.tls_cert) if settings.tls_cert else None,
        tls_key=str(settings.tls_key) if settings.tls_key else None,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )


def bill_config(settings: Settings) -> BillConfig:
    """Return how the ledger is compared with the provider's bill."""
    url = settings.upstream_url
    return BillConfig(
        url="http" + url.removeprefix("ws") if url.startswith("ws") else url,
        admin_key=_plain(settings.upstream_admin_key),
        organization=settings.upstream_organization,
        projects=settings.reconcile_projects or (),
        keys=settings.reconcile_keys or (),
        delay_h=settings.reconcile_delay_h,
        usd=settings.reconcile_usd,
        percent=settings.reconcile_percent,
    )


def oidc_config(settings: Settings) -> OidcConfig | None:
    """Return who signs people in to the console by OpenID Connect, None for nobody."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    return OidcConfig(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=_plain(settings.oidc_client_secret),
        scopes=settings.oidc_scopes,
        groups_claim=settings.oidc_groups_claim,
        grants=settings.oidc_grants,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _address(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(host, port)
