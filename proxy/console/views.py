"""What a page is: a place in the table of pages; and what it answers with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from proxy.store.tokens import TokenRole

if TYPE_CHECKING:
    from proxy.console.desk import Desk


@dataclass(frozen=True, slots=True)
class View:
    """A page to be rendered: its template, below `templates/`, and what that shows."""

    template: str
    shown: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """Where to look next, after something was done; `said` is shown there once."""

    to: str
    said: str | None = None


Answer = View | Moved | web.StreamResponse
Handler = Callable[["Desk"], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One method of one path, for people who are signed in.

    `roles` may open it; what it asks of the API is checked there again. `key` is the item of the navigation
    that it belongs to. `installation` is not for people who are confined to tenants.
    """

    path: str
    roles: frozenset[TokenRole]
    handler: Handler
    key: str
    method: str = "GET"
    installation: bool = False


class Item(NamedTuple):
    """One item of the navigation."""

    key: str
    label: str
    href: str
