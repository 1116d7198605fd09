"""The dashboards: loadable, and asking only for metrics and labels that exist."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from proxy.observe.control_metrics import ControlMetrics
from proxy.observe.metrics import Metrics

DASHBOARDS = sorted((Path(__file__).parents[1] / "dashboards").glob("*.json"))
EVERY = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)


def load(path: Path) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return dashboard


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]


def series() -> dict[str, set[str]]:
    """Return the name of every series that Talkmeter exposes, with its labels."""
    registry = CollectorRegistry()
    declared = {**vars(Metrics(registry, "0")), **vars(ControlMetrics(registry))}
    metrics = [m for m in declared.values() if isinstance(m, MetricWrapperBase)]
    labels = {family.name: set(metric._labelnames) for metric in metrics for family in metric.describe()}
    names: dict[str, set[str]] = {}
    for family in registry.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
        for ending in endings.get(family.type, [""]):
            bucket = {"le"} if ending == "_bucket" else set()
            names[family.name + ending] = labels.get(family.name, set()) | bucket
    return names


SERIES = series()


def test_there_is_a_dashboard() -> None:
    assert DASHBOARDS


@EVERY
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard = load(path)
    assert dashboard["title"] and dashboard["uid"] and dashboard["schemaVersion"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["title"] and panel["targets"] for panel in panels(dashboard))


@EVERY
def test_every_metric_exists(path: Path) -> None:
    asked = {name for query in queries(load(path)) for name in re.findall(r"talkmeter_\w+", query)}
    assert asked
    assert asked - set(SERIES) == set()


@EVERY
def test_every_label_exists(path: Path) -> None:
    for query in queries(load(path)):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))
        for group in re.findall(r"\bby\s*\(([^)]*)\)", query):
            asked |= {label.strip() for label in group.split(",")}
        has = set().union(*(SERIES[name] for name in re.findall(r"talkmeter_\w+", query)))
        assert asked <= has, query


@EVERY
def test_legends_name_labels_of_their_query(path: Path) -> None:
    for panel in panels(load(path)):
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = {
                g.strip() for by in re.findall(r"\bby\s*\(([^)]*)\)", target["expr"]) for g in by.split(",")
            }
            assert named <= grouped, panel["title"]


@EVERY
def test_brackets_match(path: Path) -> None:
    for query in queries(load(path)):
        for opening, closing in ("()", "[]", "{}"):
            assert query.count(opening) == query.count(closing), query


@EVERY
def test_no_panel_covers_another(path: Path) -> None:
    for one, other in combinations((panel["gridPos"] for panel in load(path)["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
        assert one["x"] + one["w"] <= 24
