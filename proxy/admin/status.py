"""`/healthz`, `/readyz` and `/metrics`, as both planes answer them."""

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

_END = b"# EOF\n"  # the last line of the OpenMetrics format, and of no other

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Reasons = Callable[[], Awaitable[Sequence[str]]]


async def healthz(request: web.Request) -> web.Response:
    """Answer 200: this process runs its loop."""
    return web.json_response({"status": "ok"})


def readyz(reasons: Reasons) -> Handler:
    """Return a handler that answers 200, or 503 with the reasons why not to send anybody here."""

    async def handle(request: web.Request) -> web.Response:
        why = list(await reasons())
        status = "unready" if why else "ready"
        return web.json_response({"status": status, "reasons": why}, status=503 if why else 200)

    return handle


def metrics(registry: CollectorRegistry) -> Handler:
    """Return a handler that writes the registry out, in the format that the scraper asks for."""

    async def handle(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # In a thread: thousands of series take longer to write than a relayed message may wait.
        body = await asyncio.to_thread(encode, registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    return handle


def exposition(body: bytes, accept: str, registry: CollectorRegistry) -> web.Response:
    """Answer with the exposition `body`, made for `accept`, and the metrics of `registry` below it."""
    encode, content_type = choose_encoder(accept)
    return web.Response(
        body=body.removesuffix(_END) + encode(registry), headers={"Content-Type": content_type}
    )


def guarded(handler: Handler, token: str | None) -> Handler:
    """Return `handler` behind a bearer token; without one, for this machine only."""
    expected = f"Bearer {token}".encode() if token is not None else None

    async def handle(request: web.Request) -> web.StreamResponse:
        if expected is None:
            return await handler(request) if _is_local(request.remote) else _closed()
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if not hmac.compare_digest(given, expected):
            return web.json_response(
                {"error": "This needs TALKMETER_METRICS_TOKEN as `Authorization: Bearer`."},
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    return handle


def _is_local(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _closed() -> web.Response:
    return web.json_response(
        {
            "error": "Metrics tell what tenants spend, and you ask from another machine: set"
            " TALKMETER_METRICS_TOKEN, and send it as `Authorization: Bearer`."
        },
        status=403,
    )
