"""The metrics of a control plane, which stand below those of its data planes in one scrape."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.core.announced import REPORT, Announced
from proxy.observe.names import OTHER


class ControlMetrics:
    """The metrics of one control plane, which `/metrics` shows below those of the data plane."""

    def __init__(self, registry: CollectorRegistry, starts: int = 0) -> None:
        """`starts`: how many control planes were started, this one too."""
        self.registry = registry
        Counter(
            "talkmeter_control_plane_starts_total",
            "Starts of the control plane's process",
            registry=registry,
        ).inc(starts)
        self.workers_up = Gauge(
            "talkmeter_worker_up",
            "1 while a worker answers; none without workers",
            ("worker",),
            registry=registry,
        )
        self.instances = Gauge(
            "talkmeter_instances",
            "Instances: running, or dead (not ended, and not seen for 30 s). None without a database",
            ("state",),
            registry=registry,
        )
        self.announcements = Counter(
            "talkmeter_announcements_total", "Announcements, by kind", ("kind",), registry=registry
        )
        self.deliveries = Counter(
            "talkmeter_webhook_deliveries_total",
            "Attempts to deliver to receivers of any kind: delivered, failed (tried again) or given_up",
            ("outcome",),
            registry=registry,
        )
        self.variance = Gauge(
            "talkmeter_reconciliation_variance_ratio",
            "Unexplained share of the provider's bill at the last comparison; NaN if there was none",
            registry=registry,
        )
        self.variance.set(float("nan"))

    def counted_instances(self, counts: Mapping[str, int]) -> None:
        """Note how many instances there are, by state; nothing where nobody knows."""
        if not counts:
            self.instances.clear()
        for state, count in counts.items():
            self.instances.labels(state).set(count)

    def answered(self, workers: Mapping[str, bool]) -> None:
        """Note which workers have answered."""
        for worker, is_up in workers.items():
            self.workers_up.labels(worker).set(is_up)

    def announced(self, kind: str) -> None:
        """Count an announcement."""
        self.announcements.labels(kind if kind in {*Announced, REPORT} else OTHER).inc()
