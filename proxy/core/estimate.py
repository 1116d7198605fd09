"""What is being spent before the provider says so.

Output is what has passed: audio by its length, text by its characters. (Input is predicted by
`core/conversation.py`.) Estimates are replaced by the real usage, and booked only when that never
comes.
"""

from proxy.core.rating import RateCard
from proxy.core.usage import Meter

USER_AUDIO_MS_PER_TOKEN = 100
MODEL_AUDIO_MS_PER_TOKEN = 50
CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 400  # providers do not publish the formula; recorded pictures took about 320
TRANSCRIPT_TOKENS_PER_S = 4  # of speech: about 240 a minute

Counts = dict[Meter, int]


def text_tokens(chars: int) -> int:
    """Return about how many tokens `chars` characters of text are."""
    return -(-chars // CHARS_PER_TOKEN)


def audio_ms(chars: int, bytes_per_s: int) -> int:
    """Return the length of `chars` base64 characters of audio, in milliseconds."""
    return chars * 750 // bytes_per_s


def speech_tokens(ms: int) -> int:
    """Return how many tokens so much of the model's speech is: the one that has begun counts."""
    return -(-ms // MODEL_AUDIO_MS_PER_TOKEN)


def begins_ms(token: int) -> int:
    """Return after how much speech it is so many tokens, the first being 1."""
    return MODEL_AUDIO_MS_PER_TOKEN * (token - 1) + 1


def output(audio_out_ms: int, text_chars: int) -> Counts:
    """Return the output meters of what a response has produced so far."""
    return {
        Meter.AUDIO_OUT: speech_tokens(audio_out_ms),
        Meter.TEXT_OUT: text_tokens(text_chars),
    }


def transcription(speech_ms: int, card: RateCard | None) -> Counts:
    """Return what transcribing `speech_ms` is likely billed as: in the unit that the card prices."""
    if card and Meter.AUDIO_IN not in card.prices:
        return {Meter.DURATION_MS: speech_ms}
    return {
        Meter.AUDIO_IN: -(-speech_ms // USER_AUDIO_MS_PER_TOKEN),
        Meter.TEXT_OUT: -(-speech_ms * TRANSCRIPT_TOKENS_PER_S // 1_000),
    }
