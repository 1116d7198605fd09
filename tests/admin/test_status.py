"""Health, readiness and metrics as HTTP."""

from collections.abc import Sequence
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from prometheus_client import CollectorRegistry, Counter

from proxy.admin import status


async def serving(path: str, handler: status.Handler) -> TestClient[web.Request, web.Application]:
    application = web.Application()
    application.router.add_get(path, handler)
    client = TestClient(TestServer(application))
    await client.start_server()
    return client


async def test_health_is_that_the_loop_runs() -> None:
    """Nothing else can make it fail."""
    client = await serving("/healthz", status.healthz)
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    await client.close()


async def test_readiness_says_why_not() -> None:
    """503 and all the reasons; 200 when there are none."""
    why: list[str] = ["draining", "catalog not loaded"]

    async def reasons() -> Sequence[str]:
        return why

    client = await serving("/readyz", status.readyz(reasons))
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert await answer.json() == {"status": "unready", "reasons": ["draining", "catalog not loaded"]}
    why.clear()
    answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (200, {"status": "ready", "reasons": []})
    await client.close()


async def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    """Prometheus asks for OpenMetrics, curl for nothing."""
    registry = CollectorRegistry()
    Counter("talkmeter_x", "x", registry=registry).inc()
    client = await serving("/metrics", status.metrics(registry))
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "talkmeter_x_total 1.0" in await answer.text()
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (await answer.text()).endswith("# EOF\n")
    await client.close()


async def test_a_token_guards() -> None:
    """Without it 401, with it the answer; a wrong or odd one is as good as none."""
    client = await serving("/metrics", status.guarded(status.healthz, "s3cret"))
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
        answer = await client.get("/metrics", headers=given)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "s3cret" not in await answer.text()
    assert (await client.get("/metrics", headers={"Authorization": "Bearer s3cret"})).status == 200
    await client.close()


@pytest.mark.parametrize(
    ("host", "given"), [("127.0.0.1", 200), ("127.8.9.1", 200), ("10.0.0.7", 403), ("::1", 200)]
)
async def test_without_a_token_metrics_are_for_this_machine(host: str, given: int) -> None:
    """Prometheus beside it needs none; from elsewhere it is told what to set."""
    request = make_mocked_request("GET", "/metrics").clone(remote=host)
    answer = await status.guarded(status.healthz, None)(request)
    assert answer.status == given
    if given == 403:
        assert "TALKMETER_METRICS_TOKEN" in str(cast("web.Response", answer).text)
