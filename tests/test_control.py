"""The control plane's answers, by what the database and the data plane say."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import trustme

from proxy.admin.config import ControlConfig
from proxy.admin.listen import ListenError, bind
from proxy.control import serve
from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.database import open_database, writing
from proxy.store.webhooks import create_webhook
from tests.admin.data_plane import data_plane
from tests.admin.mailbox import mailbox
from tests.announcements import announce, receiver, until
from tests.scheduling import DAILY, schedule

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def config(tmp_path: Path, **changes: object) -> ControlConfig:
    facts = {
        "listen_fd": 0,
        "data_planes": (str(tmp_path / "dp" / "s"),),
        "database_url": f"sqlite:///{tmp_path / 'x.db'}",
    }
    return ControlConfig(**(facts | changes))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def control(config: ControlConfig, scheme: str = "http") -> AsyncIterator[str]:
    listener = bind("127.0.0.1", 0, "ADMIN_LISTEN")
    runner = await serve(config, listener)
    try:
        yield f"{scheme}://localhost:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()


async def test_ready_when_both_answer(tmp_path: Path) -> None:
    """The database and the data plane; health needs neither."""
    async with data_plane(tmp_path / "dp"), control(config(tmp_path)) as url, aiohttp.ClientSession() as http:
        answer = await http.get(f"{url}/readyz")
        assert (answer.status, await answer.json()) == (200, {"status": "ready", "reasons": []})
        assert (await http.get(f"{url}/healthz")).status == 200
        async with http.get(f"{url}/anything", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=%2Fanything")


async def test_unready_names_what_is_missing(tmp_path: Path) -> None:
    """Both reasons at once, no password in either."""
    bad = config(tmp_path, database_url="postgresql://app:canary@127.0.0.1:1/x")
    async with control(bad) as url, aiohttp.ClientSession() as http:
        answer = await http.get(f"{url}/readyz")
        assert answer.status == 503
        database, plane = (await answer.json())["reasons"]
        assert "postgresql+psycopg://app:***@127.0.0.1:1/x cannot be used" in database
        assert "canary" not in database
        assert plane == "the data plane does not answer: UnixClientConnectorError"
        assert (await http.get(f"{url}/healthz")).status == 200


async def test_metrics_are_the_data_planes(tmp_path: Path) -> None:
    """And its own below them, in both formats; 503 while there is none to ask."""
    openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with control(config(tmp_path)) as url, aiohttp.ClientSession() as http:
        async with data_plane(tmp_path / "dp"):
            answer = await http.get(f"{url}/metrics")
            text = await answer.text()
            assert "talkmeter_x_total 1.0" in text
            assert "# TYPE talkmeter_webhook_deliveries_total counter" in text and "# EOF" not in text
            answer = await http.get(f"{url}/metrics", headers=openmetrics)
            text = await answer.text()
            assert "talkmeter_x_total 1.0" in text and text.count("# EOF") == 1
            assert text.index("talkmeter_x") < text.index("talkmeter_announcements") < text.index("# EOF")
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        answer = await http.get(f"{url}/metrics")
        assert answer.status == 503
        assert "data plane" in (await answer.json())["error"]


async def test_metrics_may_want_a_token(tmp_path: Path) -> None:
    """Health stays open: a load balancer has no token."""
    guarded = config(tmp_path, metrics_token="s3cret")
    async with data_plane(tmp_path / "dp"), control(guarded) as url, aiohttp.ClientSession() as http:
        assert (await http.get(f"{url}/metrics")).status == 401
        token = {"Authorization": "Bearer s3cret"}
        assert (await http.get(f"{url}/metrics", headers=token)).status == 200
        assert (await http.get(f"{url}/healthz")).status == 200


async def test_tls(tmp_path: Path) -> None:
    """With a certificate it speaks TLS, and TLS only."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    files = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    async with control(config(tmp_path, **files), "https") as url, aiohttp.ClientSession() as http:
        assert (await http.get(f"{url}/healthz", ssl=trusting)).status == 200
        with pytest.raises(aiohttp.ClientError):
            await http.get(url.replace("https", "http") + "/healthz")


async def test_what_cannot_be_served(tmp_path: Path) -> None:
    """Errors for people, before anything listens."""
    with bind("127.0.0.1", 0, "ADMIN_LISTEN") as listener:
        with pytest.raises(ListenError, match="TALKMETER_TLS_CERT"):
            await serve(config(tmp_path, tls_cert="/nowhere", tls_key="/nowhere"), listener)
        with pytest.raises(StoreError, match="DATABASE_URL"):
            await serve(config(tmp_path, database_url="mysql://x"), listener)


async def test_announcements_are_delivered_beside_it(tmp_path: Path, sqlite_url: str) -> None:
    """As long as it is served, and counted in its metrics."""
    engine = open_database(sqlite_url)
    async with receiver() as there, data_plane(tmp_path / "dp"):
        with writing(engine) as connection:
            _, secret = create_webhook(connection, url=there.url, act=Act("test", NOW))
        announce(engine, "a", NOW, "budget.cut")
        async with control(config(tmp_path, database_url=sqlite_url)) as url, aiohttp.ClientSession() as http:
            (got,) = await there.has(1)
            text = await (await http.get(f"{url}/metrics")).text()
    engine.dispose()
    assert got.is_signed_with(secret)
    assert 'talkmeter_announcements_total{kind="budget.cut"} 1.0' in text


async def test_what_is_scheduled_goes_out_by_mail(tmp_path: Path, sqlite_url: str) -> None:
    """The whole way: due, made, and delivered through the mail server that the configuration names."""
    engine = open_database(sqlite_url)
    daily = datetime.now(UTC) - timedelta(days=2)
    schedule(engine, table=DAILY, at=daily)
    async with mailbox() as box:
        mailing = config(tmp_path, database_url=sqlite_url, smtp_url=box.url, smtp_from="a@example.com")
        async with control(mailing):
            await until(lambda: bool(box.got))
    assert box.messages[0]["To"] == "ann@example.com" and box.messages[0]["Subject"].startswith("weekly, ")
    engine.dispose()
