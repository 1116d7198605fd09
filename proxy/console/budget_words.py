"""Budgets in words and in their tree. Pure: from the API's JSON to what templates show."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from proxy.console.figures import count, usd
from proxy.core.budgets import OnExhausted, OnStoreDown, Scope
from proxy.core.windows import Window

Json = Mapping[str, Any]

SCOPES: Mapping[Scope, str] = {
    Scope.TENANT: "A tenant",
    Scope.PROJECT: "A project of a tenant",
    Scope.KEY: "An API key",
    Scope.END_USER: "An end user of a tenant",
    Scope.EACH_USER: "Every end user of a tenant, each so much",
    Scope.ORGANISATION: "All tenants together",
}
WINDOWS: Mapping[Window, str] = {
    Window.HOUR: "an hour",
    Window.DAY: "a day",
    Window.WEEK: "a week, from Monday",
    Window.MONTH: "a month",
    Window.QUARTER: "a quarter",
    Window.LIFETIME: "once and for all",
    Window.SESSION: "each conversation",
}
EXHAUSTED: Mapping[OnExhausted, str] = {
    OnExhausted.CUT: "The answer that is being spoken is cut off, and the conversation ends",
    OnExhausted.WRAP_UP: "The model says goodbye from a reserve, then the conversation ends",
    OnExhausted.BLOCK: "No new conversations and answers; what is being spoken finishes",
    OnExhausted.NOTIFY: "Nothing is stopped: it is counted and announced",
}
SHORTLY: Mapping[OnExhausted, str] = {
    OnExhausted.CUT: "Cuts off what is spoken",
    OnExhausted.WRAP_UP: "Says goodbye, then ends",
    OnExhausted.BLOCK: "Blocks what is new",
    OnExhausted.NOTIFY: "Only announces it",
}
STORE_DOWN: Mapping[OnStoreDown, str] = {
    OnStoreDown.TERMINATE: "As if the budget were spent",
    OnStoreDown.CONTINUE: "Go on, up to an amount for each instance",
    OnStoreDown.RETRY: "Wait longer for the database before a response, then as if it were spent",
}
_NOUNS: Mapping[str, tuple[str, str]] = {
    "hour": ("hour", "hours"),
    "day": ("day", "days"),
    "week": ("week", "weeks"),
    "month": ("month", "months"),
    "quarter": ("quarter", "quarters"),
    "lifetime": ("lifetime", "lifetimes"),
}
_OWNERS = (Scope.KEY, Scope.EACH_USER, Scope.END_USER)  # below a tenant, in this order


def whose(one: Json) -> str:
    """Return whose budget it is, below its tenant."""
    match Scope(one["scope"]):
        case Scope.ORGANISATION:
            return "All tenants"
        case Scope.PROJECT:
            return f"Project {one['project']}"
        case Scope.KEY:
            return f"Key {one['key'] or one['api_key_id']}"
        case Scope.END_USER:
            return f"User {one['end_user'] or one['end_user_id']}"
        case Scope.EACH_USER:
            return "Every user, each"
        case _:
            return str(one["tenant"])


def titled(one: Json) -> str:
    """Return what a budget is called where it stands alone."""
    owner = whose(one)
    is_below = one["scope"] not in (Scope.ORGANISATION, Scope.TENANT)
    return f"{one['tenant']}, {owner[0].lower()}{owner[1:]}" if is_below else owner


def shown(one: Json, forecast: Json | None = None) -> dict[str, Any]:
    """Return a budget with what is said of it in words."""
    return {
        **one,
        "whose": whose(one),
        "titled": titled(one),
        "per": WINDOWS[Window(one["window"])],
        "exhausted": EXHAUSTED[OnExhausted(one["on_exhausted"])],
        "shortly": SHORTLY[OnExhausted(one["on_exhausted"])],
        "on_top": _on_top(one),
        "store_down": STORE_DOWN[OnStoreDown(one["on_store_down"])],
        "forecast": forecast,
        "forecast_tone": _forecast_tone(one, forecast),
        "raised": [raise_for_people(raised, one["at"]) for raised in one["raises"]],
    }


def _on_top(one: Json) -> int:
    """Return what raises add now."""
    now, always = one["amount_now_nanousd"], one["amount_nanousd"]
    return 0 if now is None or always is None else int(now - always)


def _forecast_tone(one: Json, forecast: Json | None) -> str:
    amount = one["amount_now_nanousd"]
    expected = forecast and forecast["forecast_nanousd"]
    if not expected or amount is None:
        return ""
    return "bad" if expected > amount else "warning" if expected * 10 >= amount * 9 else ""


def raise_for_people(raised: Json, at: str) -> dict[str, Any]:
    """Return a raise with its state at the instant `at`."""
    starts_at, ends_at, now = (
        datetime.fromisoformat(one) for one in (raised["starts_at"], raised["ends_at"], at)
    )
    state = ("quiet", "over") if ends_at <= now else ("ok", "holds now")
    if starts_at > now:
        state = ("warning", "to come")
    return {**raised, "tone": state[0], "state": state[1]}


# --- The tree


def tree(budgets: Sequence[Json], project_of_key: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return budgets as lines from the top of the tree downwards.

    A line is {depth, label, budget}; without a budget it is only the head of those below it.
    """
    top = [_line(0, one) for one in budgets if one["scope"] == Scope.ORGANISATION]
    depth = 1 if top else 0
    lines = list(top)
    for name in sorted({one["tenant"] for one in budgets if one["tenant"] is not None}):
        own = [one for one in budgets if one["tenant"] == name]
        lines += _of_tenant(name, own, depth, project_of_key)
    return lines


