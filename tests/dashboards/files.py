"""The dashboards, read."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from proxy.observe.control_metrics import ControlMetrics
from proxy.observe.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "dashboards"
DASHBOARDS = sorted(FOLDER.glob("*.json"))

RULES = FOLDER / "prometheus" / "rules.yml"
GROUPS: dict[str, list[dict[str, Any]]] = {
    group["name"]: group["rules"] for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
}
ALERTS = {rule["alert"]: rule for rules in GROUPS.values() for rule in rules}
WITH_EXEMPLARS = {
    "talkmeter_time_to_first_audio_seconds_bucket",
    "talkmeter_response_seconds_bucket",
    "talkmeter_response_context_tokens_bucket",
}


def load(path: Path) -> dict[str, Any]:
    """Return a dashboard."""
    dashboard: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return dashboard


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is shown, without the rows that it stands in."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: dict[str, Any]) -> list[str]:
    """Return all queries of its panels."""
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]


def filled(expr: str) -> str:
    """Return a query as Grafana would send it, with all values of each variable."""
    return re.sub(r"\$(?!__)\w+", ".+", expr.replace("$__rate_interval", "5m"))


def names_in(query: str) -> set[str]:
    """Return the series that a query names: Talkmeter's own, and those of Prometheus about it."""
    without_strings = re.sub(r'"[^"]*"', '""', query)
    return set(re.findall(r"\b(?:talkmeter_\w+|process_\w+|up\b|ALERTS\b)", without_strings))


def _families() -> dict[str, tuple[set[str], set[str]]]:
    """Return the names and the labels of the series of each metric that Talkmeter declares."""
    registry = CollectorRegistry()
    declared = {**vars(Metrics(registry, "0")), **vars(ControlMetrics(registry))}
    metrics = [m for m in declared.values() if isinstance(m, MetricWrapperBase)]
    labels = {family.name: set(metric._labelnames) for metric in metrics for family in metric.describe()}
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
    return {
        family.name: (
            {family.name + ending for ending in endings.get(family.type, [""])},
            labels.get(family.name, set()),
        )
        for family in registry.collect()
    }


FAMILIES = {family: names for family, (names, _) in _families().items()}
OF_PROMETHEUS = {"up": {"job"}, "ALERTS": {"alertname", "alertstate", "severity"}}
SERIES = OF_PROMETHEUS | {
    name: labels | ({"le"} if name.endswith("_bucket") else set())
    for names, labels in _families().values()
    for name in names
}
SERIES["talkmeter_build_info"] = {"version", "python"}
