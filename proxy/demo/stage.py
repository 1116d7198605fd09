"""What the demo plays on: a simulator, a Talkmeter before it, two tenants with a key each."""

import socket
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from proxy import simulator
from proxy.app import App, running
from proxy.core.budgets import Scope
from proxy.core.money import parse_usd
from proxy.core.windows import Window
from proxy.settings import Address, Settings
from proxy.store.audit import Act
from proxy.store.budgets import set_budget
from proxy.store.database import ready_database, writing
from proxy.store.keys import load_pepper
from proxy.store.tenants import create_key, create_tenant

UPSTREAM_KEY = "sk-simulator"
SPEED = 8.0  # times faster than speech: quick, yet slow enough to be followed
HOST = "127.0.0.1"
PORTS = (8080, 8081)


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo: its app, its tenants' secrets, and where its files are."""

    app: App
    secrets: dict[str, str]
    folder: Path


@asynccontextmanager
async def set_up(tenants: Iterable[str], budgets_usd: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Set the stage in a temporary folder, which is removed in the end. Budgets are for a day, by tenant."""
    with tempfile.TemporaryDirectory(prefix="talkmeter-demo-") as name:
        folder = Path(name)
        upstream = await simulator.serve(HOST, 0, api_keys={UPSTREAM_KEY}, speed=SPEED)
        try:
            settings = demo_settings(folder, upstream.url)
            secrets = create_keys(settings, folder, tenants, budgets_usd)
            async with running(settings) as app:
                yield Stage(app, secrets, folder)
        finally:
            await upstream.close()


def demo_settings(folder: Path, upstream_url: str) -> Settings:
    """Return settings that touch nothing outside `folder`, on the usual ports if they are free."""
    listen, admin_listen = (Address(HOST, port if _is_free(port) else 0) for port in PORTS)
    chosen: dict[str, Any] = {
        "_env_file": None,
        "listen": listen,
        "admin_listen": admin_listen,
        "database_url": f"sqlite:///{folder / 'talkmeter.db'}",
        "journal_path": folder / "talkmeter.journal.db",
        "upstream_url": upstream_url,
        "upstream_api_key": SecretStr(UPSTREAM_KEY),
        "key_pepper": None,
        "tls_cert": None,
        "tls_key": None,
    }
    return Settings(**chosen)


def create_keys(
    settings: Settings, folder: Path, tenants: Iterable[str], budgets_usd: Mapping[str, str]
) -> dict[str, str]:
    """Create the tenants with a key each, and their budgets; return the secrets by tenant."""
    engine = ready_database(settings.database_url)
    pepper = load_pepper(None, folder / "talkmeter.db", keys_exist=False)
    secrets = {}
    act = Act("demo", datetime.now(UTC))
    with writing(engine) as connection:
        for tenant in tenants:
            create_tenant(connection, tenant, act)
            _, secrets[tenant] = create_key(connection, pepper, tenant_name=tenant, act=act, name="demo")
        for tenant, amount in budgets_usd.items():
            set_budget(
                connection,
                act,
                scope=Scope.TENANT,
                window=Window.DAY,
                amount_nanousd=parse_usd(amount),
                tenant=tenant,
            )
    engine.dispose()
    return secrets


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
