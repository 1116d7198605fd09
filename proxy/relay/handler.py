"""The HTTP face of the data plane: upgrade requests, refusals, and what an app may ask about itself.

Every answer that is not a 101 is OpenAI's error JSON, so that an SDK shows it as its provider's.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import hdrs, web

from proxy.core.identity import Principal
from proxy.core.money import format_usd
from proxy.core.records import Entry
from proxy.core.refusal import (
    BAD_REQUEST,
    DRAINING,
    INTERNAL_ERROR,
    NOT_FOUND,
    UPGRADE_REQUIRED,
    Refusal,
)
from proxy.relay.ask import SUBPROTOCOL, read_ask, read_secret, read_user, split_query
from proxy.relay.dial import Answered, Dialer
from proxy.relay.gateway import Admission, Gateway, LiveSession
from proxy.relay.handover import VERSION, HandedOver, Handshake, is_there, read_handshake, take_over

REALTIME_PATHS = ("/v1/realtime", "/realtime", "/openai/v1/realtime")
SESSION_PATH = "/talkmeter/v1/sessions/{id}"
USAGE_PATH = "/talkmeter/v1/usage"
SESSION_HEADER = "Talkmeter-Session"

NO_SUCH_SESSION = Refusal(
    "no_such_session", 404, "invalid_request_error", "session_not_found", "There is no such session."
)

# Only counted: the client gets the upstream's own answer.
UPSTREAM_REFUSED = Refusal(
    "upstream_refused", 502, "server_error", "upstream_refused", "The voice API refused."
)

# Looks up what the tenant of a key has spent and may spend; of an end user too, if one is named.
FindSpending = Callable[[Principal, str | None], Awaitable[Mapping[str, Any]]]

# Looks up an ended session by its id and its tenant's; None if that tenant has none.
FindSession = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]


class Handler:
    """Answers the requests of apps."""

    def __init__(
        self, gateway: Gateway, dialer: Dialer, find_session: FindSession, find_spending: FindSpending
    ) -> None:
        self._gateway = gateway
        self._dialer = dialer
        self._find_session = find_session
        self._find_spending = find_spending

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. The last one takes every other path: add routes of your own before them."""
        return [
            *(web.route("*", path, self.realtime) for path in REALTIME_PATHS),
            web.get(SESSION_PATH, self.session),
            web.get(USAGE_PATH, self.usage),
            web.route("*", "/{path:.*}", self.not_found),
        ]

    async def not_found(self, request: web.Request) -> web.StreamResponse:
        """Answer for a path that is not served."""
        return self._refuse(NOT_FOUND)

    def broken(self, status: int) -> web.Response:
        """Return the answer to a request that no handler could answer: malformed (400), or a bug (500)."""
        return self._refuse(BAD_REQUEST if status < INTERNAL_ERROR.http_status else INTERNAL_ERROR)

    async def realtime(self, request: web.Request) -> web.StreamResponse:
        """Open a session: admission, then the upstream, then the 101."""
        handshake = read_handshake(request)
        if isinstance(handshake, Refusal):
            return self._refuse(handshake)
        raw_query = request.raw_path.partition("#")[0].partition("?")[2]
        ask = read_ask(request.headers, raw_query, handshake.subprotocols)
        if isinstance(ask, Refusal):
            return self._refuse(ask)
        admission = await self._gateway.admit(ask)
        if isinstance(admission, Refusal):
            return self._refuse(admission)
        with admission:
            return await self._connect(request, handshake, admission, ask.query)

    async def _connect(
        self, request: web.Request, handshake: Handshake, admission: Admission, query: str
    ) -> web.StreamResponse:
        upstream = await self._dialer.dial(query, request.headers)
        if isinstance(upstream, Answered):
            return self._pass_on(upstream)
        if isinstance(upstream, Refusal):
            return self._refuse(upstream)
        if self._gateway.is_draining or not is_there(request):
            upstream.transport.abort()
            return self._refuse(DRAINING)  # which a client that has left does not read
        headers = {SESSION_HEADER: admission.facts.session_id}
        if SUBPROTOCOL in handshake.subprotocols:
            headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = SUBPROTOCOL
        admission.open(take_over(request, handshake, headers), upstream)
        return HandedOver()

    async def session(self, request: web.Request) -> web.StreamResponse:
        """Show an app one of its tenant's sessions: its cost so far, turn by turn."""
        principal = await self._principal(request)
        if isinstance(principal, Refusal):
            return self._refuse(principal)
        session_id = request.match_info["id"]
        live = self._gateway.sessions.get(session_id)
        if live is not None and live.principal.tenant_id == principal.tenant_id:
            return _json(200, show(live))
        ended = await self._find_session(session_id, principal.tenant_id)
        return self._refuse(NO_SUCH_SESSION) if ended is None else _json(200, ended)

    async def usage(self, request: web.Request) -> web.StreamResponse:
        """Show an app what its tenant has spent, and what is left of the budgets that enclose it."""
        principal = await self._principal(request)
        if isinstance(principal, Refusal):
            return self._refuse(principal)
        user = read_user(request.headers, split_query(request.query_string)[1])
        if isinstance(user, Refusal):
            return self._refuse(user)
        return _json(200, await self._find_spending(principal, user))

    async def _principal(self, request: web.Request) -> Principal | Refusal:
        """Return whose key a plain request shows."""
        secret = read_secret(request.headers)
        if isinstance(secret, Refusal):
            return secret
        return await self._gateway.catalog.authenticate(secret, self._gateway.clock())

    def _refuse(self, refusal: Refusal) -> web.Response:
        self._gateway.metrics.refused(refusal)
        return refuse(refusal)

    def _pass_on(self, answer: Answered) -> web.Response:
        """Return the upstream's own refusal, as it was."""
        self._gateway.metrics.refused(UPSTREAM_REFUSED)
        response = web.Response(status=answer.status, body=answer.body)
        response.headers.popall(hdrs.CONTENT_TYPE, None)
        for name, value in answer.headers:
            response.headers.add(name, value)
        return response


