"""The server: the handshake, OpenAI's way of refusing, and the life of all sessions together."""

import asyncio
import contextlib
import http
import json
import signal
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import websockets.asyncio.server as ws
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from proxy.simulator import models
from proxy.simulator.config import Config, Kind
from proxy.simulator.faults import Faults, parse
from proxy.simulator.messages import error, new_id
from proxy.simulator.options import Options
from proxy.simulator.reports import Reports, payer_of
from proxy.simulator.session import Session
from proxy.simulator.truth import TruthFile

PATHS = frozenset({"/v1/realtime", "/realtime", "/openai/v1/realtime", "/openai/realtime"})
KEY_PROTOCOL = "openai-insecure-api-key."
CLOSE_BAD_KEY, CLOSE_BAD_REQUEST, CLOSE_NO_MODEL = 3000, 4000, 4004


class Refusal(NamedTuple):
    """A refusal after the upgrade: one `error` event, then this close."""

    close_code: int
    code: str
    message: str


class Simulator:
    """A running simulator; `close` ends it."""

    def __init__(self, options: Options, truth: TruthFile, reports: Reports) -> None:
        self.options = options
        self.reports = reports
        self.sessions = 0  # served so far
        self._truth = truth
        self._server: ws.Server | None = None
        self._scheme = "ws"

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Start to accept connections; raises OSError when the address cannot be had."""
        self._scheme = "ws" if tls is None else "wss"
        self._server = await ws.serve(
            self._serve,
            host,
            port,
            ssl=tls,
            process_request=self._admit,
            select_subprotocol=_subprotocol,
            compression=None,
            max_size=self.options.message_bytes_max,
            ping_interval=self.options.ping_interval_s,
            close_timeout=2,
            server_header=None,
        )

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def host(self) -> str:
        assert self._server is not None
        return str(next(iter(self._server.sockets)).getsockname()[0])

    @property
    def url(self) -> str:
        """The base URL for clients, `ws://host:port/v1`, with TLS `wss:`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}/v1"

    async def close(self) -> None:
        """Stop accepting, close every session with 1001, and close the truth file."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._truth.close()

    def abort(self) -> None:
        """Cut every connection without a close frame, as a crash would; the server goes on."""
        assert self._server is not None
        for connection in self._server.connections:
            connection.transport.abort()

    async def _admit(self, connection: ws.ServerConnection, request: Request) -> Response | None:
        """Refuse at HTTP level, or None to go on to the 101."""
        url = urlsplit(request.path)
        if url.path in self.reports.paths:
            return _http_answer(connection, *self.reports.answer(url.path, url.query, _key(request)))
        if url.path in models.PATHS:
            return _http_answer(connection, *models.answer(self.options, _key(request)))
        if url.path not in PATHS:
            return _http_error(connection, 404, "not_found", f"Invalid URL ({url.path})")
        try:
            faults = self._faults(request)
        except ValueError as failure:
            return _http_error(connection, 400, "invalid_value", f"sim=: {failure}")
        if faults.delay_handshake:
            await asyncio.sleep(faults.delay_handshake)
        if faults.refuse_http:
            return _http_error(connection, faults.refuse_http, "refused", "Refused by a fault.")
        if self.options.refuse_http is not None:
            status, body = self.options.refuse_http
            return _http_answer(connection, status, body)
        assert self._server is not None
        if len(self._server.connections) >= self.options.sessions_max:
            return _http_error(connection, 503, "server_overloaded", "Too many sessions.")
        return None

    def _faults(self, request: Request) -> Faults:
        given = ",".join(_query(request).get("sim", []))
        return parse(given, self.options.faults)

    async def _serve(self, connection: ws.ServerConnection) -> None:
        assert connection.request is not None
        faults = self._faults(connection.request)
        refusal = self._refusal(connection.request, faults)
        if refusal is not None:
            kind = faults.refuse or "invalid_request_error"
            event = error(refusal.code, refusal.message, kind=kind)
            await connection.send(json.dumps(event | {"event_id": new_id("event")}))
            await connection.close(refusal.close_code, f"{kind}.{refusal.code}")
            return
        self.sessions += 1
        query = _query(connection.request)
        model = _model(query)
        kind_asked: Kind = "transcription" if "intent" in query else "realtime"
        fixed = "intent" in query or model is not None
        payer = payer_of(connection.request.headers.get("OpenAI-Project"), _key(connection.request))
        config = Config(self.options, kind_asked, model, kind_fixed=fixed, payer=payer)
        await Session(connection, self.options, faults, self._truth, config).run()

    def _refusal(self, request: Request, faults: Faults) -> Refusal | None:
        """Return OpenAI's refusal of a request, or None to serve it."""
        if faults.refuse:
            return Refusal(CLOSE_BAD_REQUEST, faults.refuse, "Refused by a fault.")
        if _key(request) not in self.options.api_keys:
            return Refusal(CLOSE_BAD_KEY, "invalid_api_key", "Incorrect API key provided.")
        if "realtime=v1" in request.headers.get_all("OpenAI-Beta") and not self.options.beta:
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            return Refusal(CLOSE_BAD_REQUEST, "beta_api_shape_disabled", message)
        query = _query(request)
        model = _model(query)
        if "intent" in query:
            wrong = model is not None or query["intent"] != ["transcription"]
            return (
                Refusal(CLOSE_BAD_REQUEST, "invalid_model", "A model cannot go with an intent.")
                if wrong
                else None
            )
        if model == "" or model is None and self.options.require_model:
            return Refusal(CLOSE_BAD_REQUEST, "missing_model", "You must provide a model parameter.")
        if model is not None and not self.options.knows_model(model):
            return self._unknown_model(model)
        return None

    def _unknown_model(self, model: str) -> Refusal:
        if self.options.knows_transcriber(model):
            message = f"Model {model!r} is not supported in realtime mode."
            return Refusal(CLOSE_BAD_REQUEST, "invalid_model", message)
        message = f"The model {model!r} does not exist or you do not have access to it."
        return Refusal(CLOSE_NO_MODEL, "model_not_found", message)


