"""What is observed of one session while it runs: its voice, its relaying, and what was refused to it."""

from collections.abc import Iterable

from proxy.core.commands import Explain, Message
from proxy.core.events import Side
from proxy.core.refusal import Refusal
from proxy.core.voice import Answered, FirstAudio, Interrupted, Observation, Spoken, Unheard
from proxy.observe.metrics import Metrics


class Listening:
    """Puts what one session shows into the metrics. Exemplars name the session."""

    __slots__ = ("_exemplar", "_metrics", "_tenant")

    def __init__(self, metrics: Metrics, tenant: str, session_id: str) -> None:
        """`tenant` is the name that people know."""
        self._metrics = metrics
        self._tenant = tenant
        self._exemplar = {"session": session_id}

    def observed(self, observations: Iterable[Observation]) -> None:
        """Count what the conversation's voice has shown."""
        for one in observations:
            self._observe(one)

    def _observe(self, one: Observation) -> None:
        metrics, model = self._metrics, self._metrics.models.of(one.model)
        match one:
            case FirstAudio(seconds=seconds):
                metrics.first_audio.labels(model).observe(seconds, self._exemplar)
            case Answered(seconds=seconds):
                metrics.response_seconds.labels(model).observe(seconds, self._exemplar)
            case Spoken(ms=ms):
                metrics.output_audio.labels(self._who, model).inc(ms / 1_000)
            case Unheard(ms=ms):
                metrics.unheard_audio.labels(self._who, model).inc(ms / 1_000)
            case Interrupted():
                metrics.interruptions.labels(self._who, model).inc()

    @property
    def _who(self) -> str:
        return self._metrics.tenants.of(self._tenant)

    def relayed(self, sender: Side, seconds: float) -> None:
        """Count how long a read of one side's bytes took until they were written on."""
        self._metrics.relay_seconds.labels(sender.value).observe(seconds)

    def sent(self, message: Message) -> None:
        """Look at a message of our own: it may say no."""
        if isinstance(message, Explain):
            self._metrics.denied(message.refusal)

    def cut(self, refusal: Refusal) -> None:
        """Count that the session was ended in the middle."""
        self._metrics.cut(refusal)
