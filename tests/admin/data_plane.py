"""A stand-in for the data plane: it answers on a Unix socket what a real one answers there."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from proxy.admin import status


@contextlib.asynccontextmanager
async def data_plane(folder: Path) -> AsyncIterator[Path]:
    """Serve health and one metric; gives the socket's path."""
    registry = CollectorRegistry()
    Counter("talkmeter_x", "x", registry=registry).inc()
    application = web.Application()
    application.router.add_get("/healthz", status.healthz)
    application.router.add_get("/metrics", status.metrics(registry))
    runner = web.AppRunner(application)
    await runner.setup()
    path = folder / "s"
    os.makedirs(folder, exist_ok=True)
    await web.UnixSite(runner, str(path)).start()
    try:
        yield path
    finally:
        await runner.cleanup()
