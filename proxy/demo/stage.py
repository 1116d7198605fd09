"""What the demo plays on: a simulator, a Talkmeter before it, tenants with a key and a past each."""

import socket
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection

from proxy import simulator
from proxy.app import App, running
from proxy.clock import utc_now
from proxy.core.budgets import Scope
from proxy.core.money import parse_usd
from proxy.core.windows import Window
from proxy.demo.past import book_past
from proxy.settings import Address, Settings
from proxy.store.audit import Act
from proxy.store.budgets import set_budget
from proxy.store.database import ready_database, writing
from proxy.store.keys import load_pepper
from proxy.store.local_admin import LINK_LASTS_MAX, make_link
from proxy.store.tenants import create_key, create_tenant

UPSTREAM_KEY = "sk-simulator"
SPEED = 8.0  # times faster than speech: quick, yet slow enough to be followed
HOST = "127.0.0.1"
PORTS = (8080, 8081)
BUDGETS_USD = {"Bakery": "12", "Hotline": "12"}  # a month; more than the past of any month has spent


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo: its app, its tenants' secrets, where its files are; and its day, behind the past."""

    app: App
    secrets: dict[str, str]
    folder: Path
    day: datetime  # its first instant
    pepper: bytes

    def sign_in_link(self) -> str:
        """Return where the console lets somebody in, once."""
        now = utc_now()
        with writing(self.app.stores.engine) as connection:
            secret = make_link(connection, self.pepper, Act("demo", now), now, LINK_LASTS_MAX)
        return f"{self.app.admin_url}/sign-in/link/{secret}"


@asynccontextmanager
async def set_up(tenants: Iterable[str], budgets_usd: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Set the stage in a temporary folder, which is removed in the end. Budgets are for a day, by tenant."""
    with tempfile.TemporaryDirectory(prefix="talkmeter-demo-") as name:
        folder = Path(name)
        upstream = await simulator.serve(HOST, 0, api_keys={UPSTREAM_KEY}, speed=SPEED)
        try:
            settings = demo_settings(folder, upstream.url)
            pepper = load_pepper(None, folder / "talkmeter.db", keys_exist=False)
            now = utc_now()
            day = datetime.combine(now.date(), time(), UTC)
            secrets = furnish(settings, pepper, tenants, budgets_usd, now)
            async with running(settings) as app:
                yield Stage(app, secrets, folder, day, pepper)
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


def furnish(
    settings: Settings, pepper: bytes, tenants: Iterable[str], budgets_usd: Mapping[str, str], now: datetime
) -> dict[str, str]:
    """Create the tenants with a key, a past and a budget each; return the keys' secrets by tenant."""
    engine = ready_database(settings.database_url)
    keys, secrets = {}, {}
    act = Act("demo", now)
    with writing(engine) as connection:
        for tenant in tenants:
            create_tenant(connection, tenant, act)
            keys[tenant], secrets[tenant] = create_key(
                connection, pepper, tenant_name=tenant, act=act, name="demo"
            )
        book_past(connection, keys, act.at)
        for tenant, amount in BUDGETS_USD.items():
            _budget(connection, act, tenant, Window.MONTH, amount)
        for tenant, amount in budgets_usd.items():
            _budget(connection, act, tenant, Window.DAY, amount)
    engine.dispose()
    return secrets


def _budget(connection: Connection, act: Act, tenant: str, window: Window, amount: str) -> None:
    set_budget(
        connection,
        act,
        scope=Scope.TENANT,
        window=window,
        amount_nanousd=parse_usd(amount),
        tenant=tenant,
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
