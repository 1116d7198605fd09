"""Forms about budgets: from their fields to the API's bodies, and from its problems to their fields."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from proxy.console.budget_words import EXHAUSTED, STORE_DOWN, plain_usd
from proxy.console.meanwhile import Differs, differing
from proxy.core.budgets import THRESHOLDS, OnExhausted, OnStoreDown, Scope
from proxy.core.windows import Window
from proxy.store import StoreError
from proxy.store.instants import parse_zone

PERCENT_DIGITS_MAX = 9  # far more than a percentage has: the API says which there may be
NAMED = {Scope.PROJECT: "project", Scope.KEY: "key", Scope.END_USER: "end_user"}
UNLIMITED = "yes"
OWNER = ("scope", "tenant", "who", "window")  # what stays once a budget is made
TERMS = (
    "amount",
    "unlimited",
    "zone",
    "on_exhausted",
    "thresholds",
    "forecast_thresholds",
    "on_store_down",
    "store_down",
    "reason",
)
LABELS = {
    "amount": "Amount, in dollars",
    "unlimited": "No limit",
    "zone": "Time zone",
    "on_exhausted": "When it is spent",
    "thresholds": "Announce at, in percent",
    "forecast_thresholds": "Announce forecasts at, in percent",
    "on_store_down": "When the database does not answer",
    "store_down": "Amount to go on with, in dollars",
}
_MEANING: Mapping[str, Mapping[str, str]] = {
    "on_exhausted": {one.value: text for one, text in EXHAUSTED.items()},
    "on_store_down": {one.value: text for one, text in STORE_DOWN.items()},
}
# What the form calls things that the API calls otherwise.
CALLED = {
    "amount_usd": "amount",
    "store_down_usd": "store_down",
    "from": "starts",
    "until": "ends",
} | dict.fromkeys(NAMED.values(), "who")

Texts = dict[str, str]
Errors = dict[str, str]


class NotSaid(Exception):
    """Raised where a form cannot become a request: `errors` are told at its fields."""

    def __init__(self, errors: Errors) -> None:
        super().__init__(str(errors))
        self.errors = errors


def blank(query: Mapping[str, str], zone: str) -> Texts:
    """Return the fields of a new budget, as far as the address says them already."""
    texts = {
        "scope": Scope.TENANT.value,
        "tenant": "",
        "who": "",
        "window": Window.MONTH.value,
        "amount": "",
        "unlimited": "",
        "zone": zone,
        "on_exhausted": OnExhausted.CUT.value,
        "thresholds": ", ".join(map(str, THRESHOLDS)),
        "forecast_thresholds": "",
        "on_store_down": OnStoreDown.TERMINATE.value,
        "store_down": "",
        "reason": "",
    }
    return texts | {name: query[name] for name in texts if name in query}


def filled(budget: Mapping[str, Any]) -> Texts:
    """Return the fields of a budget that is there."""
    return {
        "amount": plain_usd(budget["amount_usd"]),
        "unlimited": UNLIMITED if budget["amount_usd"] is None else "",
        "zone": budget["zone"],
        "on_exhausted": budget["on_exhausted"],
        "thresholds": ", ".join(map(str, budget["thresholds"])),
        "forecast_thresholds": ", ".join(map(str, budget["forecast_thresholds"])),
        "on_store_down": budget["on_store_down"],
        "store_down": plain_usd(budget["store_down_usd"]) if budget["store_down_nanousd"] else "",
        "reason": "",
    }


def differing_terms(now: Texts, typed: Texts) -> list[Differs]:
    """Return in which terms a budget is not what was typed."""
    amount = "" if typed["unlimited"] else plain_usd(typed["amount"].removeprefix("$"))
    lists = {name: _percents(typed[name]) or [] for name in ("thresholds", "forecast_thresholds")}
    plain = {name: ", ".join(map(str, found)) for name, found in lists.items()}
    exact = {**typed, **plain, "amount": amount, "store_down": plain_usd(typed["store_down"])}
    return differing(LABELS, now, exact, _MEANING)


def terms_body(texts: Texts) -> dict[str, Any]:
    """Return what the API is told of a budget besides whose it is; raises NotSaid."""
    errors: Errors = {}
    is_unlimited = bool(texts["unlimited"])
    if not is_unlimited and (wrong := _wrong_amount(texts["amount"])):
        errors["amount"] = wrong
    if texts["on_store_down"] == OnStoreDown.CONTINUE and texts["store_down"].startswith("-"):
        errors["store_down"] = "Say an amount above 0."
    if texts["zone"] and (wrong := _wrong_zone(texts["zone"])):
        errors["zone"] = wrong
    percents = {name: _percents(texts[name]) for name in ("thresholds", "forecast_thresholds")}
    for name, found in percents.items():
        if found is None:
            errors[name] = "Whole percents with commas between them, such as 50, 80, 100; nothing for none."
    if errors:
        raise NotSaid(errors)
    body = {
        "amount_usd": None if is_unlimited else texts["amount"].removeprefix("$"),
        "on_exhausted": texts["on_exhausted"],
        "on_store_down": texts["on_store_down"],
        **percents,
    }
    given = {"zone": texts["zone"], "store_down_usd": texts["store_down"], "reason": texts["reason"]}
    return body | {name: text for name, text in given.items() if text}


def _wrong_amount(text: str) -> str:
    """Return what is wrong with an amount that the API would tell of the budget as a whole; else nothing."""
    if not text:
        return "Say how many dollars, or that there is no limit."
    return "An amount is 0 (nothing may be spent) or more." if text.removeprefix("$").startswith("-") else ""


def _wrong_zone(name: str) -> str:
    try:
        parse_zone(name)
    except StoreError as error:
        return str(error)
    return ""


def _percents(text: str) -> list[int] | None:
    parts = [part.strip().removesuffix("%").strip() for part in text.split(",") if part.strip()]
    is_told = all(part.isascii() and part.isdigit() and len(part) <= PERCENT_DIGITS_MAX for part in parts)
    return [int(part) for part in parts] if is_told else None


def new_body(texts: Texts) -> dict[str, Any]:
    """Return the API's body for a new budget; raises NotSaid."""
    scope = texts["scope"]
    body = {**terms_body(texts), "scope": scope, "window": texts["window"]}
    if scope not in (Scope.ORGANISATION, Scope.KEY):
        if not texts["tenant"]:
            raise NotSaid({"tenant": "Choose whose it is."})
        body["tenant"] = texts["tenant"]
    name = {one.value: name for one, name in NAMED.items()}.get(scope)
    if name is not None:
        if not texts["who"]:
            raise NotSaid({"who": "Say which one."})
        body[name] = texts["who"]
    return body


