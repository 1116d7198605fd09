"""What needs attention, each with where it can be dealt with. Pure: over the API's answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from proxy.console import figures

NEAR = 80  # percent of a budget that are spent before somebody should look
CUTS_MAX = 100  # that are counted
REQUESTS_MAX = 20  # the same
STALE = timedelta(minutes=2)  # an instance that nothing was heard of for so long has died
ORGANISATION = "the organisation"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """Something to look at. `kind` is that of a badge; `amount` says what `amount_nanousd` is."""

    kind: str
    state: str
    what: str
    why: str
    href: str
    amount_nanousd: int | None = None
    amount: str = ""
    at: str | None = None  # when it happened, or was last seen


def whose(row: Row) -> str:
    """Return whose budget this is, in words."""
    match row["scope"]:
        case "organisation":
            return ORGANISATION
        case "project":
            return f"{row['tenant']}, project {row['project']}"
        case "key":
            return f"{row['tenant']}, key {row.get('key') or row['api_key_id']}"
        case "end_user":
            return f"{row['tenant']}, user {row['end_user']}"
    return str(row["tenant"])


def of_budgets(budgets: Sequence[Row], forecasts: Sequence[Row]) -> Iterator[Item]:
    """Yield budgets that are nearly or wholly spent, or will be, the fullest first.

    Whoever may not list budgets knows those that have a forecast.
    """
    ahead: dict[str, Row] = {one["budget_id"]: one for one in forecasts if one["budget_id"] is not None}
    rows: dict[str, Row] = {
        one["id"]: {**one, "amount_nanousd": one["amount_now_nanousd"]} for one in budgets
    }
    rows = {**ahead, **rows}
    found = [item for id, one in rows.items() if (item := _budget(one, ahead.get(id))) is not None]
    yield from (item for _, item in sorted(found, key=lambda pair: -pair[0]))


def _budget(row: Row, forecast: Row | None) -> tuple[int, Item] | None:
    amount, spent = row["amount_nanousd"], row["spent_nanousd"]
    if not amount or spent is None:
        return None
    percent = 100 * spent // amount
    ahead = forecast["forecast_nanousd"] if forecast else None
    will_be = ahead is not None and ahead > amount
    if percent < NEAR and not will_be:
        return None
    state, kind = ("spent", "bad") if percent >= 100 else ("nearly spent", "warning")
    why = f"{percent} % of {figures.usd(amount)} are spent"
    if percent < NEAR:
        state = "will not last"
    if will_be and percent < 100 and forecast is not None:
        on = f", used up on {forecast['exhausted_on']}" if forecast["exhausted_on"] else ""
        why += f"; by forecast it will be {figures.usd(ahead)}{on}"
    what = f"Budget of {whose(row)} for a {row['window']}"
    href = f"/budgets?{urlencode({'tenant': row['tenant']})}" if row["tenant"] else "/budgets"
    return percent, Item(kind, state, what, why, href, amount - spent, "left")


def of_cuts(told: Row | None, today: str) -> Iterator[Item]:
    """Yield how many conversations budgets have cut today."""
    if told is None or not told["data"]:
        return
    count = len(told["data"])
    number = f"{count} or more" if told["next"] else f"{count}"
    yield Item(
        "bad",
        "cut",
        f"{number} {'response was' if number == '1' else 'responses were'} cut today by budgets",
        "Raise the budget, or look at what it was spent on. The latest:",
        f"/alerts?{urlencode({'kind': 'budget.cut', 'from': today})}",
        at=told["data"][0]["at"],
    )


def of_approvals(told: Row | None) -> Iterator[Item]:
    """Yield how many requests wait for a second person, who would not know of them otherwise."""
    if told is None or not told["data"]:
        return
    newest, count = told["data"][0], len(told["data"])
    number = f"{count} or more" if told["next"] else f"{count}"
    yield Item(
        "warning",
        "waits",
        f"{number} {'request waits' if number == '1' else 'requests wait'} for a second person",
        f"Nothing is done until somebody else approves it. The newest, of {newest['asked_by']}:",
        "/approvals",
        at=newest["asked_at"],
    )


def of_entries(total: Row, span: Mapping[str, str]) -> Iterator[Item]:
    """Yield what of the month has no price, and what is estimated."""
    if total["unrated_entries"] > 0:
        yield Item(
            "warning",
            "unrated",
            f"{_entries(total['unrated_entries'])} without a price",
            "No total has its amount. Add the rate card that is missing, then rate the month again.",
            f"/ledger?{urlencode({'unrated': 'true', **span})}",
        )
    if total["estimated_nanousd"]:
        yield Item(
            "quiet",
            "estimated",
            "A part of the month is estimated",
            "The provider never told what it used: a connection or a process was lost.",
            f"/reports?{urlencode({'group_by': 'tenant,model', 'estimated': 'true', **span})}",
            total["estimated_nanousd"],
            "estimated",
        )


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def of_reconciliation(told: Row | None) -> Iterator[Item]:
    """Yield the newest comparison with the provider's bill, if it leaves more unexplained than it may."""
    newest = told["data"][0] if told and told["data"] else None
    if newest is not None and newest["is_over"]:
        yield Item(
            "bad",
            "gap",
            f"The provider's bill of {newest['from']} to {newest['to']} differs",
            "More is unexplained than the threshold allows.",
            f"/reconciliation/{newest['id']}",
            newest["unexplained_nanousd"],
            "unexplained",
        )


def of_close(month: str, told: Row | None, skip: str = "") -> Iterator[Item]:
    """Yield what stands in the way of closing a month: stale journals, days that are not reconciled."""
    states = {"journals": ("bad", "stale journal"), "days": ("warning", "not reconciled")}
    for one in told["obstacles"] if told else ():
        if one["name"] == skip:
            continue
        kind, state = states.get(one["name"], ("warning", one["name"]))
        examples = "; ".join(one["examples"][:2])
        what = f"{month} cannot be closed: {one['count']:,} {one['problem']}"
        yield Item(kind, state, what, f"{examples}. {_sentence(one['remedy'])}", f"/close/{month}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def of_leases(rows: Sequence[Row], now: datetime) -> Iterator[Item]:
    """Yield instances that have died and still hold money of budgets, until their journal is read again."""
    held: dict[str, int] = {}
    seen: dict[str, str | None] = {}
    for row in rows:
        at = row["seen_at"]
        if at is None or datetime.fromisoformat(at) < now - STALE:
            held[row["instance_id"]] = held.get(row["instance_id"], 0) + row["reserved_nanousd"]
            seen[row["instance_id"]] = at
    for instance, amount in held.items():
        yield Item(
            "bad",
            "stale journal",
            f"Instance {instance} does not answer and holds money of budgets",
            "Start it again on its journal. Last seen:",
            "/instances",
            amount,
            "held",
            at=seen[instance],
        )
