"""Pages: from `limit` and an opaque `after` to rows of the store, and to the cursor of the next page."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from proxy.admin.api.models import Output, Paged, PageParams
from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import Answer, Call
from proxy.store.columns import from_micros, to_micros
from proxy.store.pages import Page

R = TypeVar("R")
MICROS_MAX = 250_000_000_000_000_000  # the year 9892: later than any instant that a row can have
NUMBER_MAX = 2**63 - 1


def paged(
    call: Call[Any, Any],
    fetch: Callable[[Page], Sequence[R]],
    *,
    key: Callable[[R], Sequence[Any]],
    kinds: Sequence[type],
    show: Callable[[R], Output],
    newest_first: bool = False,
) -> Answer:
    """Answer with the page that `call` asks for; `kinds` are the types of the parts of a row's key.

    One row more than asked for is read, which tells whether there is another page.
    """
    params: PageParams = call.params
    after = decode(params.after, kinds) if params.after else ()
    page = Page(call.within, after, params.limit + 1, newest_first)
    rows = fetch(page)
    shown = rows[: params.limit]
    following = encode(key(shown[-1])) if len(rows) > params.limit else None
    return Answer(Paged[Output].model_construct(data=[show(row) for row in shown], next=following))


def encode(key: Sequence[Any]) -> str:
    """Return a row's key as a cursor."""
    plain = [to_micros(part) if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(msgspec.json.encode(plain)).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """Return the key that a cursor holds.

    Raises:
        Problem: it is none of this list's.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=list[str | int]
        )
        return tuple(_part(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise _no_cursor() from None


def _part(part: str | int, kind: type) -> Any:
    if kind is datetime and isinstance(part, int) and 0 <= part <= MICROS_MAX:
        return from_micros(part)
    if kind is str and isinstance(part, str):
        return part
    if kind is int and isinstance(part, int) and 0 <= part <= NUMBER_MAX:
        return part
    raise ValueError("a part of another kind")


def _no_cursor() -> Problem:
    return invalid("query", "after", "it should be `next` of an answer to this very list")
