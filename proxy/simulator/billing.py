"""Sends what is billed, and writes it down first: the only door through which usage leaves."""

import copy
from decimal import Decimal

from proxy.simulator.faults import Faults
from proxy.simulator.messages import Json, new_id
from proxy.simulator.prices import response_usd, transcription_usd
from proxy.simulator.truth import NOBODY, TruthFile
from proxy.simulator.usage import Counts, Generated, response_usage
from proxy.simulator.wire import Wire

ZERO = response_usage(Counts(), Counts(), Generated())
MISMATCH = 7  # tokens that `totals_mismatch` takes off each total


def bend(usage: Json | None, faults: Faults) -> tuple[Json | None, str | None]:
    """Return the usage as the faults want it on the wire, and the name of the fault that did it."""
    if usage is None:
        return None, None
    if faults.omit_usage or faults.null_usage:
        return None, "omit_usage" if faults.omit_usage else "null_usage"
    if faults.zero_usage:
        return copy.deepcopy(ZERO), "zero_usage"
    bent = copy.deepcopy(usage)
    if faults.no_details:
        del bent["input_token_details"], bent["output_token_details"]
        return bent, "no_details"
    if faults.cached_without_details:
        del bent["input_token_details"]["cached_tokens_details"]
        return bent, "cached_without_details"
    if faults.totals_mismatch:
        for total in ("total_tokens", "input_tokens", "output_tokens"):
            bent[total] = max(0, bent[total] - MISMATCH)
        return bent, "totals_mismatch"
    return bent, None


class Billing:
    """The bills of one session, in the truth file and on the wire."""

    def __init__(
        self, wire: Wire, truth: TruthFile, session_id: str, payer: tuple[str, str] = NOBODY
    ) -> None:
        self._wire = wire
        self._truth = truth
        self._session = session_id
        self._payer = payer

    async def response_created(self, response: Json, model: str) -> None:
        """Send `response.created`."""
        await self._wire.ready()
        self._truth.write("opened", self._session, response["id"], model=model, status="in_progress")
        await self._wire.send({"type": "response.created", "response": response | {"usage": None}})

    async def response_done(self, response: Json, model: str, usage: Json | None) -> None:
        """Send `response.done` for a finished response; its `usage` is added here."""
        faults = self._wire.faults
        if faults.abort_before_done:
            self._wire.abort()
        await self._response_done(response, model, usage, duplicate=False)
        if faults.duplicate_done:
            await self._response_done(response, model, usage, duplicate=True)
        if faults.unknown_done:
            await self._response_done(response | {"id": new_id("resp")}, model, usage, duplicate=False)
        if faults.abort_after_done:
            self._wire.abort()

    async def _response_done(
        self, response: Json, model: str, usage: Json | None, *, duplicate: bool
    ) -> None:
        sent, fault = bend(usage, self._wire.faults)
        usd: Decimal | None = None
        if sent is not None and usage is not None:
            usd = response_usd(model, ZERO if fault == "zero_usage" else usage)
        shown = response | ({} if fault == "omit_usage" else {"usage": sent})
        await self._wire.ready()
        self._truth.write(
            "response",
            self._session,
            response["id"],
            model=model,
            status=response["status"],
            usage=sent,
            usd=usd,
            duplicate=duplicate,
            fault=fault,
            real=usage if fault not in (None, "zero_usage") else None,
            payer=self._payer,
        )
        await self._wire.send({"type": "response.done", "response": shown})

    async def transcription_done(self, event: Json, model: str, usage: Json) -> None:
        """Send `conversation.item.input_audio_transcription.completed`; its `usage` is added here."""
        fault = "omit_transcription_usage" if self._wire.faults.omit_transcription_usage else None
        await self._wire.ready()
        self._truth.write(
            "transcription",
            self._session,
            f"{event['item_id']}:{event['content_index']}",
            model=model,
            status="completed",
            usage=None if fault else usage,
            usd=None if fault else transcription_usd(model, usage),
            fault=fault,
            real=usage if fault else None,
            payer=self._payer,
        )
        await self._wire.send(event | ({} if fault else {"usage": usage}))
