"""A question as a saved report has it, and back. Pure."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from proxy.console.meanwhile import Differs, differing
from proxy.console.reports.question import GROUP_BY, Question
from proxy.console.reports.spans import SPANS, as_day, quick_spans
from proxy.console.reports.words import Options, group_word, listed, param_word
from proxy.store.saved_reports import FILTERS

FLAGS = ("unrated", "estimated")
CALLED = {"count_sessions": "sessions"}  # as the form calls it
KEPT = (*FILTERS, "tenant", GROUP_BY, "tz", "sessions")


def body_of(question: Question, name: str, span: str) -> dict[str, Any]:
    """Return the body that saves a question, but for the tenant that it belongs to."""
    filters = {one: _filter(one, question) for one in FILTERS if question.has(one)}
    return {
        "name": name,
        "span": span,
        "group_by": list(question.groups),
        "filters": filters,
        "tz": question.get("tz") or None,
        "count_sessions": question.get("sessions") == "true",
    }


def _filter(name: str, question: Question) -> str | bool:
    return question.get(name) == "true" if name in FLAGS else question.get(name)


def question_of(saved: Mapping[str, Any], start: str | None = None, end: str | None = None) -> Question:
    """Return what a saved report asks; between two instants if these are given."""
    zone = ZoneInfo(saved["tz"])
    filters = {
        name: "true" if value is True else value
        for name, value in saved["filters"].items()
        if value is not None and value is not False
    }
    return Question().but(
        {
            **filters,
            "tenant": saved["tenant"],
            "from": start and as_day(start, zone),
            "to": end and as_day(end, zone),
            GROUP_BY: ",".join(saved[GROUP_BY]),
            "tz": saved["tz"],
            "sessions": "true" if saved["count_sessions"] else None,
        }
    )


def differing_reports(saved: Mapping[str, Any], question: Question, name: str, span: str) -> list[Differs]:
    """Return in what a saved report is not what was typed."""
    asked = dict(question.given) | {"tz": question.get("tz") or saved["tz"]}  # without one it is the ledger's
    typed = asked | {"name": name, "span": span_label(span)}
    now = dict(question_of(saved).given) | {"name": saved["name"], "span": span_label(saved["span"])}
    labels = {"name": "Name", "span": "About"}
    labels |= {one: _capital(param_word(one)) for one in KEPT if one != "tenant"}
    return differing(labels, now, typed)


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def not_kept(question: Question) -> str:
    """Return what of a question a saved report has no place for, besides its time; empty if nothing."""
    return listed([name for name in ("session", "period", "basis") if _says(question, name)])


def _says(question: Question, name: str) -> bool:
    return question.get(name) not in ("", "occurred")


def span_of(question: Question, now: datetime, zone: tzinfo) -> str:
    """Return the span that a question's time is now; this month where it is none."""
    given = (question.get("from"), question.get("to"))
    found = (one.span for one in quick_spans(now, zone) if (one.start, one.end) == given)
    return next((span for span in found if span is not None), "this-month")


def span_options(span: str) -> Options:
    """Return the spans that there are to choose from, and the one that is chosen."""
    known = {name for name, _ in SPANS}
    return SPANS if span in known or not span else (*SPANS, (span, span_label(span)))


def span_label(span: str) -> str:
    """Return what a span is called."""
    return dict(SPANS).get(span, span.replace("-", " ").capitalize())


def in_words(saved: Mapping[str, Any]) -> str:
    """Return what a saved report asks."""
    groups = f"by {listed([group_word(name) for name in saved[GROUP_BY]])}" if saved[GROUP_BY] else "in all"
    filters = [
        param_word(name) if value is True else f"{param_word(name)} {value}"
        for name, value in saved["filters"].items()
        if value is not None and value is not False
    ]
    only = f"; only {listed(filters)}" if filters else ""
    return f"{span_label(saved['span'])} {groups}{only}"
