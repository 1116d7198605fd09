"""ETags: which state of a thing was read, so that nobody overwrites what somebody else has just changed."""

import hashlib
from typing import Any

import msgspec

from proxy.admin.api.problems import Problem

_CHARS = 32


def etag(*state: Any) -> str:
    """Return the strong ETag of what can be edited of a thing."""
    text = msgspec.json.encode(state, order="sorted")
    return f'"{hashlib.sha256(text).hexdigest()[:_CHARS]}"'


def check(if_match: str | None, current: str | None) -> None:
    """See that a change starts from the state that is there; `current` is None when there is nothing.

    Raises:
        Problem: If-Match is missing or names another state.
    """
    if if_match is None:
        if current is None:
            return
        raise Problem(
            "precondition-required", "Read it first, and send its ETag as If-Match (or * for any state)."
        )
    given = {one.strip() for one in if_match.split(",")}
    if current is None or not given & {current, "*"}:
        raise Problem("stale", "Somebody else has changed it: read it again, and change that.")
