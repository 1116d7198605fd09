"""Our own certificate: real ones, among them expired, mistaken and misnamed ones."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.checks.findings import Finding, Status
from proxy.checks.tls import ask_tls, expiry
from tests.checks.looking import FAILED, NOT_ASKED, OK, WARNING, found

NOW = datetime.now(UTC)


def issued(folder: Path, *names: str, public_url: str | None = None, **times: Any) -> dict[str, Finding]:
    """Return what is found with a certificate for these names."""
    cert = trustme.CA(organization_name="Test CA").issue_cert(*names, **times)
    paths = {"tls_cert": folder / "cert.pem", "tls_key": folder / "key.pem"}
    paths["tls_cert"].write_bytes(b"".join(one.bytes() for one in cert.cert_chain_pems))
    paths["tls_key"].write_bytes(cert.private_key_pem.bytes())
    return found(folder, ask_tls, public_url=public_url, **paths)


def test_tls_is_off(tmp_path: Path) -> None:
    assert {one.status for one in found(tmp_path, ask_tls).values()} == {NOT_ASKED}


def test_a_good_certificate(tmp_path: Path) -> None:
    """Names are compared as clients do it, wildcards too."""
    findings = issued(tmp_path, "talk.example.com", public_url="https://talk.example.com")
    assert {one.status for one in findings.values()} == {OK}
    assert "issued by Test CA" in findings["TLS"].found
    findings = issued(tmp_path, "*.example.com", public_url="https://talk.example.com:8081")
    assert findings["TLS names"].status is OK
    findings = issued(tmp_path, "192.0.2.7", public_url="https://192.0.2.7")
    assert findings["TLS names"].status is OK
    assert "is for localhost;" in issued(tmp_path, "localhost")["TLS names"].found


@pytest.mark.parametrize(
    ("names", "url"),
    [(("talk.example.com",), "https://talk.example.org"), (("192.0.2.7",), "https://192.0.2.8")],
)
def test_another_name(tmp_path: Path, names: tuple[str, ...], url: str) -> None:
    """A proxy before it may have the right one, so it is no failure."""
    finding = issued(tmp_path, *names, public_url=url)["TLS names"]
    assert finding.status is WARNING and names[0] in finding.found


@pytest.mark.parametrize(
    ("days", "status", "said"),
    [(-3, FAILED, "expired on"), (20, WARNING, "in 19 days"), (40, OK, "in 39 days")],
)
def test_days_left(tmp_path: Path, days: int, status: Status, said: str) -> None:
    """An expired one is still read: when it expired is what helps."""
    findings = issued(tmp_path, "localhost", not_after=NOW + timedelta(days=days))
    assert findings["TLS"].status is OK
    assert findings["TLS expiry"].status is status and said in findings["TLS expiry"].found


def test_a_certificate_of_tomorrow() -> None:
    certificate = {"notBefore": "Jan  2 00:00:00 2027 GMT", "notAfter": "Jan  2 00:00:00 2028 GMT"}
    finding = expiry(certificate, datetime(2027, 1, 1, tzinfo=UTC))
    assert finding.status is FAILED and "only from 2027-01-02" in finding.found


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Missing, and a key that is another's."""
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    findings = found(tmp_path, ask_tls, **files)
    assert findings["TLS"].status is FAILED and findings["TLS expiry"].status is NOT_ASKED
    issued(tmp_path, "localhost")
    files["tls_key"].write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    assert "do not belong together" in found(tmp_path, ask_tls, **files)["TLS"].found
