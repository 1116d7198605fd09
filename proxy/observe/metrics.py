"""Every metric, declared once: prefix `talkmeter_`, base units, bounded labels.

Costs are floats in dollars here, for dashboards only: bills are made from the ledger. Labels never
carry a session, a key or an end user. Names that come from outside go through `Names`.
"""

import platform
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from proxy.core.budget_use import ALL_TENANTS
from proxy.core.events import Side
from proxy.core.money import NANOUSD_PER_USD
from proxy.core.records import Entry, Kind
from proxy.core.refusal import Refusal
from proxy.core.usage import CACHED_METERS, INPUT_METERS, Flag, Meter
from proxy.observe.names import Names
from proxy.observe.underway import Underway

# One more series for each counter, which no query reads. (The package has no types for it.)
disable_created_metrics()  # type: ignore[no-untyped-call]

TENANTS_MAX = 100
MODELS_MAX = 50
STATUSES_MAX = 20
REASONS_MAX = 40

CHILDREN_MAX = 10_000  # series that are found without asking the package, which takes long

CLOSE_CODES = frozenset({*range(1000, 1016), 3000, 4000})  # the others come from apps, as they like

_FLAGS = frozenset(flag.value for flag in Flag)

SESSION_S = (1, 5, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200)
OVERSHOOT_USD = (0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
ERROR_RATIOS = (-0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
COMMIT_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
LAG_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
FIRST_AUDIO_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10)
RESPONSE_S = (0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120)
CONTEXT_TOKENS = (100, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000)
SHARES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
RELAY_S = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
TO_LEDGER_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


M = TypeVar("M", Counter, Histogram)


class Metrics:
    """The metrics of one data plane, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.registry = registry
        self.tenants = Names(TENANTS_MAX)
        self.models = Names(MODELS_MAX)
        self._statuses = Names(STATUSES_MAX)
        self._reasons = Names(REASONS_MAX)
        self._declare_traffic()
        self._declare_voice()
        self._declare_money()
        self._declare_budgets()
        self._declare_durability()
        self._declare_process(version)
        self._child = lru_cache(CHILDREN_MAX)(_child)
        self._budgets_shown: set[tuple[str, str]] = set()
        self.underway = Underway(self.to_ledger.observe)

    def _declare_traffic(self) -> None:
        self.sessions_active = self._gauge("talkmeter_sessions_active", "Sessions that are open now")
        self.sessions = self._counter(
            "talkmeter_sessions_ended_total",
            "Sessions that ended, by the close code the client saw",
            "code",
            "reason",
        )
        self.session_seconds = self._histogram(
            "talkmeter_session_seconds", "How long sessions lasted", SESSION_S
        )
        self.messages = self._counter(
            "talkmeter_messages_total", "Messages relayed, by who sent them", "sender"
        )
        self.bytes = self._counter(
            "talkmeter_relayed_bytes_total", "Bytes relayed, by who sent them", "sender"
        )
        self.refusals = self._counter("talkmeter_refusals_total", "Refusals, by their name", "refusal")
        self.cuts = self._counter(
            "talkmeter_cuts_total", "Sessions that were ended in the middle, by the refusal's name", "refusal"
        )

        self.unread = self._counter(
            "talkmeter_upstream_unreadable_total",
            "Messages of the upstream that could not be read for what they bill",
        )

    def _declare_voice(self) -> None:
        self.first_audio = self._histogram(
            "talkmeter_time_to_first_audio_seconds",
            "From the end of speech, or the request that began the answer, to its first audio",
            FIRST_AUDIO_S,
            "model",
        )
        self.response_seconds = self._histogram(
            "talkmeter_response_seconds", "From response.created to response.done", RESPONSE_S, "model"
        )
        self.interruptions = self._counter(
            "talkmeter_interruptions_total",
            "Responses that the person cut short by speaking",
            "tenant",
            "model",
        )
        self.output_audio = self._counter(
            "talkmeter_output_audio_seconds_total", "Output audio that the upstream sent", "tenant", "model"
        )
        self.unheard_audio = self._counter(
            "talkmeter_unheard_audio_seconds_total",
            "Of the output audio, what was not played, as the client says when it truncates an item",
            "tenant",
            "model",
        )
        self.context_tokens = self._histogram(
            "talkmeter_response_context_tokens",
            "Input tokens of a response, cached ones included",
            CONTEXT_TOKENS,
            "model",
        )
        self.cached_ratio = self._histogram(
            "talkmeter_response_cached_ratio", "Cached share of a response's input tokens", SHARES, "model"
        )
        self.relay_seconds = self._histogram(
            "talkmeter_relay_seconds",
            "From reading a message to writing it on; a sample: of each session one read of each side"
            " every few seconds",
            RELAY_S,
            "sender",
        )

    def _declare_money(self) -> None:
        who_and_what = ("tenant", "model", "meter")
        self.usage = self._counter(
            "talkmeter_usage_units_total",
            "Usage booked: tokens, or milliseconds for duration_ms",
            *who_and_what,
        )
        self.cost = self._counter(
            "talkmeter_cost_usd_total", "Cost booked in dollars; for dashboards, not for bills", *who_and_what
        )
        self.responses = self._counter(
            "talkmeter_responses_total", "Responses that ended, by status", "tenant", "model", "status"
        )
        self.entries = self._counter("talkmeter_entries_total", "Billed things, by kind", "kind")
        self.unrated = self._counter(
            "talkmeter_unrated_entries_total", "Billed things without a price", "tenant", "model"
        )
        self.estimated = self._counter(
            "talkmeter_estimated_entries_total",
            "Billed things whose figures are our estimate",
            "tenant",
            "model",
        )
        self.flags = self._counter(
            "talkmeter_entry_flags_total", "Oddities of usage reports, by flag", "flag"
        )

    def _declare_budgets(self) -> None:
        self.budget_asks = self._histogram(
            "talkmeter_budget_ask_seconds",
            "How long a session waited for more of a budget, by the answer",
            COMMIT_S,
            "answer",
        )
        self.overshoot = self._histogram(
            "talkmeter_cut_overshoot_usd",
            "By how much a response that a budget cut cost more than was held for it, in dollars",
            OVERSHOOT_USD,
        )
        self.estimate_error = self._histogram(
            "talkmeter_estimate_error_ratio",
            "By how much a response's estimated cost was off when it ended; below 0: too low",
            ERROR_RATIOS,
        )
        self.holds = self._gauge(
            "talkmeter_holds_usd", "Held for responses and transcriptions in flight, in dollars"
        )
        self.budget_used = self._gauge(
            "talkmeter_budget_used_ratio",
            "Spent share of the budgets that enclose live sessions; the highest of those with one name",
            "tenant",
            "budget",
        )
        self.budget_denials = self._counter(
            "talkmeter_budget_denials_total",
            "Sessions, requests and responses that a budget refused or cut",
            "scope",
            "window",
        )
        self.budget_overshoot = self._counter(
            "talkmeter_budget_overshoot_usd_total",
            "Spent beyond the amounts of budgets that block or cut, in dollars; summed over budgets",
        )

    def _declare_durability(self) -> None:
        self.journal_depth = self._gauge("talkmeter_journal_depth_records", "Journal records not yet posted")
        self.journal_lag = self._gauge(
            "talkmeter_journal_lag_seconds", "Age of the oldest journal record that is not yet posted"
        )
        self.journal_parked = self._gauge(
            "talkmeter_journal_parked_records", "Journal records that the ledger refused: look at them"
        )
        self.journal_accepting = self._gauge(
            "talkmeter_journal_accepting", "1 while the journal takes new sessions"
        )
        self.journal_commit = self._histogram(
            "talkmeter_journal_commit_seconds", "How long commits of the journal took", COMMIT_S
        )
        self.posted = self._counter("talkmeter_posted_entries_total", "Entries that were new in the ledger")
        self.repeated = self._counter(
            "talkmeter_repeated_entries_total", "Entries that the ledger had already, unchanged"
        )
        self.conflicts = self._counter(
            "talkmeter_entry_conflicts_total",
            "Entries that the ledger had already with other figures: look at them",
        )
        self.poster_failures = self._counter(
            "talkmeter_poster_failures_total", "Attempts to post that failed"
        )
        self.to_ledger = self._histogram(
            "talkmeter_usage_to_ledger_seconds",
            "From reading usage to its entry being in the ledger",
            TO_LEDGER_S,
        )
        self.last_commit = self._gauge(
            "talkmeter_ledger_last_commit_timestamp_seconds",
            "When this instance last wrote to the ledger; NaN before it first has",
        )
        self.last_commit.set(float("nan"))
        self.poster_up = self._gauge("talkmeter_poster_up", "1 while the last attempt to post succeeded")

    def _declare_process(self, version: str) -> None:
        self.loop_lag = self._histogram(
            "talkmeter_event_loop_lag_seconds", "How late the event loop woke up a timer", LAG_S
        )
        build = Info("talkmeter_build", "Which Talkmeter this is", registry=self.registry)
        build.info({"version": version, "python": platform.python_version()})
        ProcessCollector(registry=self.registry)

    def series(self, metric: M, *labels: str) -> M:
        """Return the series of `metric` with these labels."""
        found: M = self._child(metric, *labels)
        return found

    def refused(self, refusal: Refusal) -> None:
        """Count a "no" at the door."""
        self.refusals.labels(refusal.name).inc()
        self.denied(refusal)

    def denied(self, refusal: Refusal) -> None:
        """Count a "no", at the door or later, if a budget has said it."""
        if refusal.budget is not None:
            self.budget_denials.labels(*refusal.budget).inc()

    def budgets_used(self, ratios: Mapping[tuple[str, str], float]) -> None:
        """Show the used share of budgets, by tenant and name; those that are not among them disappear."""
        shown: dict[tuple[str, str], float] = {}
        for (tenant, budget), ratio in ratios.items():
            labels = (tenant if tenant == ALL_TENANTS else self.tenants.of(tenant), budget)
            shown[labels] = max(ratio, shown.get(labels, 0.0))
        for gone in self._budgets_shown - shown.keys():
            self.budget_used.remove(*gone)
        for labels, ratio in shown.items():
            self.budget_used.labels(*labels).set(ratio)
        self._budgets_shown = set(shown)

    def wrote_to_ledger(self, entry_keys: Iterable[str]) -> None:
        """Note that a transaction has brought these entries into the ledger, if any."""
        self.last_commit.set_to_current_time()
        self.underway.posted(entry_keys)

    def asked_for_money(self, answer: str, seconds: float) -> None:
        """Count a wait for more of a budget: granted, refused, or unknown since nobody answered."""
        self.budget_asks.labels(answer).observe(seconds)

    def overshot(self, nanousd: int) -> None:
        """Count what a cut response has cost beyond its hold."""
        self.overshoot.observe(nanousd / NANOUSD_PER_USD)

    def cut(self, refusal: Refusal) -> None:
        """Count a session that was ended in the middle."""
        self.cuts.labels(refusal.name).inc()

    def relayed(self, sender: Side, messages: int, byte_count: int) -> None:
        """Count traffic; called once in a while with what has gathered, not for every message."""
        self.messages.labels(sender.value).inc(messages)
        self.bytes.labels(sender.value).inc(byte_count)

    def session_ended(self, code: int | None, reason: str, seconds: float) -> None:
        """Count a session that is over."""
        self.sessions.labels(_code_label(code), self._reasons.of(reason)).inc()
        self.session_seconds.observe(max(seconds, 0))

    def booked(self, entry: Entry, tenant: str) -> None:
        """Count a billed thing and what it used and cost."""
        who, model = self.tenants.of(tenant), self.models.of(entry.model)
        self.series(self.entries, entry.kind.value).inc()
        if entry.kind is Kind.RESPONSE:
            self.series(self.responses, who, model, self._statuses.of(entry.status)).inc()
            self._context(entry, model)
        if entry.cost_nanousd is None:
            self.series(self.unrated, who, model).inc()
        if entry.estimated:
            self.series(self.estimated, who, model).inc()
        for flag in entry.flags:
            self.series(self.flags, _flag_label(flag)).inc()
        if entry.estimate_nanousd is not None and entry.cost_nanousd:
            self.estimate_error.observe(entry.estimate_nanousd / entry.cost_nanousd - 1)
        for line in entry.lines:
            self._line(who, model, line.meter, line.quantity, line.cost_nanousd)

    def _context(self, entry: Entry, model: str) -> None:
        """Count what was input to a response, by the provider's own report."""
        tokens = sum(line.quantity for line in entry.lines if line.meter in INPUT_METERS)
        if entry.estimated or tokens <= 0:
            return
        cached = sum(line.quantity for line in entry.lines if line.meter in CACHED_METERS)
        self.series(self.context_tokens, model).observe(tokens, {"session": entry.session_id})
        self.series(self.cached_ratio, model).observe(cached / tokens)

    def _line(self, who: str, model: str, meter: Meter, quantity: int, cost_nanousd: int | None) -> None:
        self.series(self.usage, who, model, meter.value).inc(max(quantity, 0))
        if cost_nanousd:
            self.series(self.cost, who, model, meter.value).inc(max(cost_nanousd, 0) / NANOUSD_PER_USD)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(name, description, labels, registry=self.registry)

    def _histogram(self, name: str, description: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, description, labels, buckets=buckets, registry=self.registry)


def _child(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)


def _code_label(code: int | None) -> str:
    if code is None:
        return "none"
    return str(code) if code in CLOSE_CODES else "other"


def _flag_label(flag: str) -> str:
    return flag if flag in _FLAGS else "other"
