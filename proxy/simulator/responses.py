"""One response: streamed at the speed of speech times a factor, stopped at any point, billed at its end."""

import asyncio
from typing import Literal

from proxy.simulator.billing import ZERO, Billing
from proxy.simulator.config import Ask
from proxy.simulator.conversation import Conversation, Item, Part
from proxy.simulator.messages import Json, new_id
from proxy.simulator.options import Options
from proxy.simulator.usage import VOICE_TOKEN_MS, Counts, Generated, response_usage, text_tokens
from proxy.simulator.voice import TOKENS_PER_WORD, Call, Words
from proxy.simulator.wire import Wire

TEXT_WORD_S = 0.05  # a written word, before `speed`

Status = Literal["completed", "cancelled", "incomplete", "failed"]


class Response:
    """A response in progress. `open` announces it, `run` is the rest of its life; `stop` ends it early."""

    def __init__(
        self,
        wire: Wire,
        billing: Billing,
        options: Options,
        conversation: Conversation,
        ask: Ask,
        answer: Call | Words,
        *,
        model: str,
        read: Counts,
        cached: Counts,
    ) -> None:
        self.id = new_id("resp")
        self.ask = ask
        self.muted = False  # stopped for good without ever saying so
        self.finished = asyncio.Event()  # set by the session, when the next one may start
        self.tokens = 0  # of the finished response
        self._wire, self._billing, self._options, self._conversation = wire, billing, options, conversation
        self._answer, self._model, self._read, self._cached = answer, model, read, cached
        self._item: Item | None = None
        self._reasoning = 0
        self._status: Status = "completed"
        self._reason: str | None = None
        self._stopping = False
        self._pausing: asyncio.Future[None] | None = None
        self._due_at = 0.0

    @property
    def stopping(self) -> bool:
        """Whether a cancel has been accepted; `finished` follows soon."""
        return self._stopping and not self.muted

    def stop(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Cancel the response; what was generated until now is billed."""
        if self._wire.faults.ignore_cancel or self._stopping:
            return
        self._stopping, self.muted = True, self._wire.faults.mute_cancel
        self._status, self._reason = "cancelled", reason
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)

    async def open(self) -> None:
        """Send `response.created`."""
        await self._billing.response_created(self._show("in_progress"), self._model)

    async def run(self) -> None:
        """Send everything from there to `response.done`."""
        faults = self._wire.faults
        if faults.fail:
            self._status = "failed"
        else:
            self._due_at = asyncio.get_running_loop().time()
            await self._pause(self._options.think_s if faults.slow_response is None else faults.slow_response)
            await self._produce()
        if self.muted:
            await self._wire.connection.wait_closed()
        usage = self._usage()
        self.tokens = (usage or ZERO)["total_tokens"]
        await self._billing.response_done(self._show(self._status), self._model, usage)

    async def _produce(self) -> None:
        if self._stopping or not self._spend_reasoning():
            return
        match self._answer:
            case Call():
                await self._call(self._answer)
            case Words() if self.ask.speaks:
                await self._speak(self._answer)
            case Words():
                await self._write(self._answer)

    def _spend_reasoning(self) -> bool:
        """Think before speaking; returns whether tokens are left to speak with."""
        self._reasoning = min(self.ask.reasoning_tokens, self._room())
        if self._room() == 0:
            self._cut("max_output_tokens")
        return self._room() > 0

    async def _speak(self, answer: Words) -> None:
        item, part = await self._open_message("output_audio")
        for word in answer.words:
            piece = f" {word}" if part.text else word
            if text_tokens(part.text + piece) - text_tokens(part.text) <= self._room():
                part.text += piece
                await self._delta("response.output_audio_transcript.delta", item, piece)
            audio_tokens = min(TOKENS_PER_WORD, self._room())
            await self._say(item, part, audio_tokens)
            if audio_tokens < TOKENS_PER_WORD:
                self._cut("max_output_tokens")
            if self._wire.faults.content_filter:
                self._cut("content_filter")
            if self._stopping or self._status != "completed":
                break
        await self._close_spoken(item, part)

    async def _say(self, item: Item, part: Part, tokens: int) -> None:
        """Send audio in chunks; a stop takes effect between two of them."""
        while tokens > 0 and not self._stopping:
            chunk = min(tokens, self._options.chunk_tokens)
            part.audio_tokens += chunk
            await self._wire.send_audio(self._ids(item) | {"content_index": 0}, chunk, self.ask.format)
            await self._pause(chunk * VOICE_TOKEN_MS / 1000 / self._options.speed)
            tokens -= chunk

    async def _write(self, answer: Words) -> None:
        item, part = await self._open_message("output_text")
        for word in answer.words:
            piece = f" {word}" if part.text else word
            fits = (text_tokens(part.text) + self._room()) * 4 - len(part.text)
            part.text += piece[:fits]
            await self._delta("response.output_text.delta", item, piece[:fits])
            await self._pause(TEXT_WORD_S / self._options.speed)
            if fits < len(piece):
                self._cut("max_output_tokens")
            if self._wire.faults.content_filter:
                self._cut("content_filter")
            if self._stopping or self._status != "completed":
                break
        done = self._ids(item) | {"content_index": 0}
        await self._wire.send({"type": "response.output_text.done"} | done | {"text": part.text})
        await self._close_part(item, {"type": "text", "text": part.text})

    async def _call(self, answer: Call) -> None:
        item = Item("function_call", status="in_progress", call_id=new_id("call"), name=answer.name)
        await self._open(item)
        fits = max(0, self._room() * 4)
        wanted, half = answer.arguments[:fits], len(answer.arguments) // 2
        for piece in (wanted[:half], wanted[half:]):
            if piece and not self._stopping:
                item.text += piece
                event = {
                    "type": "response.function_call_arguments.delta",
                    "call_id": item.call_id,
                    "delta": piece,
                }
                await self._wire.send(event | self._ids(item))
                await self._pause(TEXT_WORD_S / self._options.speed)
        if len(wanted) < len(answer.arguments):
            self._cut("max_output_tokens")
        done = {"type": "response.function_call_arguments.done", "call_id": item.call_id, "name": item.name}
        await self._wire.send(done | {"arguments": item.text} | self._ids(item))
        await self._close(item)

    async def _open_message(self, kind: str) -> tuple[Item, Part]:
        item, part = Item("message", status="in_progress", role="assistant"), Part(kind)
        await self._open(item)
        item.parts.append(part)
        shown = (
            {"type": "audio", "transcript": ""} if kind == "output_audio" else {"type": "text", "text": ""}
        )
        added = {"type": "response.content_part.added", "content_index": 0, "part": shown}
        await self._wire.send(added | self._ids(item))
        return item, part

    async def _open(self, item: Item) -> None:
        self._item = item
        shown = {"output_index": 0, "item": item.show()}
        await self._wire.send({"type": "response.output_item.added", "response_id": self.id} | shown)
        if self.ask.in_conversation:
            previous = self._conversation.insert(item)
            event = {"type": "conversation.item.added", "previous_item_id": previous, "item": item.show()}
            await self._wire.send(event)

    async def _close_spoken(self, item: Item, part: Part) -> None:
        at = self._ids(item) | {"content_index": 0}
        await self._wire.send({"type": "response.output_audio.done"} | at)
        await self._wire.send(
            {"type": "response.output_audio_transcript.done"} | at | {"transcript": part.text}
        )
        await self._close_part(item, {"type": "audio", "transcript": part.text})

    async def _close_part(self, item: Item, part: Json) -> None:
        event = {"type": "response.content_part.done", "content_index": 0, "part": part}
        await self._wire.send(event | self._ids(item))
        await self._close(item)

    async def _close(self, item: Item) -> None:
        item.status = "completed" if self._status == "completed" else "incomplete"
        if self.ask.in_conversation:
            previous = self._conversation.before(item.id)
            event = {"type": "conversation.item.done", "previous_item_id": previous, "item": item.show()}
            await self._wire.send(event)
        shown = {"output_index": 0, "item": item.show()}
        await self._wire.send({"type": "response.output_item.done", "response_id": self.id} | shown)

    async def _delta(self, kind: str, item: Item, delta: str) -> None:
        await self._wire.send({"type": kind} | self._ids(item) | {"content_index": 0, "delta": delta})

    async def _pause(self, seconds: float) -> None:
        """Wait until `seconds` after the last pause was due, or until the response is stopped."""
        loop = asyncio.get_running_loop()
        self._due_at = max(self._due_at + seconds, loop.time())
        if self._stopping or self._due_at <= loop.time():
            await asyncio.sleep(0)  # a cancel must be read even when nothing is waited for
            return
        self._pausing = loop.create_future()
        timer = loop.call_at(self._due_at, _wake, self._pausing)
        try:
            await self._pausing
        finally:
            timer.cancel()

    def _cut(self, reason: Literal["max_output_tokens", "content_filter"]) -> None:
        if not self._stopping:
            self._status, self._reason = "incomplete", reason

    def _generated(self) -> Generated:
        text, audio = self._reasoning, 0
        if self._item is not None:
            text += text_tokens(self._item.name) + text_tokens(self._item.text)
            text += sum(text_tokens(part.text) for part in self._item.parts)
            audio = sum(part.audio_tokens for part in self._item.parts)
        return Generated(text, audio, self._reasoning)

    def _room(self) -> int:
        """Return how many tokens may still be generated."""
        limit = self.ask.max_output_tokens
        return 1_000_000 if limit is None else max(0, limit - self._generated().total)

    def _usage(self) -> Json | None:
        if self._status == "failed":
            return None
        generated = self._generated()
        if self._status == "cancelled":
            early = self._wire.faults.early_cancel or self._options.early_cancel
            if generated.total == 0 and early != "usage":
                return None if early == "null" else ZERO
            ahead = self._wire.faults.ahead or 0
            generated = Generated(generated.text, generated.audio + ahead, generated.reasoning)
        return response_usage(self._read, self._cached, generated)

    def _ids(self, item: Item) -> Json:
        return {"response_id": self.id, "item_id": item.id, "output_index": 0}

    def _show(self, status: str) -> Json:
        """Return the response object of `response.created` and `response.done`, but for its usage."""
        ended = status != "in_progress" and self._item is not None
        limit = self.ask.max_output_tokens
        fmt: Json = {"type": self.ask.format.name}
        if self.ask.format.name == "audio/pcm":
            fmt["rate"] = 24_000
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": self._details(status),
            "output": [self._item.show()] if ended and self._item else [],
            "conversation_id": self._conversation.id if self.ask.in_conversation else None,
            "output_modalities": self.ask.modalities,
            "max_output_tokens": "inf" if limit is None else limit,
            "audio": {"output": {"format": fmt, "voice": self.ask.voice}},
            "metadata": self.ask.metadata,
        }

    def _details(self, status: str) -> Json | None:
        if status in ("in_progress", "completed"):
            return None
        if status == "failed":
            code = self._wire.faults.fail
            kind = code if code == "insufficient_quota" else "invalid_request_error"
            error = {"type": kind, "code": code, "message": "The response could not be generated."}
            return {"type": "failed", "error": error}
        return {"type": status, "reason": self._reason}


def _wake(pausing: "asyncio.Future[None]") -> None:
    if not pausing.done():
        pausing.set_result(None)
