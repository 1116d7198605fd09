"""Serving the routes: who asks, what for, in a thread, in a transaction; and a problem when that fails.

A client that leaves cancels nothing: what runs in a thread runs to its end. A few requests run at once and
some more wait; the rest are asked to come again, since the relay's poster needs the same database.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from proxy.admin.api import problems, requests
from proxy.admin.api.access import Caller, Door
from proxy.admin.api.calls import Answer, Call, Context, File, Opens
from proxy.admin.api.problems import Problem
from proxy.admin.api.repeats import Repeat, Repeats, Sent, sent
from proxy.admin.api.streams import Streams
from proxy.admin.later import Later
from proxy.exports.formats import write
from proxy.store import StoreError
from proxy.store.changes import lock
from proxy.store.database import reading, writing

if TYPE_CHECKING:
    from proxy.admin.api.routes import AnyRoute

THREADS = 6
SETTLE_S = 1.0  # for requests to end when the server stops
PENDING_MAX = 60  # requests that run or wait for a thread
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_CALLER = web.RequestKey("caller", Caller)

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says besides its route: parameters, body and headers, not yet looked at.

    `key` is its Idempotency-Key, and `as_sent` its path and query, which such a key is bound to.
    """

    in_path: Mapping[str, str] = field(default_factory=dict)
    in_query: Sequence[tuple[str, str]] = ()
    raw: bytes = b""
    if_match: str | None = None
    reason: str | None = None
    key: str | None = None
    as_sent: str = ""


