"""A home for a Talkmeter. Everything async here runs on both event loops, unless a test names one."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trustme
import uvloop

from proxy.store.journal import Journal
from tests.e2e.place import Home, Tls, furnish


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Say which loops there are; `pytest.mark.asyncio(loop_factories=[…])` chooses among them."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that only these tests trust."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tls:
    """Certificates of this machine, trusted by everything that this process dials."""
    bundle, cert, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(server)
    return Tls({"tls_cert": cert, "tls_key": key}, server, ssl.create_default_context())


@pytest.fixture
def small_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a journal keep one megabyte back in place of 64: in memory these take 30 ms to make and to drop."""
    defaults = Journal.open.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "reserve_bytes", 2**20)


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, patient: None, small_reserve: None) -> Home:
    """A home on an embedded database, in plain text; parametrise it with "tls" or "postgres" instead."""
    kind = getattr(request, "param", "plain")
    database = "migrated_postgres_url" if kind == "postgres" else "sqlite_url"
    tls = request.getfixturevalue("tls") if kind == "tls" else None
    return furnish(tmp_path, request.getfixturevalue(database), tls)
