"""One connection, from session.created on: client events in, the simulated model's answers out."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from proxy.simulator.beta import from_beta
from proxy.simulator.billing import Billing
from proxy.simulator.config import Ask, Config
from proxy.simulator.conversation import Conversation, Item, decode_audio, parse_item, user_audio
from proxy.simulator.faults import Faults
from proxy.simulator.messages import ClientError, Json, error, new_id, rate_limits
from proxy.simulator.options import Options
from proxy.simulator.responses import Response
from proxy.simulator.transcriber import transcribe
from proxy.simulator.truth import TruthFile
from proxy.simulator.usage import TICKS_PER_MS, Segment, cached, count
from proxy.simulator.vad import InputBuffer
from proxy.simulator.voice import answer
from proxy.simulator.wire import Gone, Wire

log = logging.getLogger(__name__)

COMMIT_MS_MIN = 100
REQUESTS_PER_MINUTE = 1_000
TOKENS_PER_MINUTE = 15_000_000
# A value deep inside an event that is of a type which no check expects. It is answered like any other
# mistake of a client, and logged with its place, since it can also be a mistake of ours.
WRONG_SHAPE = (TypeError, AttributeError, KeyError, ValueError)
EXPIRED = "Your session hit the maximum duration of 60 minutes."


class Session:
    """A conversation with one client. `run` returns when the connection has ended."""

    def __init__(
        self,
        connection: ServerConnection,
        options: Options,
        faults: Faults,
        truth: TruthFile,
        config: Config,
    ) -> None:
        self._connection, self._options, self._faults, self._config = connection, options, faults, config
        self._wire = Wire(connection, faults, beta=options.beta)
        self._billing = Billing(self._wire, truth, config.id, config.payer)
        self._conversation = Conversation()
        self._buffer = InputBuffer()
        self._buffer.configure(config.input_format, config.detection)
        self._speech_item_id = ""
        self._active: Response | None = None  # in the conversation
        self._apart: dict[str, Response] = {}  # out of band, by id
        self._prompt: tuple[str, list[Segment]] = ("", [])  # the last one read, and by which model
        self._responses = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the connection; a bug in a part of it ends it with close code 1011."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            with contextlib.suppress(ConnectionClosed, Gone):  # the ordinary end
                await self._serve()
            for task in self._tasks:
                task.cancel()

    async def _serve(self) -> None:
        shown = self._config.show()
        if self._faults.snapshot and self._config.kind == "realtime":
            shown["model"] = self._config.model = f"{self._config.model}-{self._faults.snapshot}"
        await self._wire.send({"type": "session.created", "session": shown})
        self._start(self._expire())
        async for message in self._connection:
            await self._receive(message)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the session, until either ends."""

        async def guarded() -> None:
            with contextlib.suppress(ConnectionClosed, Gone):  # the reading side sees the end too
                await work

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            work.close()  # which was never begun if the session ended at once

        task = self._group.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(ended)

    async def _expire(self) -> None:
        seconds = self._options.session_s_max if self._faults.expire is None else self._faults.expire
        await asyncio.sleep(seconds)
        await self._wire.send(error("session_expired", EXPIRED))
        await self._connection.close(1001, "session_expired")

    async def _receive(self, message: str | bytes) -> None:
        event: Json = {}
        try:
            event = _decode(message)
            try:
                await self._handle(event)
            except WRONG_SHAPE as failure:
                log.warning("an event of an unexpected shape", exc_info=True)
                raise ClientError("invalid_type", f"The event could not be read: {failure}") from failure
        except ClientError as mistake:
            given = event.get("event_id")
            event_id = given if isinstance(given, str) else None
            await self._wire.send(
                error(mistake.code, mistake.message, param=mistake.param, event_id=event_id)
            )

    async def _handle(self, event: Json) -> None:
        match event["type"]:
            case "session.update" | "transcription_session.update":
                await self._update(event.get("session"))
            case "input_audio_buffer.append":
                await self._append(decode_audio(event.get("audio")))
            case "input_audio_buffer.commit":
                await self._commit_by_client()
            case "input_audio_buffer.clear":
                self._buffer.clear()
                await self._wire.send({"type": "input_audio_buffer.cleared"})
            case "conversation.item.create":
                await self._create_item(event)
            case "conversation.item.delete":
                self._conversation.delete(event.get("item_id"))
                await self._wire.send({"type": "conversation.item.deleted", "item_id": event["item_id"]})
            case "conversation.item.retrieve":
                item = self._conversation.get(event.get("item_id"), "retrieve").show(audio=True)
                await self._wire.send({"type": "conversation.item.retrieved", "item": item})
            case "conversation.item.truncate":
                await self._truncate(event)
            case "response.create":
                given = event.get("response")
                await self._respond(from_beta(given) if self._options.beta else given)
            case "response.cancel":
                self._cancel(event.get("response_id"))
            case other:
                raise ClientError("invalid_value", f"Invalid value: {other!r} for 'type'.", "type")

    async def _update(self, changes: Any) -> None:
        self._config.update(from_beta(changes) if self._options.beta else changes)
        self._buffer.configure(self._config.input_format, self._config.detection)
        await self._wire.send({"type": "session.updated", "session": self._config.show()})

    async def _append(self, audio: bytes) -> None:
        for heard in self._buffer.append(audio):
            if heard.what == "started":
                await self._speech_started(heard.at_ms)
            elif heard.what == "stopped":
                await self._speech_stopped(heard.at_ms)
            else:
                await self._timed_out(heard.at_ms)

    async def _speech_started(self, at_ms: int) -> None:
        self._speech_item_id = new_id("item")
        event = {"type": "input_audio_buffer.speech_started", "audio_start_ms": at_ms}
        await self._wire.send(event | {"item_id": self._speech_item_id})
        if self._active is not None and self._config.turns("interrupt_response"):
            self._active.stop("turn_detected")

    async def _speech_stopped(self, at_ms: int) -> None:
        event = {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": at_ms}
        await self._wire.send(event | {"item_id": self._speech_item_id})
        await self._commit(self._speech_item_id)
        await self._answer_by_itself()

    async def _timed_out(self, at_ms: int) -> None:
        """Commit the silence, and let the model say something about it."""
        silent_ms, item_id = self._buffer.ticks // TICKS_PER_MS, new_id("item")
        event = {"type": "input_audio_buffer.timeout_triggered", "item_id": item_id}
        await self._wire.send(event | {"audio_start_ms": at_ms - silent_ms, "audio_end_ms": at_ms})
        await self._commit(item_id)
        await self._answer_by_itself()

    async def _answer_by_itself(self) -> None:
        if self._config.turns("create_response"):
            try:
                await self._respond(None)
            except ClientError as mistake:  # said here: the rest of the audio is still to be heard
                await self._wire.send(error(mistake.code, mistake.message))

    async def _commit_by_client(self) -> None:
        ms = self._buffer.ticks / TICKS_PER_MS
        if ms < COMMIT_MS_MIN:
            message = f"Error committing input audio buffer: {ms:.2f}ms is less than 100ms."
            raise ClientError("input_audio_buffer_commit_empty", message)
        await self._commit(self._speech_item_id if self._buffer.speaking else new_id("item"))

    async def _commit(self, item_id: str) -> None:
        """Turn the buffer into an item of the user, and have it transcribed when that is on."""
        ticks = self._buffer.take()
        item = user_audio(item_id, ticks)
        previous = self._conversation.insert(item)
        committed = {"type": "input_audio_buffer.committed", "previous_item_id": previous}
        await self._wire.send(committed | {"item_id": item_id})
        await self._announce(item, previous)
        settings = self._config.input["transcription"]
        if settings is not None:
            self._start(transcribe(self._wire, self._billing, self._options, settings, item, ticks))

    async def _create_item(self, event: Json) -> None:
        item = parse_item(event.get("item"), self._config.input_format)
        previous = self._conversation.insert(item, event.get("previous_item_id"))
        await self._announce(item, previous)

    async def _announce(self, item: Item, previous: str | None) -> None:
        for kind in ("added", "done"):
            event = {"type": f"conversation.item.{kind}", "previous_item_id": previous}
            await self._wire.send(event | {"item": item.show()})

    async def _truncate(self, event: Json) -> None:
        item_id, index, end = (event.get(name) for name in ("item_id", "content_index", "audio_end_ms"))
        self._conversation.truncate(item_id, index, end)
        done = {"type": "conversation.item.truncated", "item_id": item_id}
        await self._wire.send(done | {"content_index": index, "audio_end_ms": end})

    async def _respond(self, given: Any) -> None:
        """Start a response; raises ClientError when it cannot be."""
        if self._config.kind == "transcription":
            raise ClientError("invalid_event", "A transcription session makes no responses.", "type")
        ask = self._config.ask(given)
        if ask.in_conversation:
            await self._wait_for_turn()
        items = self._items(ask)
        prompt = ask.head() + [segment for item in items for segment in item.segments()]
        known = self._prompt[1] if self._prompt[0] == self._config.model else []
        response = Response(
            self._wire,
            self._billing,
            self._options,
            self._conversation,
            ask,
            answer(ask, items, self._faults.words),
            model=self._config.model,
            read=count(prompt),
            cached=cached(known, prompt, self._options.cache_step, self._options.cache_minimum),
        )
        if ask.in_conversation:
            self._active, self._prompt = response, (self._config.model, prompt)
        else:
            self._apart[response.id] = response
        await response.open()  # before the next event is read: a change of the model comes after it
        self._start(self._run_response(response))

    async def _wait_for_turn(self) -> None:
        """Return when the conversation is free; a response that was cancelled is waited for."""
        if self._active is not None and self._active.stopping:
            await self._active.finished.wait()
        if self._active is not None:
            message = f"Conversation already has an active response in progress: {self._active.id}."
            raise ClientError("conversation_already_has_active_response", message)

    def _items(self, ask: Ask) -> list[Item]:
        """Return the items that a response reads."""
        if ask.input is None:
            limit = self._options.context_of(self._config.model)
            if not self._conversation.forget_to_fit(ask.head(), limit, self._config.fields["truncation"]):
                raise ClientError(
                    "context_length_exceeded", "The conversation exceeds the context of the model."
                )
            return list(self._conversation.items)
        items = []
        for raw in ask.input:
            if isinstance(raw, dict) and raw.get("type") == "item_reference":
                items.append(self._conversation.get(raw.get("id"), "reference"))
            else:
                item = parse_item(raw, self._config.input_format)
                item.inline = True
                items.append(item)
        return items

    async def _run_response(self, response: Response) -> None:
        try:
            await response.run()
        finally:  # also when the connection is lost: nobody may wait for this response for ever
            if self._active is response:
                self._active = None
                self._buffer.wait()
            self._apart.pop(response.id, None)
            response.finished.set()
        self._responses += 1
        await asyncio.sleep(self._options.rate_limits_delay_s)
        tokens_left = TOKENS_PER_MINUTE - response.tokens
        await self._wire.send(rate_limits(max(0, REQUESTS_PER_MINUTE - self._responses), tokens_left))

    def _cancel(self, response_id: Any) -> None:
        response = self._active if response_id is None else self._apart.get(response_id)
        if response is None and self._active is not None and self._active.id == response_id:
            response = self._active
        if response is None:
            raise ClientError("response_cancel_not_active", "Cancellation failed: no active response found.")
        response.stop("client_cancelled")


def _decode(message: str | bytes) -> Json:
    if isinstance(message, bytes):
        raise ClientError("invalid_event", "Binary messages are not supported: send JSON text.")
    try:
        event = json.loads(message)
    except (ValueError, RecursionError) as failure:
        raise ClientError("invalid_json", "The event is not valid JSON.") from failure
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ClientError("invalid_event", "The 'type' field is missing.")
    return event
