"""Reading requests: parameters, bodies and headers, each bounded and checked against the route's models."""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.admin.api.problems import FieldError, Problem, invalid, of_validation
from proxy.store.audit import REASON_CHARS_MAX

if TYPE_CHECKING:
    from proxy.admin.api.models import Input
    from proxy.admin.api.routes import AnyRoute

BODY_S = 10.0  # for a body to arrive
JSON = "application/json"
REASON = "Talkmeter-Reason"
IDEMPOTENCY_KEY = "Idempotency-Key"
KEY_CHARS_MAX = 200
_KEY = re.compile(rf"[!-~]{{1,{KEY_CHARS_MAX}}}")
_CHUNK_BYTES = 65_536


def params_of(route: "AnyRoute", in_path: Mapping[str, str], in_query: Sequence[tuple[str, str]]) -> "Input":
    """Return the parameters of the path and the query.

    Raises:
        Problem: one of them is unknown, given twice, or cannot be used.
    """
    from pydantic import ValidationError  # only here and below: it is loaded with the first request

    twice = [name for name, count in Counter(name for name, _ in in_query).items() if count > 1]
    query = dict(in_query)
    misplaced = [name for name in query if name in route.path_names]
    if twice or misplaced:
        name = (twice or misplaced)[0]
        raise invalid("query", name, "it stands in the path" if misplaced else "give it once")
    try:
        found: Input = route.params.model_validate({**query, **in_path})
    except ValidationError as error:
        problem = of_validation("query", error)
        problem.errors = [_placed(route, one) for one in problem.errors]
        raise problem from None
    return found


def _placed(route: "AnyRoute", error: FieldError) -> FieldError:
    is_path = error.pointer.removeprefix("#/") in route.path_names
    return FieldError("path", error.pointer, error.detail) if is_path else error


async def body_of(route: "AnyRoute", request: web.Request) -> bytes:
    """Return the body as it came; of a route without one nothing is read.

    Raises:
        Problem: it has another type, or is too large or too slow.
    """
    if not route.has_body:
        return b""
    if request.content_type != JSON:
        raise Problem("unsupported-media-type", f"Send the body as {JSON}.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("unsupported-media-type", "Send the body as it is, not compressed.")
    return await _read(request, route.body_bytes_max)


def understood(route: "AnyRoute", raw: bytes) -> "Input":
    """Return what a body means; raises Problem if it cannot be used."""
    from pydantic import ValidationError

    if not route.has_body:
        empty: Input = route.body()
        return empty
    try:
        found: Input = route.body.model_validate_json(raw)
    except ValidationError as error:
        raise of_validation("body", error) from None
    return found


async def _read(request: web.Request, bytes_max: int) -> bytes:
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while chunk := await request.content.read(_CHUNK_BYTES):
                raw += chunk
                if len(raw) > bytes_max:
                    raise Problem("too-large", f"A body here has at most {bytes_max:,} bytes.")
    except TimeoutError:
        raise Problem("too-slow", f"A body has to arrive within {BODY_S:g} s.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Problem("malformed", "The body ended early.") from None
    return bytes(raw)


def idempotency_key(request: web.Request) -> str | None:
    """Return the Idempotency-Key, None when there is none; raises Problem if it cannot be one."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("header", IDEMPOTENCY_KEY, f"it has 1 to {KEY_CHARS_MAX} visible ASCII characters")
    return key


def reason_of(request: web.Request) -> str | None:
    """Return the reason in the header, None when there is none; raises Problem if it cannot be one."""
    reason = request.headers.get(REASON)
    if reason is not None and (len(reason) > REASON_CHARS_MAX or not reason.isprintable()):
        raise invalid("header", REASON, f"it has at most {REASON_CHARS_MAX} printable characters")
    return reason
