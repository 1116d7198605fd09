"""Reaching the upstream: what is sent there, and every way it can say no."""

import asyncio
import socket
import ssl

import pytest

from proxy.core.refusal import UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE
from proxy.relay.dial import Answered, Dialer, UpstreamConfig, UpstreamConnection
from tests.relay.conftest import Sides
from tests.relay.peers import UPSTREAM_KEY, Upstream, header

CLIENT_HEADERS = {
    "User-Agent": "AsyncOpenAI/Python 3.54.0",
    "OpenAI-Safety-Identifier": "user-hash",
    "Authorization": "Bearer tm_secret",
    "OpenAI-Beta": "realtime=v1",
    "Cookie": "a=b",
}


class Heir(asyncio.Protocol):
    """Takes the transport, as the tunnel does, and notes what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.ends.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ends.append("lost")


async def dialled(
    upstream: Upstream, *, tls: bool = False, timeout_s: float = 5, path: str = "/v1"
) -> object:
    """Dial it once, with a query."""
    url = f"{'https' if tls else 'http'}://localhost:{upstream.port}{path}"
    dialer = Dialer(UpstreamConfig(url, UPSTREAM_KEY, "org-1", None, timeout_s))
    return await dialer.dial("model=gpt-realtime&x=%20y", CLIENT_HEADERS)


async def started(tls: ssl.SSLContext | None = None) -> Upstream:
    upstream = Upstream()
    await upstream.start(tls)
    return upstream


async def test_what_the_upstream_is_sent_is_built_from_scratch() -> None:
    upstream = await started()
    connection = await dialled(upstream)
    assert isinstance(connection, UpstreamConnection)
    head = (await upstream.peer()).head
    assert head.startswith("GET /v1/realtime?model=gpt-realtime&x=%20y HTTP/1.1\r\n")
    names = sorted(line.partition(":")[0].lower() for line in head.split("\r\n")[1:-2])
    assert names == [
        "authorization",
        "connection",
        "host",
        "openai-organization",
        "openai-safety-identifier",
        "sec-websocket-key",
        "sec-websocket-version",
        "upgrade",
        "user-agent",
    ]
    assert header(head, "Authorization") == f"Bearer {UPSTREAM_KEY}"
    assert header(head, "User-Agent") == "AsyncOpenAI/Python 3.54.0"
    assert header(head, "OpenAI-Safety-Identifier") == "user-hash"
    connection.transport.abort()
    await upstream.stop()


async def test_early_bytes_and_the_end_are_kept_for_the_heir(sides: Sides) -> None:
    upstream = await started(sides.get("upstream_side"))
    upstream.early = b"\x81\x02{}" * 20_000
    upstream.hangs_up = True
    connection = await dialled(upstream, tls=bool(sides))
    assert isinstance(connection, UpstreamConnection)
    await asyncio.sleep(0.1)  # however long the tunnel takes
    heir = Heir()
    early = bytes(connection.early)
    connection.transport.set_protocol(heir)
    connection.tell_end(heir)
    if not connection.transport.is_closing():
        connection.transport.resume_reading()
    async with asyncio.timeout(5):
        while "lost" not in heir.ends:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert early + heir.data == upstream.early
    await upstream.stop()


async def test_early_bytes_are_bounded() -> None:
    upstream = await started()
    upstream.early = b"x" * 20_000_000
    connection = await dialled(upstream)
    assert isinstance(connection, UpstreamConnection)
    await asyncio.sleep(0.2)
    assert len(connection.early) < 1_000_000
    connection.transport.abort()
    await upstream.stop()


async def test_a_refusal_is_returned_as_it_is() -> None:
    upstream = await started()
    body = b'{"error":{"code":"model_not_found"}}'
    upstream.answer = (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nx-request-id: req_1\r\n"
        b"Set-Cookie: a=b\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body
    answer = await dialled(upstream)
    headers = (("Content-Type", "application/json"), ("x-request-id", "req_1"))
    assert answer == Answered(404, headers, body)
    await upstream.stop()


@pytest.mark.parametrize("at", [9, 20, 40, 60, 90])
async def test_a_refusal_in_pieces_that_ends_with_the_stream(at: int) -> None:
    upstream = await started()
    upstream.answer = (
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\n\r\nslow down, slow down, slow down"
    )
    whole, upstream.answer = upstream.answer, upstream.answer[:at]
    answer = await dialled(upstream)
    if at < whole.index(b"\r\n\r\n") + 4:
        assert answer is UPSTREAM_UNREACHABLE
    else:
        assert answer == Answered(429, (("Retry-After", "3"),), whole[:at].partition(b"\r\n\r\n")[2])
    await upstream.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/steal\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 0101 Odd\r\nUpgrade: websocket\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 101 x\r\n" + b"a: b\r\n" * 30_000,
        b"",
    ],
)
async def test_an_upstream_that_is_no_websocket_is_unreachable(answer: bytes) -> None:
    upstream = await started()
    upstream.answer = answer
    assert await dialled(upstream) is UPSTREAM_UNREACHABLE
    await upstream.stop()


async def test_nobody_listens_or_the_name_is_unknown() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/v1", "http://no-such-host.invalid/v1"):
        assert await Dialer(UpstreamConfig(url, UPSTREAM_KEY)).dial("", {}) is UPSTREAM_UNREACHABLE


async def test_an_upstream_that_does_not_answer_in_time() -> None:
    upstream = await started()
    upstream.is_silent = True
    assert await dialled(upstream, timeout_s=0.2) is UPSTREAM_TIMEOUT
    await upstream.stop()


async def test_a_certificate_that_nobody_vouches_for(tls: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    upstream = await started(tls["upstream_side"])
    assert await dialled(upstream, tls=True) is UPSTREAM_UNREACHABLE
    await upstream.stop()


async def test_headers_that_cannot_stand_in_a_request_are_left_out() -> None:
    upstream = await started()
    url = f"http://localhost:{upstream.port}"
    headers = {"User-Agent": "caf\udcc3\udca9", "OpenAI-Safety-Identifier": "a\tb"}
    connection = await Dialer(UpstreamConfig(url, UPSTREAM_KEY)).dial("", headers)
    assert isinstance(connection, UpstreamConnection)
    head = (await upstream.peer()).head
    assert head.startswith("GET /realtime HTTP/1.1\r\n")
    assert not header(head, "User-Agent") and not header(head, "OpenAI-Safety-Identifier")
    connection.transport.abort()
    await upstream.stop()


def test_the_key_does_not_show() -> None:
    config = UpstreamConfig("https://api.openai.com/v1", UPSTREAM_KEY, "org-1", "proj-1")
    assert UPSTREAM_KEY not in repr(config)
    assert config.account == "org-1/proj-1"
    assert UpstreamConfig("https://api.openai.com/v1", UPSTREAM_KEY).account is None
