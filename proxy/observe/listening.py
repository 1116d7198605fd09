"""What is observed of one session while it runs: its voice, its relaying, and what was refused to it."""

import logging
from collections.abc import Iterable

from proxy.core.commands import Explain, Message
from proxy.core.events import Side
from proxy.core.refusal import Refusal
from proxy.core.voice import Answered, FirstAudio, Interrupted, Observation, Spoken, Unheard
from proxy.observe.metrics import Metrics

logger = logging.getLogger(__name__)


class Listening:
    """Puts what one session shows into the metrics. Exemplars name the session."""

    __slots__ = ("_metrics", "_session_id", "_tenant")

    def __init__(self, metrics: Metrics, tenant: str, session_id: str) -> None:
        """`tenant` is the name that people know."""
        self._metrics = metrics
        self._tenant = tenant
        self._session_id = session_id

    def observed(self, observations: Iterable[Observation]) -> None:
        """Count what the conversation's voice has shown."""
        for one in observations:
            self._observe(one)

    def _observe(self, one: Observation) -> None:
        metrics, model = self._metrics, self._metrics.models.of(one.model)
        match one:
            case FirstAudio(seconds=seconds):
                metrics.series(metrics.first_audio, model).observe(seconds, {"session": self._session_id})
            case Answered(seconds=seconds):
                metrics.series(metrics.response_seconds, model).observe(
                    seconds, {"session": self._session_id}
                )
            case Spoken(ms=ms):
                self._spoken(model, ms)
            case Unheard(ms=ms):
                metrics.series(metrics.unheard_audio, self._who, model).inc(ms / 1_000)
            case Interrupted():
                metrics.series(metrics.interruptions, self._who, model).inc()

    def _spoken(self, model: str, ms: int) -> None:
        """Count audio; let begin at 0 what may be counted of it, since nobody sees a counter begin at 1."""
        metrics, who = self._metrics, self._who
        metrics.series(metrics.output_audio, who, model).inc(ms / 1_000)
        metrics.series(metrics.unheard_audio, who, model)
        metrics.series(metrics.interruptions, who, model)

    @property
    def _who(self) -> str:
        return self._metrics.tenants.of(self._tenant)

    def unread(self, problem: str) -> None:
        """Tell that the upstream said something that was not understood: it may have billed something."""
        self._metrics.unread.inc()
        facts = {"session": self._session_id, "tenant": self._tenant, "problem": problem}
        logger.warning("a message of the upstream cannot be read", extra=facts)

    def relayed(self, sender: Side, seconds: float) -> None:
        """Count how long a read of one side's bytes took until they were written on."""
        metrics = self._metrics
        metrics.series(metrics.relay_seconds, sender.value).observe(seconds)

    def sent(self, message: Message) -> None:
        """Look at a message of our own: it may say no."""
        if isinstance(message, Explain):
            self._metrics.denied(message.refusal)

    def cut(self, refusal: Refusal) -> None:
        """Count that the session was ended in the middle."""
        self._metrics.cut(refusal)
