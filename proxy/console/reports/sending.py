"""A schedule as a form has it, and in words. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.console.meanwhile import Differs, differing
from proxy.console.reports.words import Options
from proxy.core.timetable import Every
from proxy.store.schedules import Content

CONTENTS: Mapping[str, str] = {
    Content.REPORT: "a saved report",
    Content.DIGEST: "a digest: how the day, week or month before went",
    Content.ANOMALY: "unusual hours",
    Content.RECONCILIATION: "the comparison with the provider's bill",
}
CONTENT_OPTIONS: Options = tuple(CONTENTS.items())
EVERY_OPTIONS: Options = (
    (Every.DAY.value, "every day"),
    (Every.WEEK.value, "every week"),
    (Every.MONTH.value, "every month"),
    ("", "at once (unusual hours only)"),
)
_EVERY: Mapping[str, str] = dict(EVERY_OPTIONS)
_LABELS: Mapping[str, str] = {
    "name": "Name",
    "content": "Sends",
    "report": "Which saved report",
    "every": "How often",
    "at": "At",
    "on": "On",
    "tz": "Time zone",
    "to": "To",
}
# What a form says, by its fields. `to` is written in three of them, and kept by their ids in a fourth.
FIELDS = ("name", "tenant", "content", "report", "every", "at", "on", "tz", "mail", "slack")
_SHORT: Mapping[str, str] = {
    Content.DIGEST: "a digest",
    Content.ANOMALY: "unusual hours",
    Content.RECONCILIATION: "the comparison with the bill",
}


def targets_of(mail: str, slack: str, webhooks: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Return where to send, as the API reads it. Addresses and URLs stand on lines of their own."""
    addresses = [one.removeprefix("mailto:") for one in _parts(mail.replace(",", "\n"))]
    urls = [one.removeprefix("slack:") for one in _parts(slack)]
    return [
        *(f"mailto:{one}" for one in addresses),
        *(f"slack:{one}" for one in urls),
        *(f"webhook:{one}" for one in webhooks),
        *kept,
    ]


def _parts(text: str) -> list[str]:
    return [one.strip() for one in text.splitlines() if one.strip()]


def written(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a form says of a schedule. Slack URLs are secrets: they are kept by their ids."""
    to = schedule["to"]
    return {
        **{name: schedule[name] or "" for name in ("name", "content", "every", "at", "on", "tz")},
        "tenant": schedule["tenant"] or "",
        "report": schedule["report_id"] or "",
        "mail": "\n".join(one["to"].removeprefix("mailto:") for one in to if one["channel"] == "email"),
        "slack": "",
        "webhooks": [one["id"] for one in to if one["channel"] == "webhook"],
        "kept": [one["id"] for one in to if one["channel"] == "slack"],
    }


def differing_schedules(schedule: Mapping[str, Any], typed: Mapping[str, Any]) -> list[Differs]:
    """Return in what a schedule is not what was typed: its receivers together, Slack URLs by their hosts."""
    slack = {one["id"]: one["to"] for one in schedule["to"]}
    now = written(schedule)
    return differing(_LABELS, _told(now, slack), _told(typed, slack), {"content": CONTENTS, "every": _EVERY})


def _told(fields: Mapping[str, Any], slack: Mapping[str, str]) -> dict[str, str]:
    """Return fields of the form as texts, those that go together as one."""
    to = [*_parts(fields["mail"].replace(",", "\n")), *sorted(fields["webhooks"])]
    to += [slack.get(one, one) for one in sorted(fields["kept"])]
    to += ["a Slack webhook" for _ in _parts(fields["slack"])]
    is_report = fields["content"] == Content.REPORT
    texts = {name: str(fields[name] or "") for name in ("name", "content", "every", "at", "on", "tz")}
    return {**texts, "report": str(fields["report"] or "") if is_report else "", "to": ", ".join(to)}


def sends(schedule: Mapping[str, Any]) -> str:
    """Return what a schedule sends."""
    if schedule["content"] == Content.REPORT:
        return f"the report {schedule['report']}"
    return _SHORT[schedule["content"]]


def when(schedule: Mapping[str, Any]) -> str:
    """Return when a schedule sends."""
    at = f"at {schedule['at']}, {schedule['tz']}"
    match schedule["every"]:
        case Every.DAY:
            return f"every day {at}"
        case Every.WEEK:
            return f"every {str(schedule['on']).capitalize()} {at}"
        case Every.MONTH:
            return f"on day {schedule['on']} of every month {at}"
    return "at once"


def state_of(delivery: Mapping[str, Any]) -> tuple[str, str]:
    """Return a badge: how a delivery goes."""
    kind = {"delivered": "ok", "pending": "quiet", "given up": "bad"}.get(delivery["state"], "quiet")
    return kind, delivery["state"]
