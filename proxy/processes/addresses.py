"""Where a Talkmeter is reached: its ports, as they are taken and as people are told; a private folder."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy import __version__
from proxy.admin.listen import bind, reserve
from proxy.setting_values import Address

PORT_PATIENCE_S = 3  # a predecessor that was killed may hold its ports a moment longer
SOCKET_PATH_BYTES_MAX = 100  # a Unix socket's address holds about so much


@dataclass(frozen=True, slots=True)
class Addresses:
    """Both ports, as they were taken."""

    listen: Address
    admin_listen: Address
    is_tls: bool

    @property
    def url(self) -> str:
        """Return the base URL for apps: what they put where OpenAI's was."""
        return f"{self._scheme}://{self.listen}/v1"

    @property
    def admin_url(self) -> str:
        """Return the control plane's URL."""
        return f"{self._scheme}://{self.admin_listen}"

    @property
    def _scheme(self) -> str:
        return "https" if self.is_tls else "http"

    @property
    def greeting(self) -> str:
        """Return the line that `talkmeter serve` prints once it serves."""
        return (
            f"Talkmeter {__version__} serves apps at {self.url}, the API, health and metrics at"
            f" {self.admin_url}"
        )


async def taken(address: Address, setting: str, *, shared: bool = False) -> socket.socket:
    """Return a listening socket; see `bind`."""
    return await asyncio.to_thread(bind, address.host, address.port, setting, PORT_PATIENCE_S, shared=shared)


async def reserved(address: Address, setting: str) -> socket.socket:
    """Return a socket that keeps a port for workers; see `reserve`."""
    return await asyncio.to_thread(reserve, address.host, address.port, setting, PORT_PATIENCE_S)


def address_of(bound: socket.socket) -> Address:
    """Return where a socket is bound."""
    host, port = bound.getsockname()[:2]
    return Address(host, port)


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can enter, with a path short enough for a Unix socket."""
    folder = tempfile.mkdtemp(prefix="talkmeter-")
    if len(os.fsencode(folder)) > SOCKET_PATH_BYTES_MAX - len("/s"):
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="talkmeter-", dir="/tmp")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
