"""The shapes on the wire: ids, errors, and the events that more than one module sends."""

import secrets
from typing import Any

Json = dict[str, Any]


class ClientError(Exception):
    """Something the client asked for that is answered with a non-fatal `error` event."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def new_id(prefix: str) -> str:
    """Return an identifier as the API makes them: a prefix and 20 random characters."""
    return f"{prefix}_{secrets.token_hex(10)}"


def error(
    code: str,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    event_id: str | None = None,
) -> Json:
    """Return an `error` event; `event_id` is that of the client event that caused it."""
    details = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "error": details}


def rate_limits(requests_left: int, tokens_left: int) -> Json:
    """Return a `rate_limits.updated` event."""
    return {
        "type": "rate_limits.updated",
        "rate_limits": [
            {"name": "requests", "limit": 1_000, "remaining": requests_left, "reset_seconds": 60.0},
            {"name": "tokens", "limit": 15_000_000, "remaining": tokens_left, "reset_seconds": 0.001},
        ],
    }
