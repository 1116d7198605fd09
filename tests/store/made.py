"""Records for the tests of the store, with everything that a test does not care about filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.core.rating import Line
from proxy.core.records import (
    Entry,
    Kind,
    Progress,
    SessionBound,
    SessionClosed,
    SessionOpened,
    SubjectOpened,
)
from proxy.core.usage import Meter

AT = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)


def opened(session_id: str = "s_1", **facts: Any) -> SessionOpened:
    given: dict[str, Any] = {
        "tenant_id": "t_1",
        "project_id": None,
        "api_key_id": "k_1",
        "end_user": None,
        "tags": {},
        "provider": "openai",
        "account": None,
        "model": "gpt-realtime",
        "opened_at": AT,
    }
    return SessionOpened(session_id=session_id, **(given | facts))


def bound(session_id: str = "s_1", **facts: Any) -> SessionBound:
    given: dict[str, Any] = {"upstream_session_id": "sess_1", "model": "gpt-realtime", "at": AT}
    return SessionBound(session_id=session_id, **(given | facts))


def subject(subject_id: str, session_id: str = "s_1", kind: Kind = Kind.RESPONSE) -> SubjectOpened:
    return SubjectOpened(
        session_id=session_id,
        upstream_session_id=f"sess_{session_id}",
        provider="openai",
        kind=kind,
        subject_id=subject_id,
        model="gpt-realtime",
        opened_at=AT,
    )


def lines(tokens: int) -> tuple[Line, ...]:
    """Audio in and text out, so many tokens of each, at 32 and 16 dollars a million."""
    return tuple(
        Line(
            meter=meter,
            quantity=tokens,
            price_nanousd=price,
            price_per=1,
            list_nanousd=tokens * price,
            cost_nanousd=tokens * price,
            billed_nanousd=tokens * price,
            rate_card_id="rc_1",
        )
        for meter, price in ((Meter.AUDIO_IN, 32_000), (Meter.TEXT_OUT, 16_000))
    )


def cost(tokens: int) -> int:
    return tokens * 48_000


def progress(subject_id: str, tokens: int, session_id: str = "s_1", kind: Kind = Kind.RESPONSE) -> Progress:
    return Progress(
        session_id=session_id,
        kind=kind,
        subject_id=subject_id,
        lines=lines(tokens),
        cost_nanousd=cost(tokens),
    )


def entry(subject_id: str, tokens: int = 10, session_id: str = "s_1", **facts: Any) -> Entry:
    given: dict[str, Any] = {
        "upstream_session_id": f"sess_{session_id}",
        "provider": "openai",
        "kind": Kind.RESPONSE,
        "model": "gpt-realtime",
        "status": "completed",
        "occurred_at": AT,
        "lines": lines(tokens),
        "cost_nanousd": cost(tokens),
    }
    return Entry(session_id=session_id, subject_id=subject_id, **(given | facts))


def closed(session_id: str = "s_1", **facts: Any) -> SessionClosed:
    given: dict[str, Any] = {
        "closed_at": AT + timedelta(minutes=5),
        "close_code": 1000,
        "reason": "client_closed",
    }
    return SessionClosed(session_id=session_id, **(given | facts))
