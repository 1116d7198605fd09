"""Metrics: what is counted, and that labels stay few whatever peers send."""

import math
import platform
import re
import time
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder

from proxy.core.events import Side
from proxy.core.rating import Line
from proxy.core.records import Entry, Kind
from proxy.core.refusal import KEY_MISSING, limit_reached
from proxy.core.usage import Flag, Meter
from proxy.observe.control_metrics import ControlMetrics
from proxy.observe.metrics import MODELS_MAX, TENANTS_MAX, Metrics


def fresh() -> Metrics:
    return Metrics(CollectorRegistry(), "1.2.3")


def entry(**changes: object) -> Entry:
    lines = (
        Line(meter=Meter.AUDIO_IN, quantity=100, cost_nanousd=3_200_000),
        Line(meter=Meter.TEXT_OUT, quantity=50, cost_nanousd=800_000),
    )
    facts: dict[str, object] = {
        "session_id": "ses_1",
        "upstream_session_id": "sess_1",
        "provider": "openai",
        "kind": Kind.RESPONSE,
        "subject_id": "resp_1",
        "model": "gpt-realtime",
        "status": "completed",
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        "lines": lines,
        "cost_nanousd": 4_000_000,
    }
    return Entry(**(facts | changes))  # type: ignore[arg-type]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_an_entry_is_counted_by_tenant_model_and_meter() -> None:
    """Tokens are counts, costs are dollars."""
    metrics = fresh()
    metrics.booked(entry(), "acme")
    who = {"tenant": "acme", "model": "gpt-realtime"}
    assert value(metrics, "talkmeter_usage_units_total", **who, meter="audio_in") == 100
    assert value(metrics, "talkmeter_cost_usd_total", **who, meter="audio_in") == 0.0032
    assert value(metrics, "talkmeter_responses_total", **who, status="completed") == 1
    assert value(metrics, "talkmeter_entries_total", kind="response") == 1
    assert value(metrics, "talkmeter_unrated_entries_total", **who) is None


def test_what_needs_a_look_is_counted_apart() -> None:
    """Unrated, estimated and flagged entries each have a metric."""
    metrics = fresh()
    metrics.booked(entry(cost_nanousd=None, estimated=True, flags=(Flag.USAGE_MISSING, "odd")), "acme")
    who = {"tenant": "acme", "model": "gpt-realtime"}
    assert value(metrics, "talkmeter_unrated_entries_total", **who) == 1
    assert value(metrics, "talkmeter_estimated_entries_total", **who) == 1
    assert value(metrics, "talkmeter_entry_flags_total", flag="usage_missing") == 1
    assert value(metrics, "talkmeter_entry_flags_total", flag="other") == 1


def test_a_transcription_is_no_response() -> None:
    """It is an entry, but `responses` counts responses only."""
    metrics = fresh()
    metrics.booked(entry(kind=Kind.TRANSCRIPTION), "acme")
    assert value(metrics, "talkmeter_entries_total", kind="transcription") == 1
    assert "talkmeter_responses_total{" not in generate_latest(metrics.registry).decode()


def test_labels_are_bounded() -> None:
    """However many tenants, models, statuses, codes and reasons there are."""
    metrics = fresh()
    for number in range(TENANTS_MAX + 50):
        metrics.booked(entry(status=f"status {number}"), f"tenant {number}")
        metrics.booked(entry(model=f"model {number}"), "tenant 0")
        metrics.session_ended(4_001 + number, f"reason {number}", 1)
    text = generate_latest(metrics.registry).decode()
    assert len(set(re.findall(r'tenant="([^"]*)"', text))) == TENANTS_MAX + 1
    assert len(set(re.findall(r'model="([^"]*)"', text))) == MODELS_MAX + 1
    assert len(set(re.findall(r'status="([^"]*)"', text))) <= 21
    assert set(re.findall(r'code="([^"]*)"', text)) == {"other"}
    assert len(set(re.findall(r'reason="([^"]*)"', text))) <= 41


def test_sessions_traffic_and_refusals() -> None:
    """Codes and reasons, directions, and names of refusals."""
    metrics = fresh()
    metrics.session_ended(1000, "client_closed", 12.5)
    metrics.session_ended(None, "client_lost", -1)
    metrics.relayed(Side.CLIENT, 3, 3_000)
    metrics.refused(KEY_MISSING)
    assert value(metrics, "talkmeter_sessions_ended_total", code="1000", reason="client_closed") == 1
    assert value(metrics, "talkmeter_sessions_ended_total", code="none", reason="client_lost") == 1
    assert value(metrics, "talkmeter_session_seconds_sum") == 12.5
    assert value(metrics, "talkmeter_messages_total", sender="client") == 3
    assert value(metrics, "talkmeter_relayed_bytes_total", sender="client") == 3_000
    assert value(metrics, "talkmeter_refusals_total", refusal="key_missing") == 1


def test_a_negative_quantity_cannot_stop_the_count() -> None:
    """A counter refuses to fall; a correction is not traffic."""
    metrics = fresh()
    metrics.booked(entry(lines=(Line(meter=Meter.TEXT_IN, quantity=-5, cost_nanousd=-10),)), "acme")
    assert (
        value(metrics, "talkmeter_usage_units_total", tenant="acme", model="gpt-realtime", meter="text_in")
        == 0
    )


