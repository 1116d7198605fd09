"""Ports and addresses: free, taken by Talkmeter or by another, and who can sign in or read metrics there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from proxy.admin.listen import bind
from proxy.admin.status import readyz
from proxy.checks.findings import Status
from proxy.checks.places import ask_addresses, ask_ports
from proxy.settings import Address
from tests.checks.looking import FAILED, OK, WARNING, found

EVERYWHERE = Address("0.0.0.0", 8081)


def test_free_ports(tmp_path: Path) -> None:
    findings = found(tmp_path, ask_ports)
    assert [one.status for one in findings.values()] == [OK, OK]
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_another_has(tmp_path: Path) -> None:
    """It takes the connection and says nothing: that is not Talkmeter."""
    with bind("127.0.0.1", 0, "x") as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
        findings = found(tmp_path, ask_ports, admin_listen=address)
    assert findings["apps' port"].status is OK
    assert findings["control port"].status is FAILED
    assert f"TALKMETER_ADMIN_LISTEN is {address}: this port is in use" in findings["control port"].found


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[Address]:
    application = web.Application()
    application.router.add_get("/readyz", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Address(*runner.addresses[0][:2])
    await runner.cleanup()


@pytest.mark.parametrize(("reasons", "status"), [([], OK), (["draining"], WARNING)])
async def test_a_port_that_talkmeter_has(tmp_path: Path, reasons: list[str], status: Status) -> None:
    """Whether it is ready is what it says itself."""

    async def why() -> list[str]:
        return reasons

    async with serving(readyz(why)) as address:
        findings = await asyncio.to_thread(found, tmp_path, ask_ports, listen=address)
    finding = findings["apps' port"]
    assert finding.status is status and f"Talkmeter has {address}" in finding.found
    assert all(one in finding.found for one in reasons)


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"status": "up"}', '{"status": "ready"}'])
async def test_a_port_that_another_web_server_has(tmp_path: Path, text: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=text)

    async with serving(handler) as address:
        findings = await asyncio.to_thread(found, tmp_path, ask_ports, listen=address)
    assert findings["apps' port"].status is FAILED


async def test_nobody_is_followed_elsewhere(tmp_path: Path) -> None:
    """Not even to a Talkmeter."""

    async def ready() -> list[str]:
        return []

    async with serving(readyz(ready)) as there:

        async def handler(request: web.Request) -> web.Response:
            raise web.HTTPFound(f"http://{there}/readyz")

        async with serving(handler) as address:
            findings = await asyncio.to_thread(found, tmp_path, ask_ports, listen=address)
    assert findings["apps' port"].status is FAILED


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({}, OK, "from this machine only"),
        ({"public_url": "https://talk.example.com"}, OK, "at https://talk.example.com"),
        ({"public_url": "http://talk.example.com"}, WARNING, "nobody may sign in"),
        ({"public_url": "http://localhost:8081"}, OK, "at http://localhost:8081"),
        ({"admin_listen": EVERYWHERE}, WARNING, "0.0.0.0:8081 without TLS"),
        ({"admin_listen": EVERYWHERE, "public_url": "https://talk.example.com"}, OK, "https://talk"),
    ],
)
def test_where_people_reach_the_console(
    tmp_path: Path, changes: dict[str, Any], status: Status, said: str
) -> None:
    finding = found(tmp_path, ask_addresses, **changes)["public URL"]
    assert finding.status is status and said in finding.found


def test_metrics_for_other_machines(tmp_path: Path) -> None:
    """Without a token they would be refused."""
    assert found(tmp_path, ask_addresses)["metrics"].status is OK
    finding = found(tmp_path, ask_addresses, admin_listen=EVERYWHERE)["metrics"]
    assert finding.status is WARNING and "TALKMETER_METRICS_TOKEN" in finding.to_do
    token = SecretStr("canary-canary-canary")
    finding = found(tmp_path, ask_addresses, admin_listen=EVERYWHERE, metrics_token=token)["metrics"]
    assert finding.status is OK and "canary" not in finding.found