def _of_tenant(
    name: str, own: Sequence[Json], depth: int, project_of_key: Mapping[str, str]
) -> list[dict[str, Any]]:
    heads = [_line(depth, one) for one in own if one["scope"] == Scope.TENANT]
    lines = heads or [{"depth": depth, "label": name, "budget": None}]
    placed: set[str] = set()
    for project in sorted({one["project"] for one in own if one["scope"] == Scope.PROJECT}):
        lines += [
            _line(depth + 1, one)
            for one in own
            if one["scope"] == Scope.PROJECT and one["project"] == project
        ]
        keys = [one for one in own if project_of_key.get(one["api_key_id"] or "") == project]
        placed |= {one["id"] for one in keys}
        lines += [_line(depth + 2, one) for one in sorted(keys, key=whose)]
    for scope in _OWNERS:
        rest = [one for one in own if one["scope"] == scope and one["id"] not in placed]
        lines += [_line(depth + 1, one) for one in sorted(rest, key=whose)]
    return lines


def _line(depth: int, one: Json) -> dict[str, Any]:
    return {"depth": depth, "label": whose(one), "budget": one}


# --- What an amount would have meant


def history_text(told: Json) -> str:
    """Return what `/budgets/history` tells in a sentence."""
    sessions = _of(told["sessions_over"], told["sessions"], ("conversation", "conversations"))
    if told["amount_nanousd"] is None:
        return f"In the last 30 days there were {sessions}."
    amount = f"With {usd(told['amount_nanousd'])} {WINDOWS[Window(told['window'])]}"
    if told["window"] == Window.SESSION:
        return f"{amount}: {sessions} of the last 30 days would have been over."
    nouns = _NOUNS[told["window"]]
    if told["scope"] == Scope.EACH_USER:
        nouns = (f"{nouns[0]} of a user", f"{nouns[1]} of users")
    windows = _of(told["windows_over"], told["windows"], nouns)
    return f"{amount}: {windows} and {sessions} would have been over."


def _of(over: int | None, whole: int, nouns: tuple[str, str]) -> str:
    noun = nouns[0] if whole == 1 else nouns[1]
    return f"{count(whole)} {noun}" if over is None else f"{count(over)} of {count(whole)} {noun}"


def plain_usd(text: str | None) -> str:
    """Return dollars as a person would type them: 50, 0.5."""
    if text is None or "." not in text:
        return text or ""
    return text.rstrip("0").rstrip(".")
