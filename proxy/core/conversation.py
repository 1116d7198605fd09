"""What is known of a conversation at the upstream: its settings, and what its context costs next.

Voice models bill the whole conversation again at every response. The input of the next one is
predicted from the last bill plus what was added since.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.core import events
from proxy.core.estimate import IMAGE_TOKENS, USER_AUDIO_MS_PER_TOKEN, Counts, audio_ms, text_tokens
from proxy.core.usage import Meter, Usage

PCM_BYTES_PER_S = 48_000

_MODALITIES = (
    (Meter.TEXT_IN, Meter.TEXT_IN_CACHED, Meter.TEXT_OUT),
    (Meter.AUDIO_IN, Meter.AUDIO_IN_CACHED, Meter.AUDIO_OUT),
    (Meter.IMAGE_IN, Meter.IMAGE_IN_CACHED, None),
)


@dataclass(slots=True)
class Settings:
    """What the upstream says the session is."""

    model: str | None
    transcription_model: str | None = None
    answers_by_itself: bool = False  # turn detection starts responses nobody asks for
    output_bytes_per_s: int = PCM_BYTES_PER_S

    def take(self, event: events.SessionConfigured) -> None:
        """Take over what `event` tells; what it leaves out stays."""
        self.model = event.model or self.model
        if event.transcription_told:
            self.transcription_model = event.transcription_model
        if event.answers_by_itself is not None:
            self.answers_by_itself = event.answers_by_itself
        self.output_bytes_per_s = event.output_bytes_per_s or self.output_bytes_per_s


@dataclass(slots=True)
class UserAudio:
    """How much the user has said since the last commit."""

    bytes_per_s: int
    chars: int = 0  # base64 characters appended
    _start_ms: int | None = None  # of speech, as turn detection hears it
    _speech_ms: int | None = None

    def speech(self, start_ms: int | None, end_ms: int | None) -> None:
        """Note what turn detection heard: milliseconds into the session's input audio."""
        if start_ms is not None:
            self._start_ms = start_ms
        if end_ms is not None and self._start_ms is not None:
            self._speech_ms = max(0, end_ms - self._start_ms)

    @property
    def committed_ms(self) -> int:
        """Return the milliseconds that a commit would take now.

        That is what turn detection took for speech (silence is not billed), else all of it.
        """
        return audio_ms(self.chars, self.bytes_per_s) if self._speech_ms is None else self._speech_ms

    def commit(self) -> int:
        """Return the milliseconds that were committed, and start anew."""
        ms = self.committed_ms
        self.clear()
        return ms

    def clear(self) -> None:
        """Start anew."""
        self.chars, self._start_ms, self._speech_ms = 0, None, None


Input = (
    events.SessionUpdateAsked
    | events.ItemAsked
    | events.InputAudio
    | events.SpeechHeard
    | events.InputTimedOut
    | events.InputCleared
)


@dataclass(slots=True)
class Conversation:
    """What the upstream would bill as input now. Counts are tokens."""

    user_audio: UserAudio = field(default_factory=lambda: UserAudio(PCM_BYTES_PER_S))
    instructions: int = 0
    added: Counts = field(default_factory=dict)  # since the last bill
    billed: Usage | None = None  # of the last response that became part of the conversation
    cached_share: tuple[int, int] = (0, 1)  # cached ÷ what could have been: the bill before

    def add(self, meter: Meter, tokens: int) -> None:
        """Note that `tokens` joined the conversation."""
        self.added[meter] = self.added.get(meter, 0) + tokens

    def take(self, event: Input) -> None:
        """Note what the client, or turn detection, put into the conversation."""
        match event:
            case events.SessionUpdateAsked():
                self._instruct(text_tokens(event.text_chars))
            case events.ItemAsked():
                self.added = _merge(self.added, self.brought(event))
            case events.InputAudio():
                self.user_audio.chars += event.chars
            case events.SpeechHeard() | events.InputTimedOut():
                self.user_audio.speech(event.start_ms, event.end_ms)
            case events.InputCleared():
                self.user_audio.clear()

    def brought(self, event: events.ItemAsked | events.ResponseAsked) -> Counts:
        """Return the input meters of what the client sends along. Items it refers to are counted already."""
        spoken_ms = audio_ms(event.audio_chars, self.user_audio.bytes_per_s)
        tokens = {
            Meter.TEXT_IN: text_tokens(event.text_chars),
            Meter.AUDIO_IN: spoken_ms // USER_AUDIO_MS_PER_TOKEN,
            Meter.IMAGE_IN: event.images * IMAGE_TOKENS,
        }
        return {meter: n for meter, n in tokens.items() if n}

    def _instruct(self, tokens: int) -> None:
        """Note how long the instructions and tools are now; what was billed has the former ones in it."""
        if self.billed is not None:
            self.add(Meter.TEXT_IN, max(0, tokens - self.instructions))
        self.instructions = tokens or self.instructions

    def commit(self) -> int:
        """Let the user's audio join the conversation; return its length in milliseconds."""
        ms = self.user_audio.commit()
        self.add(Meter.AUDIO_IN, ms // USER_AUDIO_MS_PER_TOKEN)
        return ms

    def bill(self, usage: Usage) -> None:
        """Take over what the provider counted, in place of what was predicted."""
        if not usage.input_tokens:
            return
        if self.billed and (before := self.billed.input_tokens):
            self.cached_share = (_cached(usage), before)
        self.billed = usage
        self.added = {}

    def predict(self, brought: Mapping[Meter, int] | None = None) -> Counts:
        """Return the input meters of the next response, which has the input `brought` to itself."""
        before = self._kept() if self.billed is not None else {Meter.TEXT_IN: self.instructions}
        joined = _merge(before, self.added)
        return _merge(joined, brought) if brought else joined

    def _kept(self) -> Counts:
        """Return the last bill as input: its context, partly cached, and its answer, never cached."""
        assert self.billed is not None
        counts = self.billed.counts
        cached, before = self.cached_share
        kept: Counts = {}
        for fresh, stored, out in _MODALITIES:
            context = counts.get(fresh, 0) + counts.get(stored, 0)
            hit = min(context, context * cached // before)
            kept[stored] = hit
            kept[fresh] = context - hit + (counts.get(out, 0) if out else 0)
        return kept


def _cached(usage: Usage) -> int:
    return sum(usage.counts.get(stored, 0) for _, stored, _ in _MODALITIES)


def _merge(first: Mapping[Meter, int], second: Mapping[Meter, int]) -> Counts:
    return {meter: first.get(meter, 0) + second.get(meter, 0) for meter in first.keys() | second.keys()}
