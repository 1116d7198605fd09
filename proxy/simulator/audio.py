"""The three audio formats of the API, how loud a piece of them is, and a tone to speak with."""

import base64
import functools
import math
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from proxy.simulator.usage import TICKS_PER_MS, VOICE_TOKEN_MS

TONE_HZ = 440  # 22 whole cycles in 50 ms, so pieces join without a click
TONE_PEAK = 6_000


@dataclass(frozen=True, slots=True)
class Format:
    """An audio format; `sample_ticks` is how many 24 kHz ticks one sample lasts."""

    name: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    sample_bytes: int
    sample_ticks: int

    def ticks(self, size: int) -> int:
        """Return how long `size` bytes last, in 24 kHz ticks; half a sample lasts nothing."""
        return size // self.sample_bytes * self.sample_ticks

    def size(self, ticks: int) -> int:
        """Return how many bytes `ticks` take."""
        return ticks // self.sample_ticks * self.sample_bytes


PCM = Format("audio/pcm", 2, 1)
PCMU = Format("audio/pcmu", 1, 3)
PCMA = Format("audio/pcma", 1, 3)
FORMATS = {fmt.name: fmt for fmt in (PCM, PCMU, PCMA)}


def _mu_law(code: int) -> int:
    """Return the linear sample that a G.711 µ-law byte stands for."""
    code = ~code & 0xFF
    size = ((code & 0x0F) * 8 + 132 << (code >> 4 & 7)) - 132
    return -size if code & 0x80 else size


def _a_law(code: int) -> int:
    """Return the linear sample that a G.711 A-law byte stands for."""
    code ^= 0x55
    exponent, size = code >> 4 & 7, (code & 0x0F) * 16 + 8
    if exponent:
        size = size + 256 << exponent - 1
    return size if code & 0x80 else -size


_DECODERS: dict[str, Callable[[int], int]] = {"audio/pcmu": _mu_law, "audio/pcma": _a_law}
_LOUDNESS = {
    name: bytes(min(255, abs(decode(code)) >> 7) for code in range(256)) for name, decode in _DECODERS.items()
}


def peak(data: bytes, fmt: Format) -> int:
    """Return the largest distance from zero in whole samples of `data`, 0 to 32768."""
    if not data:
        return 0
    if fmt is not PCM:
        return max(data.translate(_LOUDNESS[fmt.name])) << 7
    samples = array("h", data)
    if sys.byteorder == "big":
        samples.byteswap()
    return max(max(samples), -min(samples))  # noqa: PLW3301 – flattened it would unpack every sample


def silence(ms: int, fmt: Format = PCM) -> bytes:
    """Return `ms` milliseconds of silence."""
    quiet = {"audio/pcm": b"\0", "audio/pcmu": b"\xff", "audio/pcma": b"\xd5"}[fmt.name]
    return quiet * fmt.size(ms * TICKS_PER_MS)


@functools.cache
def _voice_token(fmt: Format) -> bytes:
    """Return 50 ms of tone: what one audio token sounds like."""
    rate = 24_000 // fmt.sample_ticks
    samples = [
        round(TONE_PEAK * math.sin(2 * math.pi * TONE_HZ * n / rate))
        for n in range(rate * VOICE_TOKEN_MS // 1000)
    ]
    if fmt is PCM:
        return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    decoded = [_DECODERS[fmt.name](code) for code in range(256)]
    return bytes(min(range(256), key=lambda code, at=at: abs(decoded[code] - at)) for at in samples)  # type: ignore[misc]


def tone(ms: int, fmt: Format = PCM) -> bytes:
    """Return `ms` milliseconds of tone, which every voice detection here takes for speech."""
    token = _voice_token(fmt)
    return (token * math.ceil(ms / VOICE_TOKEN_MS))[: fmt.size(ms * TICKS_PER_MS)]


@functools.lru_cache(maxsize=256)
def spoken(tokens: int, fmt: Format) -> str:
    """Return `tokens` × 50 ms of tone in base64, as an audio delta carries it."""
    return base64.b64encode(_voice_token(fmt) * tokens).decode()
