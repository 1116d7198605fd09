"""The control plane's server: the API, the console, health, metrics; beside them schedules and deliveries."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, text

from proxy.admin import status
from proxy.admin.api.access import Door
from proxy.admin.api.calls import BASE, Context
from proxy.admin.api.server import Api
from proxy.admin.config import ControlConfig
from proxy.admin.data_planes import DataPlanes, Silent
from proxy.admin.gauges import gauges
from proxy.admin.http import serve_http
from proxy.admin.listen import tls_context
from proxy.admin.mail import Mailer
from proxy.admin.provider_bill import ALL_S
from proxy.admin.reconciling import Reconciler
from proxy.admin.schedules import Scheduler
from proxy.admin.verifying import Verifier
from proxy.admin.webhooks import Deliverer
from proxy.clock import utc_now
from proxy.console.asking import new_http
from proxy.console.channel import Channel
from proxy.console.server import Console
from proxy.console.signing_in import SigningIn
from proxy.console.visitors import Visitors
from proxy.core.anomaly import Sensitivity
from proxy.core.attempts import Attempts
from proxy.core.mail_relay import parse_relay
from proxy.core.money import NANOUSD_PER_USD
from proxy.observe.control_metrics import ControlMetrics
from proxy.store import StoreError
from proxy.store.database import open_database, reachable, reading
from proxy.store.four_eyes import FourEyes
from proxy.store.instants import parse_zone

if TYPE_CHECKING:
    from proxy.admin.api.routes import AnyRoute

DATABASE_TIMEOUT_S = 6


class ControlPlane:
    """Answers for this installation, by what the database and the data plane say."""

    def __init__(self, config: ControlConfig) -> None:
        self._config = config
        self._engine: Engine = open_database(config.database_url)
        self._metrics = ControlMetrics(CollectorRegistry(), config.starts)
        self._reconciler = Reconciler(config.bill, config.model_aliases)
        self._zone = parse_zone(config.period_timezone)
        self._verifier = Verifier.of(self._engine, self._zone, utc_now)
        self._sensitivity = Sensitivity(config.anomaly_usd * NANOUSD_PER_USD, config.anomaly_deviations)
        self._door = Door(self._engine, config.admin_token, config.key_pepper, utc_now)
        self._api = self._make_api()

    def application(self) -> web.Application:
        """Return the routes; the application owns this control plane from then on."""
        application = web.Application()
        application.cleanup_ctx.append(self._connected)
        application.cleanup_ctx.append(self._identifying)
        application.cleanup_ctx.append(self._delivering)
        application.cleanup_ctx.append(self._scheduling)
        application.cleanup_ctx.append(self._looking)
        application.router.add_get("/healthz", status.healthz)
        application.router.add_get("/readyz", status.readyz(self.not_ready))
        application.router.add_get("/metrics", status.guarded(self.metrics, self._config.metrics_token))
        application.router.add_get("/openapi.json", _described)
        application.add_subapp(BASE, self._api.application())
        self._make_console().add_to(application)
        return application

    def _make_console(self) -> Console:
        channel = Channel(self._config.public_url)
        visitors = Visitors(self._engine, self._door.pepper, channel, utc_now)
        self._signing_in = SigningIn(visitors, channel, utc_now, Attempts())
        return Console(self._api, visitors, channel, self._signing_in, utc_now, self._zone)

    async def _identifying(self, application: web.Application) -> AsyncIterator[None]:
        """Let people sign in at the provider of the house, if there is one."""
        if self._config.oidc is None:
            yield
            return
        from proxy.console.oidc import Provider  # only here: cryptography takes its time to load

        async with new_http() as http:
            self._signing_in.provider = Provider(self._config.oidc, http, utc_now)
            yield

    def _make_api(self) -> Api:
        config = self._config
        context = Context(
            engine=self._engine,
            zone=self._zone,
            issuer=config.statement_issuer,
            aliases=config.model_aliases,
            reconciler=self._reconciler,
            sensitivity=self._sensitivity,
            four_eyes=FourEyes(config.four_eyes, config.four_eyes_usd * NANOUSD_PER_USD),
            pepper=self._door.pepper,
            verifier=self._verifier,
        )
        return Api(context, self._door, _routes, utc_now)

    async def not_ready(self) -> Sequence[str]:
        """Return why this installation cannot be relied on now; empty when it can."""
        database, silent = await asyncio.gather(self._database_problem(), self._data_planes.problems())
        return [*([database] if database else []), *silent]

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics: the data planes' and below them our own, in the format that was asked for."""
        accept = request.headers.get("Accept", "")
        try:
            body, workers = await self._data_planes.metrics(accept)
        except Silent as silence:
            return web.json_response({"error": str(silence)}, status=503)
        self._metrics.answered(workers)
        return status.exposition(body, accept, self._metrics.registry)

    async def _connected(self, application: web.Application) -> AsyncIterator[None]:
        async with DataPlanes(self._config.data_planes) as self._data_planes:
            yield
        await asyncio.to_thread(self._verifier.stop)
        self._engine.dispose()

    async def _delivering(self, application: web.Application) -> AsyncIterator[None]:
        mailer = self._make_mailer()
        deliverer = Deliverer(self._engine, self._metrics, mailer=mailer)
        async with asyncio.TaskGroup() as group:
            group.create_task(deliverer.run())
            yield
            deliverer.stop()
        if mailer is not None:
            mailer.close()

    def _make_mailer(self) -> Mailer | None:
        config = self._config
        if config.smtp_url is None or config.smtp_from is None:
            return None
        return Mailer(parse_relay(config.smtp_url), config.smtp_from)

    async def _scheduling(self, application: web.Application) -> AsyncIterator[None]:
        reconcile = partial(self._reconciler.run_last, self._engine, wait_s=ALL_S)
        scheduler = Scheduler(self._engine, self._zone, self._sensitivity, reconcile=reconcile)
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.run())
            yield
            scheduler.stop()

    async def _looking(self, application: web.Application) -> AsyncIterator[None]:
        looking = gauges(self._engine, self._metrics)
        async with asyncio.TaskGroup() as group:
            group.create_task(looking.run())
            yield
            looking.stop()

    async def _database_problem(self) -> str | None:
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT_S):
                await asyncio.to_thread(self._ask_database)
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return f"the database did not answer within {DATABASE_TIMEOUT_S} s"
        return None

    def _ask_database(self) -> None:
        with reachable(self._engine), reading(self._engine) as connection:
            connection.execute(text("SELECT 1"))


