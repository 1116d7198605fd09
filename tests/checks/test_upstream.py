"""The voice API: how far a request comes, and what the answer says about key and clock."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from proxy.checks import upstream
from proxy.checks.findings import Finding, Status
from proxy.checks.upstream import ask_upstream, key
from tests.checks.looking import FAILED, NOT_ASKED, NOWHERE, OK, WARNING, found
from tests.provider import providing

KEY = SecretStr("sk-simulator")


def looked(folder: Path, url: str, **changes: Any) -> dict[str, Finding]:
    changes.setdefault("upstream_api_key", KEY)
    return found(folder, ask_upstream, upstream_url=url, **changes)


def test_all_is_well(tmp_path: Path) -> None:
    with providing() as provider:
        findings = looked(tmp_path, provider.simulator.url)  # as ws://
    assert {one.status for one in findings.values()} == {OK}, findings
    assert "sk-simulator" not in str(findings)
    assert provider.simulator.sessions == 0


def test_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    with providing() as provider:
        findings = looked(tmp_path, provider.url, upstream_api_key=SecretStr("sk-canary"))
    assert findings["upstream"].status is OK and findings["upstream key"].status is FAILED
    assert "TALKMETER_UPSTREAM_API_KEY" in findings["upstream key"].to_do
    assert "canary" not in str(findings)


def test_no_key_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said even where nothing is reached."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with providing() as provider:
        findings = looked(tmp_path, provider.url, upstream_api_key=None)
    assert findings["upstream"].status is OK and findings["upstream key"].status is FAILED
    findings = looked(tmp_path, NOWHERE, upstream_api_key=None)
    assert [one.status for one in findings.values()] == [FAILED, FAILED, NOT_ASKED]


@pytest.mark.parametrize(
    ("status", "expected"), [(200, OK), (401, FAILED), (403, WARNING), (404, WARNING), (429, NOT_ASKED)]
)
def test_what_an_answer_says_about_the_key(status: int, expected: Status) -> None:
    assert key(status, "https://api.example.com/v1").status is expected


def test_nobody_listens(tmp_path: Path) -> None:
    findings = looked(tmp_path, NOWHERE)
    assert findings["upstream"].found == "127.0.0.1:1 cannot be reached: Connection refused"
    assert findings["upstream key"].status is NOT_ASKED


def test_no_such_host(tmp_path: Path) -> None:
    assert "no such host" in looked(tmp_path, "http://no.such.host.invalid/v1")["upstream"].found


def test_who_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is taken, and that is all."""
    monkeypatch.setattr(upstream, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        assert "does not answer within 0.3 s" in looked(tmp_path, url)["upstream"].found


@contextmanager
def answering(text: str) -> Iterator[str]:
    """Take one connection, read what is asked, and write `text`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(text.encode())

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join()


@pytest.mark.parametrize(
    ("head", "expected", "said"),
    [
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/", FAILED, "elsewhere (302)"),
        ("HTTP/1.1 503 Service Unavailable", WARNING, "status 503"),
        ("SSH-2.0-OpenSSH", FAILED, "speaks no HTTP"),
    ],
)
def test_odd_answers(tmp_path: Path, head: str, expected: Status, said: str) -> None:
    with answering(f"{head}\r\nContent-Length: 0\r\n\r\n") as url:
        finding = looked(tmp_path, url)["upstream"]
    assert finding.status is expected and said in finding.found


@pytest.mark.parametrize(
    ("date", "expected", "said"),
    [
        ("", NOT_ASKED, "does not say what time"),
        ("Date: noon\r\n", NOT_ASKED, "does not say what time"),
        ("Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n", FAILED, "ahead of the voice API's"),
    ],
)
def test_another_clock(tmp_path: Path, date: str, expected: Status, said: str) -> None:
    with answering(f"HTTP/1.1 200 OK\r\n{date}Content-Length: 2\r\n\r\n{{}}") as url:
        finding = looked(tmp_path, url)["upstream clock"]
    assert finding.status is expected and said in finding.found


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate must be one that this machine trusts."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with providing(tls=context, host="localhost") as provider:
        url = f"https://localhost:{provider.simulator.port}/v1"
        finding = looked(tmp_path, url)["upstream"]
        assert finding.status is FAILED and "a certificate that is not trusted" in finding.found
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        findings = looked(tmp_path, url)
    assert findings["upstream"].found.endswith("answers with TLS")
    assert findings["upstream key"].status is OK


def test_a_port_without_tls(tmp_path: Path) -> None:
    with providing() as provider:
        url = provider.url.replace("http:", "https:", 1)
        finding = looked(tmp_path, url)["upstream"]
    assert finding.status is FAILED and "is reached, and" in finding.found
