"""The rules for lines of the bill that come with the tables."""

from proxy.core.line_items import Rule
from proxy.core.usage import Meter

_PARTS = {
    Meter.TEXT_IN: ("text input",),
    Meter.TEXT_IN_CACHED: ("cached text input", "text cached input"),
    Meter.AUDIO_IN: ("audio input",),
    Meter.AUDIO_IN_CACHED: ("cached audio input", "audio cached input"),
    Meter.IMAGE_IN: ("image input",),
    Meter.IMAGE_IN_CACHED: ("cached image input", "image cached input"),
    Meter.TEXT_OUT: ("text output",),
    Meter.AUDIO_OUT: ("audio output",),
    Meter.DURATION_MS: ("duration",),
}

DEFAULTS = tuple(Rule(f"*, {part}", meter) for meter, parts in _PARTS.items() for part in parts)
