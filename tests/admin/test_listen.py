"""Ports and certificates: what a person is told when they cannot be used."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from proxy.admin.listen import ListenError, bind, reserve, tls_context


def test_port_0_is_any_port() -> None:
    """The socket listens already: a client need not wait for the server to start."""
    with bind("127.0.0.1", 0, "LISTEN") as listener:
        socket.create_connection(listener.getsockname()).close()


def test_ipv6() -> None:
    """An IPv6 address is as good."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with bind("::1", 0, "LISTEN") as listener:
            assert listener.family is socket.AF_INET6
    except ListenError as error:
        pytest.skip(str(error))


def test_a_port_in_use_names_the_setting() -> None:
    """And what to do about it."""
    with bind("127.0.0.1", 0, "LISTEN") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ListenError, match=f"TALKMETER_LISTEN is 127.0.0.1:{port}: this port is in use"):
            bind("127.0.0.1", port, "TALKMETER_LISTEN")


def test_patience_waits_for_the_one_before_us() -> None:
    """A restart after `kill -9` finds the old child still on its way out."""
    listener = bind("127.0.0.1", 0, "LISTEN")
    port = listener.getsockname()[1]
    timer = threading.Timer(0.2, listener.close)
    timer.start()
    with bind("127.0.0.1", port, "LISTEN", patience_s=20) as second:
        assert second.getsockname()[1] == port
    timer.join()


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "does not have that address"), ("no.such.host.invalid", "no such host")]
)
def test_hosts_that_are_not_ours(host: str, said: str) -> None:
    """Each failure has its own words."""
    with pytest.raises(ListenError, match=said):
        bind(host, 0, "LISTEN")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    issued = trustme.CA().issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return cert, key


def test_good_files_make_a_context(files: tuple[Path, Path]) -> None:
    """TLS 1.2 at least."""
    assert tls_context(*files).minimum_version is ssl.TLSVersion.TLSv1_2


def test_missing_and_unreadable_files(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The setting and the file are named."""
    cert, key = files
    with pytest.raises(ListenError, match=r"TALKMETER_TLS_CERT is '.*nowhere.pem': no such file"):
        tls_context(tmp_path / "nowhere.pem", key)
    with pytest.raises(ListenError, match=r"TALKMETER_TLS_KEY is '.*': is a directory"):
        tls_context(cert, tmp_path)


def test_a_key_that_is_not_the_certificates(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The commonest mistake after a renewal."""
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    with pytest.raises(ListenError, match="do not belong together"):
        tls_context(files[0], other)


def test_files_that_are_no_pem(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing of the file is repeated."""
    junk = tmp_path / "junk.pem"
    junk.write_text("canary")
    for pair in ((junk, files[1]), (files[0], junk)):
        with pytest.raises(ListenError, match="cannot be used: the first should be a PEM") as caught:
            tls_context(*pair)
        assert "canary" not in str(caught.value)


def test_a_shared_port_is_for_those_who_share_it() -> None:
    """It is kept for workers by a socket that takes no connections; nobody else gets it."""
    with reserve("127.0.0.1", 0, "LISTEN") as kept:
        port = kept.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with bind("127.0.0.1", port, "LISTEN", shared=True) as one:
            socket.create_connection(("127.0.0.1", port)).close()
            bind("127.0.0.1", port, "LISTEN", shared=True).close()
            for take in (bind, reserve):
                with pytest.raises(ListenError, match="this port is in use"):
                    take("127.0.0.1", port, "LISTEN")
            assert one.getsockname()[1] == port
