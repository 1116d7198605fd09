"""Input transcription: what the recogniser says about committed audio, some time later."""

import asyncio

from proxy.simulator.billing import Billing
from proxy.simulator.conversation import Item
from proxy.simulator.messages import Json
from proxy.simulator.options import Options
from proxy.simulator.prices import TRANSCRIPTION_PRICES, MinutePrice, undated
from proxy.simulator.usage import TICKS_PER_MS, transcription_usage
from proxy.simulator.wire import Wire

KIND = "conversation.item.input_audio_transcription"


async def transcribe(
    wire: Wire, billing: Billing, options: Options, settings: Json, item: Item, ticks: int
) -> None:
    """Send the transcription of `item`, `ticks` long, by the `transcription` settings of its time."""
    faults = wire.faults
    late = faults.late_transcription
    await asyncio.sleep(options.transcription_delay_s if late is None else late)
    at: Json = {"item_id": item.id, "content_index": 0}
    if faults.fail_transcription:
        error = {
            "type": "transcription_error",
            "code": "audio_unintelligible",
            "message": "The audio could not be transcribed.",
            "param": None,
        }
        await wire.send({"type": f"{KIND}.failed"} | at | {"error": error})
        return
    transcript = f"This is what I said for {ticks // TICKS_PER_MS} milliseconds."
    words = transcript.split()
    for n, word in enumerate(words):
        await wire.send({"type": f"{KIND}.delta"} | at | {"delta": f" {word}" if n else word})
    item.parts[0].text = transcript
    by_duration = isinstance(TRANSCRIPTION_PRICES.get(undated(settings["model"])), MinutePrice)
    usage = transcription_usage(ticks, settings.get("prompt") or "", transcript, by_duration=by_duration)
    await billing.transcription_done(
        {"type": f"{KIND}.completed"} | at | {"transcript": transcript}, settings["model"], usage
    )