def _routes() -> "Sequence[AnyRoute]":
    from proxy.admin.api.table import ROUTES  # it loads all that the API does: with the first request

    return ROUTES


@cache
def _description() -> bytes:
    """Return the description of the API: the same for every control plane.

    It takes a second to make. Few ask for it, and all wait for a start: so it is made when it is asked for.
    """
    from proxy.admin.api.openapi import document

    return msgspec.json.encode(document(_routes()))


async def _described(request: web.Request) -> web.Response:
    body = await asyncio.to_thread(_description)
    return web.Response(body=body, content_type="application/json")


def _broken(status: int) -> web.Response:
    said = "The request could not be understood." if status < 500 else "This failed: the log says why."
    return web.json_response({"error": said}, status=status)


async def serve(config: ControlConfig, listener: socket.socket) -> web.AppRunner:
    """Serve the control plane on `listener`; the caller calls `cleanup()` on what it gets.

    Raises:
        ListenError: the TLS files cannot be used.
        StoreError: the database URL cannot be read.
    """
    tls = (
        tls_context(Path(config.tls_cert), Path(config.tls_key))
        if config.tls_cert and config.tls_key
        else None
    )
    runner = web.AppRunner(ControlPlane(config).application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await serve_http(runner, listener, tls, _broken)
    return runner
