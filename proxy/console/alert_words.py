"""Announcements in words, and what they are about. Pure: from the API's JSON to sentences and links."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from proxy.console.figures import count, instant, usd
from proxy.console.wording import ENDINGS
from proxy.console.wording import said as in_words
from proxy.core.announced import Announced

KINDS = (
    (Announced.BUDGET_THRESHOLD.value, "A part of a budget is spent"),
    (Announced.BUDGET_FORECAST.value, "A part of a budget is expected to be spent"),
    (Announced.BUDGET_CUT.value, "A budget cut a response"),
    (Announced.SESSION_ENDED.value, "A session ended"),
    (Announced.SPEND_ANOMALY.value, "An unusual hour"),
    (Announced.SPEND_UNEXPLAINED.value, "A day's bill that nothing explains"),
)
_NAMES = dict(KINDS)
_TONES = {
    Announced.BUDGET_THRESHOLD.value: "warning",
    Announced.BUDGET_FORECAST.value: "warning",
    Announced.BUDGET_CUT.value: "bad",
    Announced.SPEND_ANOMALY.value: "bad",
    Announced.SPEND_UNEXPLAINED.value: "bad",
}
Data = Mapping[str, Any]


class Link(NamedTuple):
    """A way to what an announcement is about, for who may ask that route."""

    label: str
    href: str
    route: str


class Said(NamedTuple):
    """An announcement for people: what kind it is, one sentence, and where to look."""

    name: str
    tone: str  # of a badge
    text: str
    links: tuple[Link, ...]


def said(kind: str, tenant_id: str | None, data: Data) -> Said:
    """Return an announcement in words; of a kind or with facts that this version does not know, its kind."""
    words, facts = _WORDS.get(kind, (_nothing, ()))
    text = words(data) if all(name in data for name in facts) else "See its details."
    return Said(_NAMES.get(kind, kind), _TONES.get(kind, "quiet"), text, tuple(_links(kind, tenant_id, data)))


def _links(kind: str, tenant_id: str | None, data: Data) -> list[Link]:
    found = []
    for name, label, place, route in (
        ("budget_id", "Budget", "/budgets/", "GET /budgets/{budget_id}"),
        ("session_id", "Session", "/sessions/", "GET /sessions/{session_id}"),
        ("reconciliation_id", "Comparison", "/reconciliation/", "GET /reconciliations/{reconciliation_id}"),
        ("api_key_id", "Key", "/keys/", "GET /keys/{key_id}"),
    ):
        if isinstance(data.get(name), str):
            found.append(Link(label, place + quote(data[name], safe=""), route))
    if tenant_id is not None:
        found.append(Link("Tenant", f"/tenants/{quote(tenant_id, safe='')}", "GET /tenants/{tenant_id}"))
    if kind == Announced.SPEND_ANOMALY and "starts_at" in data and "ends_at" in data:
        span = {"from": data["starts_at"], "to": data["ends_at"], "group_by": "model"}
        query = {**({"tenant": tenant_id} if tenant_id else {}), **span}
        found.append(Link("Report of that hour", f"/reports?{urlencode(query)}", "GET /reports/costs"))
    return found


def _threshold(data: Data) -> str:
    spent, amount = usd(data["spent_nanousd"]), usd(data["amount_nanousd"])
    return f"{data['percent']} % of {_budget(data)} is spent: {spent} of {amount}."


def _forecast(data: Data) -> str:
    expected, amount = usd(data["forecast_nanousd"]), usd(data["amount_nanousd"])
    ends = f" It would be used up on {data['exhausted_on']}." if data.get("exhausted_on") else ""
    return f"{data['percent']} % of {_budget(data)} is expected by its end: {expected} of {amount}.{ends}"


def _budget(data: Data) -> str:
    since = (
        f" that began {instant(data['starts_at'])}" if data["window"] not in ("lifetime", "session") else ""
    )
    scope = str(data["scope"]).replace("_", " ")
    return f"a budget of the {scope} by the {data['window']}{since}"


def _cut(data: Data) -> str:
    cost, over = usd(data["cost_nanousd"]), usd(data["overshoot_nanousd"])
    return (
        f"A budget had nothing left, so a response was cut: it cost {cost}, {over} more than was held for it."
    )


def _ended(data: Data) -> str:
    responses = "1 response" if data["responses"] == 1 else f"{count(data['responses'])} responses"
    why = in_words(ENDINGS, data["reason"]) or "it is not known why"
    code = f" (code {data['close_code']})" if data["close_code"] else ""
    return f"{data['model'] or 'A session'}: {responses}, {usd(data['cost_nanousd'])}. It ended: {why}{code}."


def _anomaly(data: Data) -> str:
    whose = data.get("tenant") or "all tenants together"
    return (
        f"The hour from {instant(data['starts_at'])} of {whose} came to {usd(data['spent_nanousd'])}."
        f" The same hour of {data['weeks']} earlier weeks had {usd(data['median_nanousd'])} in the middle,"
        f" and up to {usd(data['limit_nanousd'])} is usual."
    )


def _unexplained(data: Data) -> str:
    return (
        f"{usd(data['unexplained_nanousd'])} of the provider's bill for {data['on']} is not explained: they"
        f" say {usd(data['theirs_nanousd'])}, we say {usd(data['ours_nanousd'])}. Up to"
        f" {usd(data['limit_nanousd'])} is left alone."
    )


def _nothing(data: Data) -> str:
    return "See its details."


_WINDOWED = ("scope", "window", "starts_at", "percent", "amount_nanousd")
_WORDS: Mapping[str, tuple[Callable[[Data], str], tuple[str, ...]]] = {
    Announced.BUDGET_THRESHOLD.value: (_threshold, (*_WINDOWED, "spent_nanousd")),
    Announced.BUDGET_FORECAST.value: (_forecast, (*_WINDOWED, "forecast_nanousd")),
    Announced.BUDGET_CUT.value: (_cut, ("cost_nanousd", "overshoot_nanousd")),
    Announced.SESSION_ENDED.value: (_ended, ("model", "responses", "cost_nanousd", "reason", "close_code")),
    Announced.SPEND_ANOMALY.value: (
        _anomaly,
        ("starts_at", "spent_nanousd", "median_nanousd", "limit_nanousd", "weeks"),
    ),
    Announced.SPEND_UNEXPLAINED.value: (
        _unexplained,
        ("on", "unexplained_nanousd", "ours_nanousd", "theirs_nanousd", "limit_nanousd"),
    ),
}
