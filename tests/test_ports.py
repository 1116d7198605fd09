"""Where a data plane is reached, and by whom."""

import asyncio
import json
import os
import stat
from pathlib import Path

import aiohttp
import msgspec
import pytest
from pydantic import SecretStr

from proxy.admin.config import ControlConfig, Grant, OidcConfig
from proxy.app import App, running
from proxy.processes.control_config import oidc_config
from proxy.settings import Address
from tests.apps import settings_in

NO_UPSTREAM = "http://127.0.0.1:1"


def told_to_control(app: App) -> ControlConfig:
    """Return what the control plane is told."""
    assert app.ports.control is not None
    return app.ports.control


async def test_the_control_planes_socket_is_private(tmp_path: Path) -> None:
    """Only this user may enter its folder, which is gone in the end."""
    async with running(settings_in(tmp_path, NO_UPSTREAM)) as app:
        (private,) = told_to_control(app).data_planes
        folder = os.path.dirname(private)
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        connector = aiohttp.UnixConnector(private)
        async with aiohttp.ClientSession(connector=connector) as http:
            assert (await http.get("http://data-plane/healthz")).status == 200
            assert (await http.get("http://data-plane/readyz")).status == 200
            assert "talkmeter_build_info" in await (await http.get("http://data-plane/metrics")).text()
    with pytest.raises(FileNotFoundError):
        os.stat(folder)


async def test_a_long_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Unix socket's path holds about a hundred bytes."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    async with running(settings_in(tmp_path, NO_UPSTREAM)) as app:
        (private,) = told_to_control(app).data_planes
        assert len(private) < 100
    assert os.listdir(long) == []


async def test_what_the_control_plane_is_told(tmp_path: Path) -> None:
    """What it needs, and no key of the voice API."""
    settings = settings_in(tmp_path, NO_UPSTREAM, metrics_token=SecretStr("s3cret"), log_format="console")
    async with running(settings) as app, aiohttp.ClientSession() as http:
        told = told_to_control(app)
        assert (told.metrics_token, told.log_format, told.tls_cert) == ("s3cret", "console", None)
        assert "canary" not in repr(told)
        assert (await http.get(f"{app.admin_url}/metrics")).status == 401


async def test_who_signs_people_in(tmp_path: Path) -> None:
    """The control plane is told all of it, and decodes it as it was; without an issuer it is nobody."""
    settings = settings_in(
        tmp_path,
        NO_UPSTREAM,
        oidc_issuer="https://login.example.com",
        oidc_client_id="talkmeter",
        oidc_client_secret=SecretStr("canary"),
        oidc_groups_claim="realm_access.roles",
        oidc_grants={"Acme": Grant("viewer", ("acme",))},
    )
    async with running(settings) as app:
        told = told_to_control(app)
        assert told.oidc == OidcConfig(
            issuer="https://login.example.com",
            client_id="talkmeter",
            client_secret="canary",
            groups_claim="realm_access.roles",
            grants={"Acme": Grant("viewer", ("acme",))},
        )
        assert "canary" not in repr(told)
        assert msgspec.json.decode(msgspec.json.encode(told), type=ControlConfig) == told
    assert oidc_config(settings_in(tmp_path, NO_UPSTREAM)) is None


async def test_what_is_malformed_gets_the_errors_of_each_plane(tmp_path: Path) -> None:
    """OpenAI's JSON for apps, and a count for whoever watches; nothing of the request in either."""
    async with running(settings_in(tmp_path, NO_UPSTREAM)) as app:
        for port in (app.port, app.admin_port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/realtime?api-key=canary HTTP\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert head.startswith(b"HTTP/1.0 400 ") and b"canary" not in body
            error = json.loads(body)["error"]
            assert port == app.admin_port or error["type"] == "invalid_request_error"
        refused = app.metrics.registry.get_sample_value(
            "talkmeter_refusals_total", {"refusal": "bad_request"}
        )
        assert refused == 1


async def test_ports_that_were_left_to_the_system(tmp_path: Path) -> None:
    """The app says which ones it has."""
    async with running(settings_in(tmp_path, NO_UPSTREAM)) as app:
        assert app.port != app.admin_port
        assert app.url == f"http://{Address('127.0.0.1', app.port)}/v1"
        assert app.admin_url == f"http://127.0.0.1:{app.admin_port}"
