"""Everything async here runs on both event loops; what matters also runs over TLS."""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from proxy.relay.lane import Lane
from proxy.relay.tunnel import Tunnel

Sides = Mapping[str, Any]  # arguments of `stage`


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Say which loops an async test runs on: each of them."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def looking_twice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look again before each message that takes the short way: somebody may have forgotten to bar it."""
    take, was_clear = Lane.takes_short_way, []

    def look_and_take(lane: Lane, data: bytes) -> bool:
        was_clear.append(lane.looks_clear())
        return take(lane, data)

    monkeypatch.setattr(Lane, "takes_short_way", look_and_take)
    yield
    assert all(was_clear)


@pytest.fixture(autouse=True)
def timing_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads be timed only where a test asks for it: others look at which way a message takes."""
    monkeypatch.setattr(Tunnel, "_sample", lambda tunnel: None)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that only these tests trust."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sides:
    """The contexts that `stage` takes, for TLS on both sides."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))  # which is how the dialer is told to trust it
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    return {"client_side": server, "client_tls": client, "upstream_side": server}


@pytest.fixture(params=["plain", "tls"])
def sides(request: pytest.FixtureRequest) -> Sides:
    """No TLS at all, or TLS on both sides: the test runs with each."""
    contexts: Sides = request.getfixturevalue("tls") if request.param == "tls" else {}
    return contexts