def refuse(refusal: Refusal) -> web.Response:
    """Return a refusal as HTTP with OpenAI's error JSON."""
    error = {"message": refusal.message, "type": refusal.type, "param": None, "code": refusal.code}
    response = _json(refusal.http_status, {"error": error})
    if refusal.http_status == UPGRADE_REQUIRED.http_status:
        response.headers[hdrs.UPGRADE] = "websocket"
        response.headers[hdrs.SEC_WEBSOCKET_VERSION] = VERSION
    return response


def show(live: LiveSession) -> dict[str, Any]:
    """Return what an app sees of a session that runs: as cost, what its tenant owes."""
    facts = live.facts
    return {
        "id": facts.session_id,
        "live": True,
        "opened_at": facts.opened_at,
        "model": live.tunnel.session.settings.model,
        "upstream_session_id": live.tunnel.session.upstream_session_id,
        "tags": facts.tags,
        "responses": live.responses,
        "cost_nanousd": live.billed_nanousd,
        "cost_usd": format_usd(live.billed_nanousd),
        "turns": [show_turn(entry) for entry in live.turns],
    }


def show_turn(entry: Entry) -> dict[str, Any]:
    """Return what an app sees of one billed thing. Costs are null where a price is missing."""
    return {
        "subject_id": entry.subject_id,
        "kind": entry.kind,
        "model": entry.model,
        "status": entry.status,
        "estimated": entry.estimated,
        "occurred_at": entry.occurred_at,
        "cost_nanousd": entry.billed_nanousd,
        "cost_usd": None if entry.billed_nanousd is None else format_usd(entry.billed_nanousd),
        "meters": {line.meter: line.quantity for line in entry.lines},
    }


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
