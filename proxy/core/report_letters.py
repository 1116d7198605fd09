"""What a scheduled report, a digest or an anomaly says to people: from what was announced to a letter."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from proxy.core.announced import REPORT, Announced, Announcement
from proxy.core.letters import Attachment, Letter, Table
from proxy.core.money import divide_half_even, format_usd

Payload = Mapping[str, Any]

_FIGURES = {
    "cost_usd": "Cost $",
    "list_nanousd": "List price $",
    "responses": "Responses",
    "sessions": "Sessions",
    "cost_per_session_usd": "$ a session",
    "cost_per_spoken_minute_usd": "$ a spoken minute",
    "cached_share": "Cached share",
    "unrated_entries": "Without a price",
    "estimated_nanousd": "Estimated $",
}
_OF_US = ("list_nanousd",)  # what a tenant owes has no list price
_COMPARED = ("cost_usd", "responses", "sessions")
_REPORT_COLUMNS = ("sessions", "responses", "cost_usd", "billed_usd", "unrated_entries", "cached_share")
_OPTIONAL = ("sessions", "unrated_entries", "cached_share")
_DAY_COLUMNS = ("on", "ours_usd", "theirs_usd", "unexplained_usd", "verdict")
_ROW_COLUMNS = ("on", "project", "model", "meter", "line_item", *_DAY_COLUMNS[1:4])
_ANOMALY_COLUMNS = ("starts_at", "tenant", "spent_usd", "median_usd", "limit_usd")


def letter_of(one: Announcement) -> Letter:
    """Return what people are told of an announcement."""
    payload = one.payload
    if one.kind == Announced.SPEND_ANOMALY:
        return _alarm(payload)
    if one.kind != REPORT:
        return Letter(f"Talkmeter: {one.kind}", [f"{name}: {payload[name]}" for name in sorted(payload)])
    if payload["problem"] is not None:
        said = f"It was due at {payload['due_at']} and could not be made: {payload['problem']}"
        return Letter(f"{payload['schedule']}: no report", [*_about(payload), said])
    return _MAKERS[payload["content"]](payload)


def _about(payload: Payload) -> list[str]:
    """Return the sentences that each scheduled letter begins with."""
    said = []
    if "first_on" in payload:
        said.append(
            f"From {payload['first_on']} to {payload['last_on']}, in the time zone {payload['zone']}."
        )
    whose = f"the tenant {payload['tenant']}" if payload["tenant"] else "all tenants"
    said.append(f"About {whose}; sent by Talkmeter's schedule {payload['schedule']}.")
    if payload["skipped"]:
        said.append(f"Occurrences before this one that were missed and are not sent: {payload['skipped']}.")
    return said


def _title(payload: Payload, what: str) -> str:
    first, last = payload["first_on"], payload["last_on"]
    return f"{what}, {first}" + (f" to {last}" if last != first else "")


# --- A report


def _report(payload: Payload) -> Letter:
    report, rows = payload["report"], payload["report"]["rows"]
    total, columns = report["total"], report["columns"]
    groups = [name for name in columns if name not in total and not name.endswith("_id")]
    shown = [name for name in _REPORT_COLUMNS if _has(report, name)]
    titles = {name: _FIGURES.get(name, "Billed $") for name in shown}
    table = Table(
        f"By {', '.join(report['group_by'])}" if groups else "In all",
        [*groups, *titles.values()],
        [[row[name] for name in (*groups, *shown)] for row in rows],
        frozenset(titles.values()),
        report["rows_left_out"],
    )
    said = [f"Cost: ${total['cost_usd']}. Responses: {total['responses']:,}."]
    if total["unrated_entries"]:
        said.append(f"Entries without a price, which are not in these sums: {total['unrated_entries']:,}.")
    if report["rows_left_out"]:
        said.append(f"Rows in the attached file: {len(rows):,}. Left out: {report['rows_left_out']:,}.")
    attached = Attachment("report.csv", columns, rows or [total])
    return Letter(_title(payload, report["name"]), [*_about(payload), *said], [table], [attached])


def _has(report: Payload, name: str) -> bool:
    total = report["total"]
    if name == "billed_usd":
        return not report["is_billed"] and total["billed_usd"] != total["cost_usd"]
    return name not in _OPTIONAL or bool(total[name])


# --- A digest


def _digest(payload: Payload) -> Letter:
    digest = payload["digest"]
    now, then = digest["total"], digest["before"]
    figures = _figures(now, then, is_billed=payload["tenant"] is not None)
    change = _change(now["cost_nanousd"], then["cost_nanousd"])
    said = [f"Cost: ${now['cost_usd']}, {change} against the same time before."]
    if now["unrated_entries"]:
        said.append(f"Entries without a price, which are not in these sums: {now['unrated_entries']:,}.")
    numbers = frozenset(("Value", "Before", "Change"))
    tables = [Table("Figures", ("Figure", "Value", "Before", "Change"), figures, numbers)]
    tables += [_top(digest, name) for name in ("tenant", "model") if f"top_{name}s" in digest]
    if digest["budgets"]:
        tables.append(_budgets(digest["budgets"]))
    columns = ("figure", "value", "before", "change")
    rows = [dict(zip(columns, row, strict=True)) for row in figures]
    subject = _title(payload, payload["schedule"])
    return Letter(subject, [*_about(payload), *said], tables, [Attachment("digest.csv", columns, rows)])


def _figures(now: Payload, then: Payload, *, is_billed: bool) -> list[list[str | int | None]]:
    names = [name for name in _FIGURES if not (is_billed and name in _OF_US)]
    return [
        [_FIGURES[name], _value(now, name), _value(then, name), _compared(name, now, then)] for name in names
    ]


def _compared(name: str, now: Payload, then: Payload) -> str | None:
    if name not in _COMPARED or now[name] is None or then[name] is None:
        return None
    counted = "cost_nanousd" if name == "cost_usd" else name
    return _change(now[counted], then[counted])


def _change(now: int, then: int) -> str:
    """Return by how much `now` differs, such as +12.5 %."""
    if then <= 0:
        return "no change" if now == then else "nothing to compare with"
    tenths = divide_half_even(1_000 * (now - then), then)
    whole, part = divmod(abs(tenths), 10)
    return f"{'-' if tenths < 0 else '+'}{whole:,}.{part} %"


def _top(digest: Payload, group: str) -> Table:
    columns = (group, "Cost $", "Responses")
    rows = [(row[group], row["cost_usd"], row["responses"]) for row in digest[f"top_{group}s"]]
    return Table(f"Most by {group}", columns, rows, frozenset(columns[1:]))


def _budgets(budgets: Sequence[Payload]) -> Table:
    columns = ("Budget of", "", "Window", "Spent %", "Spent $", "Amount $")
    rows = [
        (
            one["scope"],
            " / ".join(part for part in (one["tenant"], one["of"]) if part) or None,
            one["window"],
            one["percent"],
            one["spent_usd"],
            one["amount_usd"],
        )
        for one in budgets
    ]
    return Table("Budgets near their end", columns, rows, frozenset(columns[3:]))


# --- Anomalies


def _alarm(payload: Payload) -> Letter:
    whose = f"Tenant {payload['tenant']}" if payload["tenant_id"] else "All tenants together"
    said = [
        f"{whose} spent ${payload['spent_usd']} from {payload['starts_at']} to {payload['ends_at']}.",
        f"In that hour of the last {payload['weeks']} weeks it was ${payload['median_usd']} (median);"
        f" up to ${payload['limit_usd']} is usual.",
    ]
    return Letter(f"{whose}: ${payload['spent_usd']} in an hour is unusual", said)


def _anomalies(payload: Payload) -> Letter:
    found = payload["anomalies"]
    said = [f"Hours that cost unusually much: {len(found):,}."]
    rows = [_all_or(one) for one in found]
    titles = ("Hour from", "Tenant", "Spent $", "Usual $", "Usual up to $")
    table = Table("Unusual hours", titles, _cells(rows, _ANOMALY_COLUMNS), frozenset(titles[2:]))
    attached = [Attachment("anomalies.csv", _ANOMALY_COLUMNS, rows)] if rows else []
    return Letter(_title(payload, payload["schedule"]), [*_about(payload), *said], [table], attached)


def _all_or(one: Payload) -> Payload:
    return one if one["tenant_id"] else {**one, "tenant": "(all)"}


def _cells(rows: Iterable[Payload], names: Sequence[str]) -> list[list[Any]]:
    return [[row[name] for name in names] for row in rows]


def _value(row: Payload, name: str) -> Any:
    value = row[name]
    return format_usd(value or 0) if name.endswith("_nanousd") else value


# --- A comparison with the provider's bill


def _reconciliation(payload: Payload) -> Letter:
    told = payload["reconciliation"]
    days, worst = [{**day, "verdict": _verdict(day)} for day in told["days"]], told["worst_rows"]
    over = sum(day["is_over"] for day in days)
    said = [
        f"Our ledger: ${told['ours_usd']}. The provider's bill: ${told['theirs_usd']}."
        f" Unexplained: ${told['unexplained_usd']}.",
        f"Days of which too much is unexplained: {over}. This comparison is {told['id']}.",
    ]
    titles = ("UTC day", "Ours $", "Theirs $", "Unexplained $", "Verdict")
    tables = [Table("By day", titles, _cells(days, _DAY_COLUMNS), frozenset(titles[1:4]))]
    if worst:
        columns = ("UTC day", "Project", "Model", "Meter", "Line", *titles[1:4])
        rows = _cells(worst, _ROW_COLUMNS)
        tables.append(Table("Most is unexplained of", columns, rows, frozenset(titles[1:4])))
    attached = [Attachment("days.csv", _DAY_COLUMNS, days)]
    return Letter(_title(payload, payload["schedule"]), [*_about(payload), *said], tables, attached)


def _verdict(day: Payload) -> str:
    if not day["is_final"]:
        return "not complete yet"
    return f"above {day['limit_usd']}" if day["is_over"] else "agrees"


_MAKERS: Mapping[str, Callable[[Payload], Letter]] = {
    "report": _report,
    "digest": _digest,
    "anomaly": _anomalies,
    "reconciliation": _reconciliation,
}
