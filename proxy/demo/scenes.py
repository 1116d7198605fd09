"""The conversations of the demo. Each yields its turns as they are over."""

import base64
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from proxy.demo.caller import Caller, Json

MANUAL: Json = {
    "audio": {"input": {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}},
    "instructions": (
        "You answer the phone of a bakery. Be brief and friendly. You know the opening hours, the prices and"
        " what is in the oven. You take orders until six, note the name and the number of pieces,"
        " repeat the order once and say the price. You do not give discounts and do not discuss politics."
        " If you do not know something, say so and offer to call back."
    ),
}
DETECTED: Json = {
    "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}},
    "instructions": "You read long stories to children. You do not mind being interrupted.",
}
WITH_TOOLS: Json = {
    **MANUAL,
    "tools": [
        {
            "type": "function",
            "name": "look_up_order",
            "description": "Find an order by its number.",
            "parameters": {"type": "object", "properties": {"number": {"type": "string"}}},
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said from both sides, and the `response` of its `response.done` (None: nobody heard it).

    `refusal` is what the client was told in its place.
    """

    said: str
    heard_s: float
    response: Json | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """A conversation: who pays, what it shows, and how it goes."""

    tenant: str
    title: str
    tags: str
    settings: Json
    play: Callable[[Caller], AsyncIterator[Turn]]
    budget_usd: str | None = None  # of its tenant, a day


async def order_bread(caller: Caller) -> AsyncIterator[Turn]:
    for seconds in (2.0, 3.5, 1.5, 2.5):
        await caller.say(seconds)
        await caller.commit()
        done = await caller.answer()
        yield Turn(f"speaks {seconds} s", caller.audio_s, done["response"])


async def interrupt(caller: Caller) -> AsyncIterator[Turn]:
    for patience, wish in ((2, "asks"), (4, "asks again")):
        await caller.say(1.5)
        await caller.pause(0.5)
        caller.audio_s = 0.0
        for _ in range(patience):
            await caller.until("response.output_audio.delta")
        await caller.say(1.0)  # barges in: turn detection cancels the answer
        done = await caller.until("response.done")
        yield Turn(f"{wish}, interrupts", caller.audio_s, done["response"])
        await caller.pause(0.5)
        caller.audio_s = 0.0
        done = await caller.until("response.done")
        yield Turn("has the floor", caller.audio_s, done["response"])


async def use_tools(caller: Caller) -> AsyncIterator[Turn]:
    await caller.write("Use the tool to look up order 42.")
    done = await caller.answer()
    yield Turn("asks for order 42", caller.audio_s, done["response"])
    call = done["response"]["output"][0]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"rolls": 12}'}
    await caller.send("conversation.item.create", item=output)
    done = await caller.answer()
    yield Turn("the app answers", caller.audio_s, done["response"])
    await caller.write("Is this the cake?", picture())
    done = await caller.answer()
    yield Turn("sends a picture", caller.audio_s, done["response"])


async def hang_up(caller: Caller) -> AsyncIterator[Turn]:
    await caller.write("Tell me everything in 60 words.")
    await caller.send("response.create")
    caller.audio_s = 0.0
    for _ in range(4):
        await caller.until("response.output_audio.delta")
    await caller.hang_up()
    yield Turn("hangs up meanwhile", caller.audio_s, None)


async def talk_without_end(caller: Caller) -> AsyncIterator[Turn]:
    await caller.write("Tell me everything in 900 words.")
    refusal = await caller.refused()
    yield Turn("lets it talk for ever", caller.audio_s, None, refusal)


def picture() -> str:
    """Return a small picture as a data URL: an orange square."""
    side = 64
    rows = b"".join(b"\0" + b"\xf0\x90\x30" * side for _ in range(side))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


SCENES = (
    Scene(
        "Bakery",
        "A call. Every turn bills all that was said before, part of it cached.",
        "app=phone, team=sales",
        MANUAL,
        order_bread,
    ),
    Scene(
        "Storyland",
        "Interruptions. An answer cut off is billed as far as it got.",
        "app=stories",
        DETECTED,
        interrupt,
    ),
    Scene(
        "Bakery",
        "A tool call and a picture.",
        "app=chat, team=sales",
        WITH_TOOLS,
        use_tools,
    ),
    Scene(
        "Storyland",
        "A hang-up in mid-answer. Talkmeter stays on the line for the bill.",
        "app=stories",
        MANUAL,
        hang_up,
    ),
    Scene(
        "Hotline",
        "A budget of $0.02. It is cut inside the answer that spends it.",
        "app=phone",
        MANUAL,
        talk_without_end,
        budget_usd="0.02",
    ),
)
