"""The sending side of one connection, with everything that can be made to go wrong in it."""

import json
import secrets
import socket
import struct

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from proxy.simulator.audio import Format, spoken
from proxy.simulator.beta import to_beta
from proxy.simulator.faults import Faults
from proxy.simulator.messages import Json, new_id

RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST instead of FIN


class Gone(ConnectionError):
    """The connection was ended by a fault; nothing can be sent any more."""


class Wire:
    """Sends events as JSON text, in the GA or the beta shape."""

    def __init__(self, connection: ServerConnection, faults: Faults, *, beta: bool) -> None:
        self.connection = connection
        self.faults = faults
        self.beta = beta
        self._audio_sent = 0

    async def send(self, event: Json) -> None:
        """Send an event; raises ConnectionClosed or Gone when there is nobody to send it to."""
        shaped = to_beta(event) if self.beta else event
        if shaped is None:
            return
        await self.ready()
        text = json.dumps(
            {"type": shaped.pop("type"), "event_id": new_id("event")} | shaped, separators=(",", ":")
        )
        await self._send(text)

    async def send_audio(self, ids: Json, tokens: int, fmt: Format) -> None:
        """Send an audio delta of `tokens` × 50 ms; faults that count deltas strike behind it."""
        delta = spoken(tokens, fmt)
        event: Json = {"type": "response.output_audio.delta"} | ids | {"delta": delta}
        if self.faults.obfuscation:
            event["obfuscation"] = secrets.token_hex(8)
        await self.send(event)
        self._audio_sent += 1
        match self._audio_sent:
            case self.faults.abort_after_audio:
                self.abort()
            case self.faults.drop_after_audio:
                self.drop()
            case self.faults.close_after_audio:
                await self.connection.close(1011, "server_error.internal_error")
                raise Gone("closed by a fault")

    async def ready(self) -> None:
        """Return when something can be sent now; with a stall, never before the connection ends."""
        stall = self.faults.stall_after_audio
        if stall is not None and self._audio_sent >= stall:
            await self.connection.wait_closed()
        if self.connection.state is not State.OPEN:
            raise Gone("the connection is closed")

    def abort(self) -> None:
        """Reset the TCP connection; bytes on their way may be destroyed. Always raises Gone."""
        stream: socket.socket = self.connection.transport.get_extra_info("socket")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.transport.abort()
        raise Gone("aborted by a fault")

    def drop(self) -> None:
        """End the TCP connection without a close frame, behind what was sent. Always raises Gone."""
        self.connection.transport.close()
        raise Gone("dropped by a fault")

    async def _send(self, text: str) -> None:
        size = self.faults.fragment
        if size is None or len(text) <= size:
            await self.connection.send(text)
        else:
            await self.connection.send([text[at : at + size] for at in range(0, len(text), size)])
