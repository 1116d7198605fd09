"""`wrap_up`: the last words of a session whose budget is nearly spent, in the model's own voice.

A reserve for them is held from the start. Once nothing more can be held, what runs is cancelled; when no
response is open or about to start, the model is told so in a system item and asked for one last response,
bounded in tokens by what is reserved, and in seconds. Then, or if any of it fails, the cut. What turn
detection starts meanwhile is cancelled, and our request made again if that was in its way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy.core.allowance import Account
from proxy.core.commands import Answer, Message, Remark
from proxy.core.rating import NO_AMOUNTS, Amounts, Terms, amounts
from proxy.core.refusal import Refusal
from proxy.core.subjects import Response
from proxy.core.usage import Meter, Usage

RESERVE = "reserve"  # the key of its hold
TOKENS_MAX = 200  # ten seconds of speech
TOKENS_MIN = 40  # less than two seconds are not worth saying
SECONDS_MAX = timedelta(seconds=20)
REMARK = (
    "The spending limit of this conversation has been reached and it is about to end. Say a short, friendly"
    " goodbye in one sentence, in the language of the conversation. Do not ask anything and call no tools."
)


@dataclass(slots=True)
class Farewell:
    """How far the last words are."""

    account: Account  # that has nothing left …
    why: Refusal  # … and how it said so
    until: datetime  # it is cut then, whatever was said
    event_id: str | None = None  # of our request, once it was sent
    response_id: str | None = None  # of the response that answers it
    is_remarked: bool = False  # the model was told why

    @property
    def is_awaited(self) -> bool:
        """Say whether our request is on its way, and what it starts will be billed."""
        return self.event_id is not None and self.response_id is None

    def request(self, tokens: int, new_id: Callable[[], str]) -> Sequence[Message]:
        """Return what asks for the last words, in so many tokens at most; nothing if nothing can be said."""
        if not tokens:
            return ()
        self.event_id = new_id()
        answer = Answer(self.event_id, tokens)
        if self.is_remarked:
            return (answer,)
        self.is_remarked = True
        return Remark(new_id(), REMARK), answer

    def take(self, response: Response, *, is_expected: bool) -> bool:
        """Take `response`, which has started, for the last words; return whether it is those.

        `is_expected` says that turn detection was about to start one: that is in the way of ours, and first.
        """
        if not self.is_awaited or is_expected or response.out_of_band:
            return False
        self.response_id = response.id
        return True

    def give_up(self) -> str | None:
        """Note that our request came to nothing; return the response that was taken for the last words."""
        mistaken, self.event_id, self.response_id = self.response_id, None, None
        return mistaken


def reserve_usage(predicted: Mapping[Meter, int]) -> Usage:
    """Return what the last words may use: the context, and all the tokens they may have."""
    return Usage({**predicted, Meter.AUDIO_OUT: TOKENS_MAX})


def tokens_for(reserved: Amounts, predicted: Mapping[Meter, int], terms: Terms) -> int:
    """Return how many output tokens the reserve pays for now; 0 if too few to say anything."""
    context = amounts(Usage(predicted), terms)
    spoken = [amounts(Usage({meter: TOKENS_MAX}), terms) for meter in (Meter.AUDIO_OUT, Meter.TEXT_OUT)]
    priced = [one for one in spoken if one is not None]
    if context is None or not priced:
        return 0
    most = NO_AMOUNTS
    for one in priced:
        most = most.at_least(one)
    left = reserved.minus(context)
    tokens = min(
        TOKENS_MAX, *(rest * TOKENS_MAX // max(1, all) for rest, all in zip(left, most, strict=True))
    )
    return tokens if tokens >= TOKENS_MIN else 0
