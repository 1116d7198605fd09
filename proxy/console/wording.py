"""What the API's names mean, in words for people. Pure.

A name that is not known here, a later version's, is shown as it is.
"""

from collections.abc import Mapping

from proxy.core.session_account import Because, Part
from proxy.core.usage import Flag

PARTS: Mapping[str, str] = {
    Part.FRESH_INPUT: "Fresh input",
    Part.CACHED_INPUT: "Cached input",
    Part.IMAGE: "Images",
    Part.TRANSCRIPTION: "Transcription",
    Part.AUDIO_OUTPUT: "Audio out",
    Part.TEXT_OUTPUT: "Text out",
    Part.OTHER: "Other",
}
FLAGS: Mapping[str, str] = {
    Flag.USAGE_MISSING: "The provider reported no usage, or there was nothing to estimate by.",
    Flag.DETAILS_MISSING: "The provider told totals without their kinds: counted as of no told kind.",
    Flag.TOTALS_DIFFER: "The provider's parts are not what its total says: the parts were taken.",
    Flag.CACHED_SPREAD: "The provider told one cached total: it was spread over text, audio, then images.",
    Flag.CACHED_CLAMPED: "More was said to be cached than was input: it was cut down to the input.",
    Flag.COUNT_CLAMPED: "A count was negative, fractional or absurd: it was put into bounds.",
    Flag.NEVER_OPENED: "It finished without having been seen to start.",
    Flag.BILLED_AGAIN: "Another bill for something that is booked already: an alarm, never booked.",
    Flag.MODEL_UNKNOWN: "No rate card is there for the model, or no model was named: it has no price.",
    Flag.METER_UNPRICED: "The rate card has no price for something that was used: the entry has no price.",
    Flag.ESTIMATE_UPSTREAM_LOST: "Estimated: the provider was lost before it told its usage.",
    Flag.ESTIMATE_LINGER_PASSED: "Estimated: the provider did not tell its usage in time.",
    Flag.ESTIMATE_CRASH: "Estimated: the Talkmeter process died while this was open.",
}
BECAUSE: Mapping[str, str] = {
    Because.MODEL_CHANGED: "the model was changed",
    Because.CONTEXT_CUT: "something was taken out of the conversation",
    Because.UNKNOWN: "the ledger does not tell why",
}
ENDINGS: Mapping[str, str] = {
    "client_closed": "the app closed it",
    "client_lost": "the app was lost",
    "client_stalled": "the app took nothing for too long",
    "client_idle": "the app sent nothing for too long",
    "client_violation": "the app broke the protocol",
    "upstream_closed": "the provider closed it",
    "upstream_lost": "the provider was lost",
    "upstream_stalled": "the provider took nothing for too long",
    "upstream_violation": "the provider broke the protocol",
    "refused": "a budget, a limit, a model or a key",
    "stopped": "an administrator stopped it",
    "drained": "Talkmeter was shut down",
    "aborted": "Talkmeter could wait no longer",
    "failed": "a bug: the log says which",
    "crash": "the Talkmeter process died",
}
BAD_ENDINGS = frozenset({"refused", "failed", "crash", "aborted", "upstream_violation", "client_violation"})
INTERRUPTIONS: Mapping[str, str] = {
    "turn_detected": "the user spoke",
    "client_cancelled": "the app cancelled it",
    "max_output_tokens": "the limit of output tokens was reached",
    "content_filter": "the provider's filter stopped it",
}


def said(words: Mapping[str, str], name: str | None) -> str:
    """Return what a name means; the name itself where that is not known here."""
    return "" if name is None else words.get(name, name)
