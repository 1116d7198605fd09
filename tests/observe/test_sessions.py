"""The watch over running sessions: two log lines each, and their metrics."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from proxy.core.rating import Line
from proxy.core.records import Entry, Kind, SessionClosed, SessionOpened
from proxy.core.subjects import disputed
from proxy.core.usage import Meter
from proxy.observe.metrics import Metrics
from proxy.observe.sessions import SessionWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def opened(session_id: str) -> SessionOpened:
    return SessionOpened(
        session_id=session_id,
        tenant_id="ten_1",
        project_id=None,
        api_key_id="key_1",
        end_user="somebody@example.org",
        tags={"call": "secret-tag"},
        provider="openai",
        account=None,
        model="gpt-realtime",
        opened_at=NOW,
    )


def booked(session_id: str, cost_nanousd: int | None) -> Entry:
    return Entry(
        session_id=session_id,
        upstream_session_id=None,
        provider="openai",
        kind=Kind.RESPONSE,
        subject_id="resp_1",
        model="gpt-realtime",
        status="completed",
        occurred_at=NOW,
        lines=(Line(meter=Meter.TEXT_IN, quantity=1, cost_nanousd=cost_nanousd),),
        cost_nanousd=cost_nanousd,
    )


def closed(session_id: str) -> SessionClosed:
    ended = NOW + timedelta(seconds=90)
    return SessionClosed(session_id=session_id, closed_at=ended, close_code=1000, reason="client_closed")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry(), "1")


@pytest.fixture
def watch(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> SessionWatch:
    caplog.set_level(logging.INFO, "proxy.observe.sessions")
    return SessionWatch(metrics, lambda opened: {"ten_1": "acme"}[opened.tenant_id])


def test_one_line_at_the_start_and_one_at_the_end(
    watch: SessionWatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last one says what it cost; neither says who spoke or what was said."""
    for record in (opened("s1"), booked("s1", 7_205_600), booked("s1", 1), closed("s1")):
        watch.see(record)
    start, end = caplog.records
    assert (start.getMessage(), end.getMessage()) == ("session started", "session ended")
    assert {"session": "s1", "tenant": "acme", "model": "gpt-realtime"}.items() <= start.__dict__.items()
    facts = {
        "responses": 2,
        "cost_usd": "0.007205601",
        "seconds": 90.0,
        "code": 1000,
        "reason": "client_closed",
    }
    assert facts.items() <= end.__dict__.items()
    assert "unrated" not in end.__dict__
    everything = str([record.__dict__ for record in caplog.records])
    assert "somebody" not in everything
    assert "secret-tag" not in everything


def test_sessions_are_counted_while_they_run_and_when_they_end(watch: SessionWatch, metrics: Metrics) -> None:
    """And nothing of an ended session is kept."""
    value = metrics.registry.get_sample_value
    watch.see(opened("s1"))
    watch.see(opened("s2"))
    assert value("talkmeter_sessions_active") == 2
    watch.see(closed("s1"))
    assert value("talkmeter_sessions_active") == 1
    labels = {"code": "1000", "reason": "client_closed"}
    assert value("talkmeter_sessions_ended_total", labels) == 1
    assert value("talkmeter_session_seconds_sum") == 90
    watch.see(closed("s1"))
    assert value("talkmeter_sessions_ended_total", labels) == 1


def test_an_unrated_entry_is_said_aloud(
    watch: SessionWatch, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """In a warning of its own and in the session's last line."""
    for record in (opened("s1"), booked("s1", None), closed("s1")):
        watch.see(record)
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.__dict__["model"] == "gpt-realtime"
    assert caplog.records[-1].__dict__["unrated"] == 1


def test_an_entry_of_a_session_that_is_not_known_is_counted_all_the_same(
    watch: SessionWatch, metrics: Metrics
) -> None:
    """Money is never left out of the metrics."""
    watch.see(booked("gone", 5))
    labels = {"tenant": "_unknown", "model": "gpt-realtime", "meter": "text_in"}
    assert metrics.registry.get_sample_value("talkmeter_usage_units_total", labels) == 1


def test_another_bill_for_the_same_thing_counts_nowhere(
    watch: SessionWatch, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger keeps the first and lists the second as a conflict; figures say what the ledger does."""
    watch.see(opened("ses_1"))
    watch.see(booked("ses_1", 100))
    watch.see(disputed(booked("ses_1", 999)))
    watch.see(closed("ses_1"))
    ended = caplog.records[-1]
    assert (ended.__dict__["responses"], ended.__dict__["cost_usd"]) == (1, "0.000000100")
