"""Everything that can be set about a simulator."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.simulator.faults import Faults
from proxy.simulator.prices import RESPONSE_PRICES, TRANSCRIPTION_PRICES, undated

DEFAULT_MODEL = "gpt-realtime-2.1"
CONTEXT_TOKENS = 128_000
CONTEXT_TOKENS_SMALL = 28_224  # of a 32 k context, 4,096 are kept for the answer
SMALL_CONTEXTS = frozenset({"gpt-realtime", "gpt-realtime-mini", "gpt-realtime-1.5"})


@dataclass(frozen=True, slots=True)
class Options:
    """How a simulator behaves. Seconds are real seconds; `speed` divides the time that speech takes."""

    api_keys: frozenset[str] = frozenset({"sk-simulator"})
    speed: float = 20.0  # audio leaves so many times faster than it plays; inf for no pacing at all
    think_s: float = 0.02  # from response.created to the first output
    transcription_delay_s: float = 0.02  # from committed to the transcription
    rate_limits_delay_s: float = 0.0  # from response.done to rate_limits.updated
    chunk_tokens: int = 4  # audio tokens (50 ms each) in one delta, at most
    cache_step: int = 64
    cache_minimum: int = 64
    context_tokens: int | None = None  # None: by model
    early_cancel: str = "zero"  # usage of a response cancelled before any output: zero, null or usage
    beta: bool = False  # speak the beta event names instead of refusing the beta header
    require_model: bool = False  # refuse a URL with neither model nor intent, as OpenAI does
    extra_models: frozenset[str] = frozenset()  # accepted although they have no price here
    session_s_max: float = 3_600.0
    refuse_http: tuple[int, str] | None = None  # answer every handshake with this status and body
    faults: Faults = field(default_factory=Faults)  # of every session; `?sim=` adds to them
    sessions_max: int = 10_000
    message_bytes_max: int = 16 * 1024 * 1024
    ping_interval_s: float | None = 20.0
    clock: Callable[[], float] = time.time  # of what is billed
    admin_keys: frozenset[str] = frozenset({"sk-admin-simulator"})  # may read costs and usage
    reporting_delay_s: float = 0.0  # so much later costs and usage show what was billed
    tells_quantities: bool = True  # beside costs, as OpenAI may or may not
    billed_as: Mapping[str, str] = field(default_factory=dict)  # a model without a price: by which one's

    def __post_init__(self) -> None:
        if self.early_cancel not in ("zero", "null", "usage"):
            raise ValueError(f"early_cancel cannot be {self.early_cancel!r}: zero, null or usage")

    def knows_model(self, model: str) -> bool:
        return undated(model) in RESPONSE_PRICES or model in self.extra_models

    def knows_transcriber(self, model: str) -> bool:
        return undated(model) in TRANSCRIPTION_PRICES or model in self.extra_models

    def context_of(self, model: str) -> int:
        """Return how many input tokens `model` reads before the oldest items are dropped."""
        if self.context_tokens is not None:
            return self.context_tokens
        return CONTEXT_TOKENS_SMALL if undated(model) in SMALL_CONTEXTS else CONTEXT_TOKENS
