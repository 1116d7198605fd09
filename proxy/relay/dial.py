"""Reaching the upstream: `websockets` shakes hands, and what follows the 101 is kept for the tunnel.

The upstream is dialled before the client gets its 101, so that its own "no" can be passed on as it
is. Nothing of the client's request reaches the upstream but the query and two harmless headers.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from proxy.core.refusal import UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE, Refusal

OPEN_TIMEOUT_S = 10.0
HEAD_BYTES_MAX = 64 * 1024
EARLY_BYTES_MAX = 64 * 1024  # beyond it reading pauses until the tunnel is there

# Passed on with an upstream's HTTP refusal; the others are about its own connection or its cookies.
_ANSWER_HEADERS = frozenset({"content-type", "content-encoding", "retry-after", "x-request-id"})
_ANSWER_PREFIXES = ("openai-", "x-ratelimit-")

log = logging.getLogger(__name__)

# At level debug `websockets` logs request headers, our key among them: this logger never does.
_quiet = logging.getLogger("proxy.relay.websockets")
_quiet.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """Where the voice API is, and who we are there. `url` is the base, such as `https://host/v1`."""

    url: str
    api_key: str = field(repr=False)
    organization: str | None = None
    project: str | None = None
    open_timeout_s: float = OPEN_TIMEOUT_S

    @property
    def account(self) -> str | None:
        """Return the upstream account as the ledger names it: organisation and project, as configured."""
        return "/".join(part for part in (self.organization, self.project) if part) or None

    @property
    def headers(self) -> dict[str, str]:
        """Return what says who we are, in every request."""
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "OpenAI-Organization": self.organization,
            "OpenAI-Project": self.project,
        }
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True)
class Answered:
    """The upstream answered with HTTP instead of a WebSocket: its refusal, to be passed on."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class UpstreamConnection(ClientConnection):
    """A connection whose bytes stop at the end of a 101's head: those that follow are kept, unparsed.

    `early` holds them until `transport.set_protocol` gives the transport to the tunnel. An end that was
    noticed before that, or that a TLS transport has scheduled for us already, `tell_end` passes on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.early = bytearray()
        self.is_switched = False
        self._is_ended = False
        self._is_lost = False
        self._heir: asyncio.Protocol | None = None
        self._head: bytearray | None = bytearray()

    def data_received(self, data: bytes) -> None:
        """Give `websockets` the response head; keep what follows it, if it is a 101."""
        if self.is_switched:
            self._keep(data)
        elif self._head is None:
            super().data_received(data)
        else:
            self._head += data
            self._try_head(self._head)

    def _try_head(self, head: bytearray) -> None:
        end = head.find(b"\r\n\r\n")
        if end < 0:
            if len(head) > HEAD_BYTES_MAX:
                self.transport.abort()
            return
        self._head = None
        self.is_switched = head.startswith(b"HTTP/1.1 101")
        if not self.is_switched:
            super().data_received(bytes(head))
            return
        super().data_received(bytes(head[: end + 4]))
        self._keep(head[end + 4 :])

    def _keep(self, data: bytes | bytearray) -> None:
        self.early += data
        if len(self.early) > EARLY_BYTES_MAX and not self.transport.is_closing():
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """Note the end of the stream; let `websockets` see it only when it reads the stream."""
        self._is_ended = True
        if self.is_switched:
            return
        if self._head:
            head, self._head = bytes(self._head), None
            super().data_received(head)
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the loss of the connection, or tell the protocol that has its transport now."""
        self._is_lost = True
        super().connection_lost(exc)
        if self._heir is not None:
            self._heir.connection_lost(exc)

    def tell_end(self, heir: asyncio.Protocol) -> None:
        """Tell `heir`, which was given the transport, of an end that it cannot see; now or later."""
        self._heir = heir
        if self._is_lost:
            heir.connection_lost(None)
        elif self._is_ended:
            heir.eof_received()


class _Connect(connect):
    """Dials once. A redirect is not followed: our key goes to the configured host only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Dialer:
    """Opens upstream connections. Keeps one TLS context: making one costs tens of milliseconds."""

    def __init__(self, config: UpstreamConfig) -> None:
        self.config = config
        parts = urlsplit(config.url)
        secure = parts.scheme in ("https", "wss")
        path = parts.path.rstrip("/")
        self._url = f"{'wss' if secure else 'ws'}://{parts.netloc}{path}/realtime"
        self._tls: dict[str, Any] = {"ssl": ssl.create_default_context()} if secure else {}

    async def dial(
        self, query: str, client_headers: Mapping[str, str]
    ) -> UpstreamConnection | Answered | Refusal:
        """Return an open connection, or why there is none. `query` is raw, without its `?`.

        Of `client_headers`, the user agent and the safety identifier are passed on. Whoever gets a
        connection owns it: hand its transport over, or abort it.
        """
        url = f"{self._url}?{query}" if query else self._url
        try:
            return await self._connect(url, client_headers)
        except TimeoutError:
            return UPSTREAM_TIMEOUT
        except InvalidStatus as error:
            return _answered(error)
        except (OSError, InvalidHandshake) as error:
            log.warning("upstream cannot be reached", extra={"problem": _describe(error)})
            return UPSTREAM_UNREACHABLE

    async def _connect(self, url: str, client_headers: Mapping[str, str]) -> UpstreamConnection | Refusal:
        connection = await _Connect(
            url,
            compression=None,
            additional_headers=self._headers(client_headers),
            user_agent_header=_harmless(client_headers.get("User-Agent")),
            proxy=None,
            open_timeout=self.config.open_timeout_s,
            ping_interval=None,
            logger=_quiet,
            create_connection=UpstreamConnection,
            **self._tls,
        )
        assert isinstance(connection, UpstreamConnection)
        if connection.is_switched:
            return connection
        connection.transport.abort()  # a status line that only `websockets` takes for a 101
        return UPSTREAM_UNREACHABLE

    def _headers(self, client_headers: Mapping[str, str]) -> dict[str, str]:
        safety = _harmless(client_headers.get("OpenAI-Safety-Identifier"))
        return self.config.headers | ({"OpenAI-Safety-Identifier": safety} if safety else {})


def _answered(error: InvalidStatus) -> Answered | Refusal:
    """Return an upstream's refusal; anything that is not one (a redirect, a page) is a failure."""
    response = error.response
    if response.status_code < 400:
        log.warning("upstream is no WebSocket", extra={"problem": f"HTTP {response.status_code}"})
        return UPSTREAM_UNREACHABLE
    headers = tuple(
        (name, value)
        for name, value in response.headers.raw_items()
        if name.lower() in _ANSWER_HEADERS or name.lower().startswith(_ANSWER_PREFIXES)
    )
    return Answered(response.status_code, headers, bytes(response.body))


def _harmless(value: str | None) -> str | None:
    """Return a client's header value if it can stand in a request of ours: printable ASCII."""
    return value if value and value.isascii() and value.isprintable() else None


def _describe(error: Exception) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"
