"""Taking ports and reading certificates, with errors that say which setting to look at."""

import errno
import socket
import ssl
import time
from pathlib import Path

BACKLOG = 1_024
RETRY_S = 0.05


class ListenError(Exception):
    """A port that cannot be taken, or TLS files that cannot be used. The text is for people."""


def bind(host: str, port: int, setting: str, patience_s: float = 0, *, shared: bool = False) -> socket.socket:
    """Return a listening socket; `setting` is the variable that asked for it.

    For `patience_s` a port that is in use is tried again: the process before us may be on its way out.
    A `shared` port is for all processes of this user that share it; new connections are spread over them.

    Raises:
        ListenError: the port is in use or reserved, or the host is not one of this machine.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return _listening(host, port, shared=shared)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(RETRY_S)
                continue
            raise ListenError(_explain(host, port, setting, error)) from None


def reserve(host: str, port: int, setting: str, patience_s: float = 0) -> socket.socket:
    """Return a socket that keeps a port to be shared, and takes no connections itself.

    Raises:
        ListenError: as `bind`; also where somebody listens who would share the port.
    """
    alone = bind(host, port, setting, patience_s)
    with alone:
        port = alone.getsockname()[1]
    try:
        return _bound(host, port, shared=True)
    except OSError as error:
        raise ListenError(_explain(host, port, setting, error)) from None


def _listening(host: str, port: int, *, shared: bool) -> socket.socket:
    listener = _bound(host, port, shared=shared)
    try:
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _explain(host: str, port: int, setting: str, error: OSError) -> str:
    where = f"{setting} is {host}:{port}"
    if isinstance(error, socket.gaierror):
        return f"{where}: no such host ({error.strerror})"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: this port is in use. Stop what uses it, or set {setting} to another one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine does not have that address"
    if error.errno == errno.EACCES:
        return f"{where}: this user may not take that port (below 1024 it needs a privilege)"
    return f"{where}: {error.strerror or error}"


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return a server's TLS context, TLS 1.2 and newer.

    Raises:
        ListenError: a file is missing or unreadable, is not PEM, or the two do not belong together.
    """
    for setting, path in (("TALKMETER_TLS_CERT", cert), ("TALKMETER_TLS_KEY", key)):
        _check_readable(setting, path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        raise ListenError(_explain_tls(cert, key, error)) from None
    return context


def _check_readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ListenError(f"{setting} is {str(path)!r}: {(error.strerror or str(error)).lower()}") from None


def _explain_tls(cert: Path, key: Path, error: ssl.SSLError) -> str:
    files = f"TALKMETER_TLS_CERT ({cert}) and TALKMETER_TLS_KEY ({key})"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{files} do not belong together: the key is not this certificate's"
    return (
        f"{files} cannot be used: the first should be a PEM certificate chain, the second its PEM private"
        f" key without a passphrase ({error.reason or error})"
    )
