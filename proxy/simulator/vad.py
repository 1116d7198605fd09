"""The input audio buffer and the detection of speech in it, by loudness alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from proxy.simulator.audio import PCM, Format, peak
from proxy.simulator.usage import TICKS_PER_MS

FRAME_MS = 20
FRAME_TICKS = FRAME_MS * TICKS_PER_MS
PEAK_AT_FULL_THRESHOLD = 2_000  # `threshold` 0.5, the default, asks for a peak of 1000
EAGERNESS_MS = {"low": 800, "medium": 500, "auto": 500, "high": 200}


@dataclass(frozen=True, slots=True)
class Heard:
    """Speech began or ended `at_ms` after the start of the session, or was waited for in vain."""

    what: Literal["started", "stopped", "timed_out"]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Detection:
    """When loudness is taken for speech; made from a session's `turn_detection`."""

    peak_min: int
    prefix_ms: int
    silence_ms: int
    idle_ms: int | None = None  # how long speech is waited for after a response

    @classmethod
    def of(cls, turn_detection: dict[str, Any]) -> "Detection":
        if turn_detection["type"] == "semantic_vad":
            eagerness = turn_detection.get("eagerness") or "auto"
            return cls(PEAK_AT_FULL_THRESHOLD // 2, 300, EAGERNESS_MS[eagerness])
        return cls(
            round(PEAK_AT_FULL_THRESHOLD * turn_detection["threshold"]),
            turn_detection["prefix_padding_ms"],
            turn_detection["silence_duration_ms"],
            turn_detection.get("idle_timeout_ms"),
        )


class InputBuffer:
    """Audio that was appended and not committed yet. Only its length is kept, never the sound."""

    def __init__(self) -> None:
        self.format: Format = PCM
        self.detection: Detection | None = None
        self.speaking = False
        self.position_ticks = 0  # all audio of the session so far
        self._ticks = 0  # whole frames in the buffer
        self._rest = b""  # bytes behind the last whole frame (detecting) or sample (not detecting)
        self._quiet_ms = 0
        self.waiting_from_ticks: int | None = None  # for the user to speak

    @property
    def ticks(self) -> int:
        """How long the buffered audio lasts."""
        return self._ticks + self.format.ticks(len(self._rest))

    def configure(self, fmt: Format, detection: Detection | None) -> None:
        """Take over changed settings; a detection that changes starts anew."""
        if fmt is not self.format:
            self._settle_rest()
            self.format = fmt
        if detection != self.detection:
            self.detection, self.speaking, self._quiet_ms = detection, False, 0

    def append(self, data: bytes) -> Iterator[Heard]:
        """Add audio; yields what is heard at the moment it is heard, so that `take` fits in between."""
        self._rest += data
        if self.detection is None:
            self._settle_rest()
            return
        size = self.format.size(FRAME_TICKS)
        data, start = self._rest, 0
        self._rest = b""
        while len(data) - start >= size and self.detection is not None:
            heard = self._frame(data[start : start + size], self.detection)
            start += size
            if heard is not None:
                yield heard
        self._rest = data[start:]

    def wait(self) -> None:
        """Begin to wait for the user to speak."""
        self.waiting_from_ticks = self.position_ticks

    def take(self) -> int:
        """Empty the buffer and return how long it was, in ticks."""
        ticks = self.ticks
        self.clear()
        return ticks

    def clear(self) -> None:
        self._settle_rest()
        self._ticks, self.speaking, self._quiet_ms = 0, False, 0

    def _settle_rest(self) -> None:
        """Count the rest as heard; half a sample stays."""
        whole = len(self._rest) // self.format.sample_bytes * self.format.sample_bytes
        ticks = self.format.ticks(whole)
        self._ticks += ticks
        self.position_ticks += ticks
        self._rest = self._rest[whole:]

    def _frame(self, frame: bytes, detection: Detection) -> Heard | None:
        loud = peak(frame, self.format) >= detection.peak_min
        prefix_ticks = min(self._ticks, detection.prefix_ms * TICKS_PER_MS)
        began_ticks = self.position_ticks
        self.position_ticks += FRAME_TICKS
        if not self.speaking:
            self._ticks = prefix_ticks + FRAME_TICKS  # before speech, only the padding is kept
            if loud:
                self.speaking, self._quiet_ms, self.waiting_from_ticks = True, 0, None
                return Heard("started", (began_ticks - prefix_ticks) // TICKS_PER_MS)
            return self._waited(detection)
        self._ticks += FRAME_TICKS
        self._quiet_ms = 0 if loud else self._quiet_ms + FRAME_MS
        if self._quiet_ms < detection.silence_ms:
            return None
        self.speaking = False
        return Heard("stopped", self.position_ticks // TICKS_PER_MS)

    def _waited(self, detection: Detection) -> Heard | None:
        """Take the silence since the waiting began for an item, once it has lasted too long."""
        if detection.idle_ms is None or self.waiting_from_ticks is None:
            return None
        silent_ticks = self.position_ticks - self.waiting_from_ticks
        if silent_ticks < detection.idle_ms * TICKS_PER_MS:
            return None
        self.waiting_from_ticks, self._ticks = None, silent_ticks
        return Heard("timed_out", self.position_ticks // TICKS_PER_MS)
