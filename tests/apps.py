"""Whole Talkmeters for tests: settings in a folder of their own, keys, and a conversation."""

import json
import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL
from websockets.asyncio.client import ClientConnection, connect

from proxy.app import App
from proxy.clock import utc_now
from proxy.settings import Address, Settings
from proxy.store.audit import Act
from proxy.store.database import sqlite_path, writing
from proxy.store.keys import load_pepper
from proxy.store.tenants import create_key, create_tenant

UPSTREAM_KEY = "sk-upstream-canary"
ANY_PORT = Address("127.0.0.1", 0)


def settings_in(folder: Path, upstream_url: str, **changes: Any) -> Settings:
    """Return settings for a Talkmeter that keeps everything in `folder` and ends quickly."""
    facts: dict[str, Any] = {
        "listen": ANY_PORT,
        "admin_listen": ANY_PORT,
        "database_url": f"sqlite:///{folder / 'talkmeter.db'}",
        "upstream_url": upstream_url,
        "upstream_api_key": SecretStr(UPSTREAM_KEY),
        "linger_s": 2,
        "drain_s": 0.1,
    }
    return Settings(**(facts | changes | {"_env_file": None}))


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment in which `talkmeter` has these settings, and no others."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    ours = {f"TALKMETER_{name.upper()}": _plain(value) for name, value in given.items() if value is not None}
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TALKMETER_", "OPENAI_"))
    }
    return inherited | ours | {"PYTHONPATH": str(Path(__file__).parents[1])}


def _plain(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, URL):
        return value.render_as_string(hide_password=False)
    return str(value)


def make_key(app: App, tenant: str = "acme") -> str:
    """Return the secret of a new key of a new tenant."""
    pepper = load_pepper(None, sqlite_path(app.stores.engine), keys_exist=True)
    with writing(app.stores.engine) as connection:
        create_tenant(connection, tenant, Act("test", utc_now()))
        return create_key(connection, pepper, tenant_name=tenant, act=Act("test", utc_now()))[1]


def call(url: str, secret: str, **options: Any) -> connect:
    """Return a connection, to be entered, of an app with this key to the base URL `url`."""
    address = url.replace("http", "ws", 1) + "/realtime?model=gpt-realtime"
    return connect(address, additional_headers={"Authorization": f"Bearer {secret}"}, **options)


async def answer(socket: ClientConnection, words: str = "hello") -> dict[str, Any]:
    """Say something and return the `response.done` that follows."""
    content = [{"type": "input_text", "text": words}]
    item = {"type": "message", "role": "user", "content": content}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send(json.dumps({"type": "response.create"}))
    return await until(socket, "response.done")


async def until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next event of this kind."""
    while True:
        event: dict[str, Any] = json.loads(await socket.recv())
        if event["type"] == kind:
            return event
