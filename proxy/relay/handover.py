"""Taking a WebSocket client over from aiohttp, which then knows nothing of it.

aiohttp parses the upgrade request and stops there: what the client sends early lies in its buffer,
bounded by its read buffer (64 KiB, then reading pauses). `take_over` writes the 101, takes those
bytes and the transport, and lets aiohttp forget the connection: it holds no memory for it, and its
shutdown neither waits for the tunnel nor kills it.

aiohttp must run with `handler_cancellation=False` (its default): letting go of the connection looks
like a lost one to it, and must not cancel the handler that does it.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from aiohttp import HttpVersion11, hdrs, web
from websockets.utils import accept_key

from proxy.core.refusal import BAD_REQUEST, UPGRADE_REQUIRED, Refusal

VERSION = "13"
KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Handshake:
    """A valid upgrade request: its key, and the subprotocols it offers, in order."""

    key: str
    subprotocols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A client's connection, ours from now on, and what it sent before it was."""

    transport: asyncio.Transport
    early: bytes


class HandedOver(web.StreamResponse):
    """What a handler returns when its connection is no longer aiohttp's: nothing is written."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing: the tunnel has the transport."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: the tunnel has the transport."""


class _Capture:
    """Stands where aiohttp's WebSocket reader would, to be given the bytes that came early."""

    def __init__(self) -> None:
        self.early = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Keep `data`; there is always more to come."""
        self.early += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing to do: the tunnel sees the end of the stream itself."""


def read_handshake(request: web.BaseRequest) -> Handshake | Refusal:
    """Return the WebSocket handshake that `request` is, or what is wrong with it (RFC 6455, 4.2.1)."""
    headers = request.headers
    connection = {token.strip().lower() for token in _joined(request, hdrs.CONNECTION).split(",")}
    upgrades = _joined(request, hdrs.UPGRADE).lower() == "websocket" and "upgrade" in connection
    if request.method != "GET" or request.version < HttpVersion11 or not upgrades:
        return UPGRADE_REQUIRED
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != [VERSION]:
        return replace(UPGRADE_REQUIRED, message=f"Sec-WebSocket-Version must be {VERSION}.")
    if request.body_exists:
        return replace(BAD_REQUEST, message="A WebSocket handshake has no body.")
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    if len(keys) != 1 or not _is_key(keys[0]):
        return replace(BAD_REQUEST, message="Sec-WebSocket-Key must be 16 bytes in base64.")
    offered = _joined(request, hdrs.SEC_WEBSOCKET_PROTOCOL).split(",")
    return Handshake(keys[0], tuple(item.strip() for item in offered if item.strip()))


def is_there(request: web.BaseRequest) -> bool:
    """Tell whether the client is still connected, as far as anybody knows."""
    transport = request.transport
    return transport is not None and not transport.is_closing()


def take_over(request: web.BaseRequest, handshake: Handshake, headers: Mapping[str, str]) -> TakenOver:
    """Answer 101 with `headers` and take the connection from aiohttp.

    Call it when `is_there`, and without awaiting in between; then give the transport its protocol
    at once and return `HandedOver()` from the handler.
    """
    transport = request.transport
    assert transport is not None
    transport.write(_switching(handshake, headers))
    capture = _Capture()
    # Typed for its own reader, of which it calls these two methods only.
    request.protocol.set_parser(cast(Any, capture))
    _detach(request)
    return TakenOver(transport, bytes(capture.early))


def _detach(request: web.BaseRequest) -> None:
    """Let aiohttp forget the connection; without a transport it has nothing to close."""
    protocol = request.protocol
    protocol.transport = None
    protocol.connection_lost(None)


def _switching(handshake: Handshake, headers: Mapping[str, str]) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(handshake.key)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _joined(request: web.BaseRequest, name: str) -> str:
    return ",".join(request.headers.getall(name, [])).strip()


def _is_key(value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == KEY_BYTES
    except binascii.Error:
        return False
    except ValueError:  # not ASCII
        return False