class Api:
    """The API of one installation. `application` is to be mounted at `/api/v1`.

    `routes` is called with the first request, in a thread: to load all that they do takes its time.
    """

    def __init__(
        self,
        context: Context,
        door: Door,
        routes: "Callable[[], Sequence[AnyRoute]]",
        clock: Callable[[], datetime],
    ) -> None:
        self._context = context
        self._door = door
        self._routes = routes
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")
        self._pending = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._repeats = Repeats()
        self._streams = Streams()

    def application(self) -> web.Application:
        """Return the routes; every answer is JSON, problems included."""
        application = web.Application(middlewares=[self._middleware()])
        application.router.register_resource(Later(self._fill))
        application.on_shutdown.append(self._settle)
        application.cleanup_ctx.append(self._running)
        return application

    def _fill(self, router: web.UrlDispatcher, prefix: str) -> None:
        for route in self._routes():
            router.add_route(route.method, prefix + route.path, self._handler(route))

    async def _settle(self, application: web.Application) -> None:
        """Let what runs come to its end, with whoever asked for it or without: the database closes next."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._settled.wait()

    async def _running(self, application: web.Application) -> AsyncIterator[None]:
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._streams.shut_down()

    def _middleware(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                authorization = request.headers.get("Authorization", "")
                request[_CALLER] = await self._door.recognise(authorization, self._in_thread)
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  it is told, and logged where it is ours
                response = told(error, _route_of(request)).response()
            response.headers.update(_HEADERS)
            return response

        return guard

    def _handler(self, route: "AnyRoute") -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = request[_CALLER]
            _refuse_role(route, caller)
            asked = Asked(
                in_path=request.match_info,
                in_query=tuple(request.query.items()),
                raw=await requests.body_of(route, request),
                if_match=request.headers.get("If-Match"),
                reason=requests.reason_of(request) if route.reasons else None,
                key=requests.idempotency_key(request) if route.creates else None,
                as_sent=request.rel_url.raw_path_qs,
            )
            if route.media:
                return await self._download(request, route, self._call(route, caller, asked))
            return (await self._ask(route, caller, asked)).response()

        return handle

    async def ask(self, caller: Caller, route: "AnyRoute", asked: Asked) -> Sent:
        """Answer a request of this very process as if it had come in.

        Raises:
            Problem: it is refused, or fails.
        """
        try:
            _refuse_role(route, caller)
            return await self._ask(route, caller, asked)
        except Exception as error:
            raise told(error, route.name) from error

    async def download(
        self, request: web.Request, caller: Caller, route: "AnyRoute", asked: Asked
    ) -> web.StreamResponse:
        """Send a download to whoever made `request`; raises as `ask` does, before the first bytes."""
        try:
            _refuse_role(route, caller)
            return await self._download(request, route, self._call(route, caller, asked))
        except Exception as error:
            raise told(error, route.name) from error

    def _call(self, route: "AnyRoute", caller: Caller, asked: Asked) -> Call[Any, Any]:
        return Call(
            context=self._context,
            caller=caller,
            at=self._clock(),
            params=requests.params_of(route, asked.in_path, asked.in_query),
            body=requests.understood(route, asked.raw),
            if_match=asked.if_match,
            reason=asked.reason,
        )

    async def _ask(self, route: "AnyRoute", caller: Caller, asked: Asked) -> Sent:
        call = self._call(route, caller, asked)
        if asked.key is None:
            return await self._in_thread(self._perform, route, call, None)
        repeat = Repeat.of(caller.id, asked.key, route.method, asked.as_sent, asked.raw)
        with self._repeats.alone(repeat):
            return await self._in_thread(self._perform, route, call, repeat)

    async def _download(
        self, request: web.Request, route: "AnyRoute", call: Call[Any, Any]
    ) -> web.StreamResponse:
        """Send a file, or a table while it is made."""
        found: Any = await self._in_thread(route.handler, call)
        headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{found.name}"'}
        if isinstance(found, File):
            return web.Response(body=found.content, content_type=found.content_type, headers=headers)
        headers |= {**found.headers, "Content-Type": found.format.content_type}
        return await self._streams.send(
            request, headers, lambda pipe: write(found.make(pipe.check), found.format, pipe)
        )

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        if self._pending >= PENDING_MAX:
            raise problems.unavailable("Too many requests are waiting: repeat this one later.")
        self._pending += 1
        self._settled.clear()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._pending -= 1
            if not self._pending:
                self._settled.set()

    def _perform(self, route: "AnyRoute", call: Call, repeat: Repeat | None) -> Sent:  # type: ignore[type-arg]
        """In a thread: handle a call in the transaction that its route asks for."""
        if route.transaction is Opens.NOTHING:
            return sent(_answer(route, call))
        opened = reading if route.transaction is Opens.READING else writing
        with opened(self._context.engine) as connection:
            if route.edits:
                lock(connection)  # before the state is read that If-Match is held against
            call = replace(call, transaction=connection)
            if repeat is None:
                return sent(_answer(route, call))
            return repeat.perform(connection, call.at, lambda: _answer(route, call))


def _answer(route: "AnyRoute", call: Call[Any, Any]) -> Answer:
    answer = route.handler(call)
    assert isinstance(answer, Answer), "a download has media"
    return answer


def _refuse_role(route: "AnyRoute", caller: Caller) -> None:
    if caller.role not in route.roles:
        may = ", ".join(sorted(route.roles))
        raise Problem("forbidden", f"The role {caller.role} may not do that: it is for {may}.")
    if route.named and caller.named_since is None:
        raise Problem(
            "forbidden",
            f"{caller.name} may be anybody: use a token of a person's own (`talkmeter token create`), or"
            " sign in as yourself.",
        )
    if route.installation and caller.within is not None:
        raise Problem("forbidden", "This concerns the whole installation, and you are confined to tenants.")


def told(error: Exception, route: str) -> Problem:
    """Return the problem that an error is; the log says more of one that is a fault of ours."""
    problem = _problem_of(error)
    if problem.kind == "internal":
        logger.error("a request to the API failed", exc_info=error, extra={"route": route})
    return problem


def _problem_of(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case web.HTTPException():
            return problems.of_http(error)
        case StoreError():
            return problems.of_store(error)
        case DBAPIError() | PoolTimeoutError():
            found = problems.of_database(error)
        case _:
            found = None
    return found or Problem(
        "internal", "This is a fault of Talkmeter's: the log of the control plane says more."
    )


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else '-'}"
