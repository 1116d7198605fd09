"""`talkmeter check`: each thing that `serve` needs, found good or explained."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr
from sqlalchemy import delete, make_url

from proxy.admin.listen import bind
from proxy.cli import checks
from proxy.cli.checks import Finding, run_checks
from proxy.settings import Address
from proxy.store.database import open_database, writing
from proxy.store.schema import rate_card, rate_price
from tests.admin.mailbox import mailbox
from tests.apps import settings_in
from tests.postgres import as_owner, as_text


def found(folder: Path, **changes: Any) -> dict[str, Finding]:
    changes.setdefault("upstream_url", "http://127.0.0.1:1")
    return {f.name: f for f in run_checks(settings_in(folder, **changes))}


def test_a_new_installation(tmp_path: Path) -> None:
    """Nothing is there yet, and nothing is made by looking; only the upstream is missing."""
    findings = found(tmp_path)
    assert [f.name for f in findings.values() if not f.ok] == ["upstream"]
    assert "is new" in findings["database"].text
    assert list(tmp_path.iterdir()) == []


def test_an_installation_that_runs(tmp_path: Path, sqlite_url: str) -> None:
    """The tables are of this version and there are prices."""
    with bind("127.0.0.1", 0, "x") as listener:
        upstream = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        findings = found(tmp_path, database_url=sqlite_url, upstream_url=upstream)
    assert all(f.ok for f in findings.values()), findings
    assert "rate cards" in findings["prices"].text
    assert findings["upstream"].text.endswith("answers")


def test_no_prices(tmp_path: Path, sqlite_url: str) -> None:
    """Nothing would be rated."""
    engine = open_database(sqlite_url)
    with writing(engine) as connection:
        connection.execute(delete(rate_price))
        connection.execute(delete(rate_card))
    engine.dispose()
    assert "no rate card" in found(tmp_path, database_url=sqlite_url)["prices"].text


def test_postgres(tmp_path: Path, migrated_postgres_url: str) -> None:
    """Its clock is compared with ours."""
    findings = found(tmp_path, database_url=migrated_postgres_url)
    assert findings["database"].ok
    assert findings["clock"].text.endswith("as the database says too")
    assert findings["ledger"].ok


def test_a_role_that_owns_the_ledger(tmp_path: Path, migrated_postgres_url: str) -> None:
    """It could switch off what protects it."""
    url = as_text(as_owner(make_url(migrated_postgres_url)))
    finding = found(tmp_path, database_url=url)["ledger"]
    assert not finding.ok
    assert "talkmeter migrate --app-role ROLE" in finding.text


def test_a_database_that_is_down(tmp_path: Path) -> None:
    """Everything that needs it says so, and no password is shown."""
    findings = found(tmp_path, database_url="postgresql://app:canary@127.0.0.1:1/x")
    for name in ("database", "ledger", "prices", "clock"):
        assert not findings[name].ok
        assert "cannot be used" in findings[name].text
        assert "canary" not in findings[name].text


def test_clocks_that_differ(
    tmp_path: Path, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Months would end at different instants."""
    monkeypatch.setattr(checks, "CLOCK_DIFFERENCE_S_MAX", -1)
    assert "apart" in found(tmp_path, database_url=migrated_postgres_url)["clock"].text


def test_a_clock_from_before_talkmeter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a battery wakes up in 1970."""
    monkeypatch.setattr(checks, "BUILT_AFTER", checks.BUILT_AFTER.replace(year=9000))
    assert "clock says" in found(tmp_path)["clock"].text


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    """Each is named with its setting."""
    findings = found(tmp_path, database_url="sqlite:////nowhere/x.db", journal_path=Path("/nowhere/j.db"))
    assert "TALKMETER_DATABASE_URL: there is no folder '/nowhere'" in findings["database"].text
    assert "TALKMETER_JOURNAL_PATH: there is no folder '/nowhere'" in findings["journal"].text


def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal wants a reserve."""
    monkeypatch.setattr(checks, "FREE_BYTES_MIN", 2**80)
    assert "MiB left" in found(tmp_path)["journal"].text


def test_ports_in_use(tmp_path: Path) -> None:
    """Perhaps by Talkmeter itself."""
    with bind("127.0.0.1", 0, "x") as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
        findings = found(tmp_path, admin_listen=address)
    assert findings["apps' port"].ok
    assert f"TALKMETER_ADMIN_LISTEN is {address}: this port is in use" in findings["control port"].text


def test_no_upstream_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` would refuse to start."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert not found(tmp_path, upstream_api_key=None)["upstream key"].ok


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Shake hands with one client; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            context.wrap_socket(connection, server_side=True).close()

    thread = threading.Thread(target=accept)
    thread.start()
    yield int(listener.getsockname()[1])
    thread.join()
    listener.close()


def test_tls_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate must be one that this machine trusts."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with tls_server(context) as port:
        finding = found(tmp_path, upstream_url=f"https://localhost:{port}/v1")["upstream"]
        assert "a certificate that is not trusted" in finding.text
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with tls_server(context) as port:
        finding = found(tmp_path, upstream_url=f"https://localhost:{port}/v1")["upstream"]
        assert finding.text.endswith("answers with TLS")


def test_our_own_tls(tmp_path: Path) -> None:
    """Off, on, or wrong."""
    assert "off" in found(tmp_path)["TLS"].text
    issued = trustme.CA().issue_cert("localhost")
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    assert not found(tmp_path, **files)["TLS"].ok
    issued.cert_chain_pems[0].write_to_path(files["tls_cert"])
    issued.private_key_pem.write_to_path(files["tls_key"])
    assert found(tmp_path, **files)["TLS"].text.startswith("on")


async def test_a_mail_server(tmp_path: Path) -> None:
    """It is asked whether it would take mail, and sent none."""
    async with mailbox() as box:
        given = {"smtp_url": SecretStr(box.url), "smtp_from": "a@example.com"}
        findings = await asyncio.to_thread(found, tmp_path, **given)
    assert findings["mail"].ok and "takes mail from a@example.com" in findings["mail"].text
    assert (box.tried, box.got) == (0, [])
    gone = await asyncio.to_thread(found, tmp_path, **given)
    assert not gone["mail"].ok and "cannot be reached" in gone["mail"].text
    assert found(tmp_path)["mail"].text.startswith("off")