def history_params(texts: Texts) -> dict[str, str | None]:
    """Return what to ask `/budgets/history` about a new budget, as far as it is known."""
    scope = texts["scope"]
    name = {one.value: name for one, name in NAMED.items()}.get(scope)
    is_of_tenant = scope not in (Scope.ORGANISATION, Scope.KEY)
    return {
        "scope": scope,
        "tenant": (texts["tenant"] or None) if is_of_tenant else None,
        "window": texts["window"],
        "zone": texts["zone"] or None,
        "amount_usd": texts["amount"].removeprefix("$") or None,
        **({name: texts["who"] or None} if name else {}),
    }


def is_asked(texts: Texts) -> bool:
    """Tell whether it is known whose budget it would be: before that there is no history to tell."""
    scope = texts["scope"]
    needs_tenant = scope not in (Scope.ORGANISATION, Scope.KEY)
    needs_name = scope in list(NAMED)
    return bool((texts["tenant"] or not needs_tenant) and (texts["who"] or not needs_name))


def told(errors: Errors) -> Errors:
    """Return errors for a template, which asks for every field's."""
    return defaultdict(str, errors)


# --- Instants


def instant_text(local: str, zone: str) -> str:
    """Return what an `<input type="datetime-local">` holds as an instant, read in a zone; else as it is."""
    try:
        at = datetime.fromisoformat(local)
    except ValueError:
        return local
    if at.tzinfo is not None:
        return local
    try:
        return at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).isoformat()
    except OverflowError:  # the first hours of the year 1, the last of 9999
        return local


def texts_of(field: Callable[[str], str], *names: str) -> Texts:
    """Return the fields of a form that was sent."""
    return {name: field(name) for name in names}