def test_every_metric_is_named_and_described_properly() -> None:
    """Our prefix, base units, a description; and both formats can be written."""
    metrics = fresh()
    families = [family for family in metrics.registry.collect() if not family.name.startswith("process_")]
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("talkmeter_")
        assert family.documentation
        assert not re.search(r"_(ms|milliseconds|kb|mb|minutes|nanousd)$", family.name)
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert b"# EOF" in encode(metrics.registry)
    assert value(metrics, "talkmeter_build_info", version="1.2.3", python=_python()) == 1


def test_two_data_planes_in_one_process_do_not_meet() -> None:
    """Each has a registry of its own."""
    one, two = fresh(), fresh()
    one.refused(KEY_MISSING)
    assert value(two, "talkmeter_refusals_total", refusal="key_missing") is None


def _python() -> str:
    return platform.python_version()


def test_cuts_are_counted_by_their_name() -> None:
    metrics = fresh()
    metrics.cut(limit_reached("responses", "3"))
    metrics.cut(limit_reached("responses", "5"))
    labels = {"refusal": "limit_responses"}
    assert metrics.registry.get_sample_value("talkmeter_cuts_total", labels) == 2


def test_what_was_input_to_a_response_and_how_much_of_it_was_cached() -> None:
    """By the provider's report: not by our estimate, not of a transcription, and not of nothing."""
    metrics = fresh()
    counts = {Meter.TEXT_IN: 100, Meter.TEXT_IN_CACHED: 200, Meter.AUDIO_IN: 100, Meter.AUDIO_OUT: 500}
    lines = tuple(Line(meter=meter, quantity=n, cost_nanousd=1) for meter, n in counts.items())
    metrics.booked(entry(lines=lines), "acme")
    metrics.booked(entry(lines=lines, estimated=True), "acme")
    metrics.booked(entry(lines=lines, kind=Kind.TRANSCRIPTION), "acme")
    metrics.booked(entry(lines=()), "acme")
    model = {"model": "gpt-realtime"}
    assert value(metrics, "talkmeter_response_context_tokens_count", **model) == 1
    assert value(metrics, "talkmeter_response_context_tokens_sum", **model) == 400
    assert value(metrics, "talkmeter_response_cached_ratio_count", **model) == 1
    assert value(metrics, "talkmeter_response_cached_ratio_sum", **model) == 0.5
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert b'# {session="ses_1"} 400.0' in encode(metrics.registry)


def test_budgets_are_shown_while_they_enclose_somebody() -> None:
    metrics = fresh()
    metrics.budgets_used({("acme", "tenant month"): 0.5, ("_all", "organisation month"): 0.1})
    metrics.budgets_used({("acme", "tenant month"): 0.6})
    assert value(metrics, "talkmeter_budget_used_ratio", tenant="acme", budget="tenant month") == 0.6
    gone = {"tenant": "_all", "budget": "organisation month"}
    assert value(metrics, "talkmeter_budget_used_ratio", **gone) is None
    metrics.budgets_used({})
    assert "talkmeter_budget_used_ratio{" not in generate_latest(metrics.registry).decode()


def test_the_budgets_of_many_tenants_are_one_series() -> None:
    """The fullest of them."""
    metrics = fresh()
    metrics.budgets_used({(f"tenant {n}", "tenant month"): n / 1_000 for n in range(TENANTS_MAX + 5)})
    others = value(metrics, "talkmeter_budget_used_ratio", tenant="_other", budget="tenant month")
    assert others == (TENANTS_MAX + 4) / 1_000


def test_the_budgets_of_all_tenants_are_shown_after_however_many_tenants() -> None:
    """They are nobody's: their name takes no tenant's place, and is not `_other`."""
    metrics, whole = fresh(), ("_all", "organisation month")
    metrics.budgets_used({whole: 0.1})
    metrics.budgets_used({(f"tenant {n}", "tenant month"): 0.5 for n in range(TENANTS_MAX)} | {whole: 0.2})
    assert value(metrics, "talkmeter_budget_used_ratio", tenant="_other", budget="tenant month") is None
    metrics = fresh()
    for n in range(TENANTS_MAX):
        metrics.tenants.of(f"tenant {n}")
    metrics.budgets_used({whole: 0.3})
    assert value(metrics, "talkmeter_budget_used_ratio", tenant=whole[0], budget=whole[1]) == 0.3


def test_the_ledger_was_never_written_to_until_it_was() -> None:
    """Not a number at first: nobody is to be told of a commit in 1970."""
    metrics = fresh()
    assert math.isnan(value(metrics, "talkmeter_ledger_last_commit_timestamp_seconds") or 0)
    metrics.underway.read("a")
    began = time.time()
    metrics.wrote_to_ledger(["a", "b"])
    last = value(metrics, "talkmeter_ledger_last_commit_timestamp_seconds")
    assert last is not None and began <= last <= time.time()
    assert value(metrics, "talkmeter_usage_to_ledger_seconds_count") == 1
    control = ControlMetrics(CollectorRegistry())
    assert math.isnan(control.registry.get_sample_value("talkmeter_reconciliation_variance_ratio") or 0)
