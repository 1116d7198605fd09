"""A small Realtime client: it speaks, listens, and asks Talkmeter what that cost."""

import array
import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

SAMPLES_PER_S = 24_000
CHUNK_MS = 100
EVENT_S_MAX = 30.0
BOOKED_S_MAX = 20.0

Json = dict[str, Any]


class Refused(RuntimeError):
    """The conversation was ended by an `error` event, whose message this is."""


def speech(seconds: float) -> bytes:
    """Return `seconds` of a tone as PCM: to turn detection it is somebody speaking."""
    count = int(seconds * SAMPLES_PER_S)
    return array.array("h", (int(9_000 * math.sin(n / 12)) for n in range(count))).tobytes()


class Caller:
    """One conversation through the proxy."""

    def __init__(self, socket: ClientConnection, http: aiohttp.ClientSession, session_url: str) -> None:
        self._socket = socket
        self._http = http
        self._session_url = session_url
        self.audio_s = 0.0  # that the model has spoken since `answer` began

    @classmethod
    @asynccontextmanager
    async def calling(cls, base_url: str, key: str, tags: str, settings: Json) -> AsyncIterator["Caller"]:
        """Open a session at `base_url` (http…/v1) with `settings`; it closes with the block."""
        headers = {"Authorization": f"Bearer {key}", "Talkmeter-Tags": tags, "Talkmeter-User": "demo-caller"}
        url = base_url.replace("http", "ws", 1) + "/realtime?model=gpt-realtime-2.1"
        root = base_url.removesuffix("/v1")
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http,
            connect(url, additional_headers=headers, compression=None, proxy=None, max_size=None) as socket,
        ):
            assert socket.response is not None
            session_id = socket.response.headers["Talkmeter-Session"]
            caller = cls(socket, http, f"{root}/talkmeter/v1/sessions/{session_id}")
            await caller.send("session.update", session={"type": "realtime", **settings})
            await caller.until("session.updated")
            yield caller

    async def send(self, kind: str, **fields: object) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def until(self, *kinds: str) -> Json:
        """Return the next event of one of `kinds`, after reading past all others."""
        async with asyncio.timeout(EVENT_S_MAX):
            while True:
                event: Json = json.loads(await self._socket.recv())
                if event["type"] == "response.output_audio.delta":
                    self.audio_s += len(event["delta"]) * 3 / 4 / (2 * SAMPLES_PER_S)
                if event["type"] == "error":
                    raise Refused(event["error"]["message"])
                if event["type"] in kinds:
                    return event

    async def say(self, seconds: float) -> None:
        """Speak: audio in the pieces that a microphone gives."""
        audio = speech(seconds)
        step = CHUNK_MS * SAMPLES_PER_S * 2 // 1_000
        for at in range(0, len(audio), step):
            await self.send(
                "input_audio_buffer.append", audio=base64.b64encode(audio[at : at + step]).decode()
            )

    async def pause(self, seconds: float) -> None:
        """Be silent, so that turn detection takes the turn to be over."""
        silence = base64.b64encode(bytes(int(seconds * SAMPLES_PER_S) * 2)).decode()
        await self.send("input_audio_buffer.append", audio=silence)

    async def write(self, text: str, image: str | None = None) -> None:
        """Add a message with text and perhaps a picture (a data URL) to the conversation."""
        content: list[Mapping[str, str]] = [{"type": "input_text", "text": text}]
        if image:
            content.append({"type": "input_image", "image_url": image})
        await self.send(
            "conversation.item.create", item={"type": "message", "role": "user", "content": content}
        )

    async def commit(self) -> None:
        await self.send("input_audio_buffer.commit")

    async def answer(self) -> Json:
        """Ask for a response and return its `response.done`."""
        self.audio_s = 0.0
        await self.send("response.create")
        return await self.until("response.done")

    async def refused(self) -> str:
        """Ask for a response that will not be allowed to end; return what the client is told."""
        self.audio_s = 0.0
        await self.send("response.create")
        try:
            await self.until("response.done")
        except Refused as refused:
            return str(refused)
        return ""

    async def hang_up(self) -> None:
        """Drop the connection as a lost phone does: without a word."""
        self._socket.transport.abort()

    async def bill(self, response_id: str | None) -> Json:
        """Return what Talkmeter says of this session once it has booked that response.

        Without an id: once the session is over, which is after the bill of what was left open.
        """
        async with asyncio.timeout(BOOKED_S_MAX):
            while True:
                async with self._http.get(self._session_url) as reply:
                    told: Json = await reply.json()
                if reply.status == 200 and self._is_booked(told, response_id):
                    return told
                await asyncio.sleep(0.02)

    @staticmethod
    def _is_booked(told: Json, response_id: str | None) -> bool:
        if response_id is None:
            return not told["live"] and bool(told["turns"])
        return any(turn["subject_id"] == response_id for turn in told["turns"])
