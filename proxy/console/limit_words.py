"""Limits in words. Pure: from the API's JSON to what templates show."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from proxy.console.figures import count, seconds, usd
from proxy.core.limits import LimitName, Unit
from proxy.core.money import parse_usd

Json = Mapping[str, Any]


class Words(NamedTuple):
    """What a limit is called, and what happens."""

    title: str
    meaning: str


LIMITS: Mapping[LimitName, Words] = {
    LimitName.SESSION_SECONDS: Words(
        "Length of a conversation", "A conversation that has lasted so long is ended."
    ),
    LimitName.IDLE_SECONDS: Words(
        "Silence",
        "A conversation in which nothing came from the user for so long, and no answer runs, is ended.",
    ),
    LimitName.SESSION_COST: Words(
        "Cost of a conversation", "One that has cost so much is ended, in the middle of an answer too."
    ),
    LimitName.MINUTE_COST: Words(
        "Cost within a minute",
        "A conversation that has cost so much in the last minute is ended, in the middle of an answer too.",
    ),
    LimitName.RESPONSES: Words(
        "Answers in a conversation",
        "So many are allowed; the next one is cancelled, and the conversation ended.",
    ),
    LimitName.SELF_TALK: Words(
        "Answers in a row",
        "So many are allowed without anything from the user; the next one is cancelled, and the conversation"
        " ended. Tools that a model calls again and again count.",
    ),
    LimitName.INPUT_TOKENS: Words(
        "Input of an answer",
        "An answer whose input has more tokens is cancelled, and the conversation ended.",
    ),
    LimitName.SESSIONS: Words(
        "Conversations at the same time",
        "So many may run, on all instances together; the next one is refused.",
    ),
    LimitName.SESSIONS_PER_MINUTE: Words(
        "New conversations a minute", "So many may begin, on each instance; the next one is refused."
    ),
}
UNITS: Mapping[Unit, str] = {Unit.MS: "seconds", Unit.NANOUSD: "dollars", Unit.COUNT: "a number"}


def words_of(name: str) -> Words:
    """Return the words for a limit; a name that only a later version knows stands for itself."""
    return LIMITS[LimitName(name)] if name in set(LimitName) else Words(name, "")


def figure(limit: Json) -> str:
    """Return a limit's value as people read it."""
    match limit["unit"]:
        case "usd":
            return usd(parse_usd(limit["value"]))
        case "seconds":
            value = Decimal(limit["value"])
            return seconds(int(value)) if value == int(value) and value >= 1 else f"{typed(limit)} s"
    return count(int(limit["value"]))


def typed(limit: Json) -> str:
    """Return a limit's value as a person would type it: 0.5, 1800."""
    text = str(limit["value"])
    return text.rstrip("0").rstrip(".") if "." in text else text


def is_same(limit: Json, text: str) -> bool:
    """Tell whether a limit has the value that somebody typed."""
    try:
        return Decimal(limit["value"]) == Decimal(text)
    except InvalidOperation:
        return False


def line(name: LimitName, limit: Json | None, tenants: Json | None = None) -> dict[str, Any]:
    """Return one limit of an owner, None where it is off; `tenants` is that of the tenant of a key."""
    title, meaning = LIMITS[name]
    return {
        "name": name.value,
        "title": title,
        "meaning": meaning,
        "figure": None if limit is None else figure(limit),
        "tenants": None if tenants is None else figure(tenants),
    }
