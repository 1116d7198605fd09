"""Routes that are loaded with the first request for one of them.

What few ask for and all would wait for at a start. Loading is done in a thread, so that health and metrics
are answered meanwhile; requests that come then wait for it, and it is done once.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web
from yarl import URL

Fill = Callable[[web.UrlDispatcher, str], None]  # adds routes, whose paths begin with the text


class Later(web.AbstractResource):
    """All paths that begin with `prefix`, as `fill` will say; where it says nothing there is nothing."""

    def __init__(self, fill: Fill, prefix: str = "") -> None:
        super().__init__()
        self._fill = fill
        self._prefix = prefix
        self._loading = asyncio.Lock()
        self._loaded: web.UrlDispatcher | None = None

    @property
    def canonical(self) -> str:
        return self._prefix or "/"

    def add_prefix(self, prefix: str) -> None:
        """Stand below `prefix`, since the application does."""
        self._prefix = prefix + self._prefix

    def raw_match(self, path: str) -> bool:
        """Tell whether a route with this very path may be added to ours: it has to be one of its own."""
        return False

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """Return the route that is wanted; None if there is none, and what methods there are instead."""
        routes = self._loaded if self._loaded is not None else await self._load_once()
        found = await routes.resolve(request)
        refusal = found.http_exception
        if refusal is None:
            return found, {request.method}
        return None, set(refusal.allowed_methods) if isinstance(refusal, web.HTTPMethodNotAllowed) else set()

    async def _load_once(self) -> web.UrlDispatcher:
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._load)
        return self._loaded

    def _load(self) -> web.UrlDispatcher:
        routes = web.UrlDispatcher()
        self._fill(routes, self._prefix)
        return routes

    def url_for(self, **kwargs: str) -> URL:
        """Return where this stands."""
        return URL(self.canonical)

    def get_info(self) -> Any:
        """Return what this is, for people who look at routes."""
        return {"prefix": self._prefix}

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return iter(())