def _query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query, keep_blank_values=True)


def _model(query: dict[str, list[str]]) -> str | None:
    named = query.get("model") or query.get("deployment")
    return named[0] if named else None


def _key(request: Request) -> str:
    """Return the key of a request: bearer, `api-key`, or the browser's subprotocol; "" without one."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    if "api-key" in request.headers:
        return request.headers["api-key"]
    offers = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    keys = [offer.strip().removeprefix(KEY_PROTOCOL) for offer in offers if KEY_PROTOCOL in offer]
    return keys[0] if keys else ""


def _subprotocol(_: ws.ServerConnection, offered: Any) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None


def _http_error(connection: ws.ServerConnection, status: int, code: str, message: str) -> Response:
    details = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return _http_answer(connection, status, json.dumps({"error": details}))


def _http_answer(connection: ws.ServerConnection, status: int, body: str) -> Response:
    response = connection.respond(http.HTTPStatus(status), body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    truth: Path | None = None,
    tls: ssl.SSLContext | None = None,
    **options: Any,
) -> Simulator:
    """Start a simulator in this event loop; port 0 takes a free one, see `Simulator.port`.

    `options` are the fields of `Options`: `api_keys`, `speed`, `beta`, `faults`, `refuse_http` …
    """
    for name in ("api_keys", "admin_keys"):
        if name in options:
            options[name] = frozenset(options[name])
    chosen = Options(**options)
    reports = Reports(chosen)
    simulator = Simulator(chosen, TruthFile(truth, chosen.clock, reports.add), reports)
    await simulator.listen(host, port, tls)
    return simulator


async def run_until_stopped(listen: str, **options: Any) -> None:
    """Serve on `HOST:PORT` until SIGINT or SIGTERM; prints the URL when it is ready."""
    host, _, port = listen.rpartition(":")
    simulator = await serve(host.strip("[]") or "127.0.0.1", int(port), **options)
    print(f"simulator listening on {simulator.url}/realtime", flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    with contextlib.suppress(asyncio.CancelledError):
        await stopped.wait()
    await simulator.close()


def run(
    listen: str,
    truth: Path | None = None,
    api_keys: frozenset[str] | None = None,
    speed: float = 20.0,
    **options: Any,
) -> None:
    """Serve alone, blocking: what `talkmeter simulator` does."""
    keys = {} if not api_keys else {"api_keys": frozenset(api_keys)}
    asyncio.run(run_until_stopped(listen, truth=truth, speed=speed, **keys, **options))
