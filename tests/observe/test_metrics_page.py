"""The page about metrics has each of them, with its type and labels, and no others."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Info
from prometheus_client.metrics import MetricWrapperBase

from proxy.core.budgets import Scope
from proxy.core.windows import Window
from proxy.observe.control_metrics import ControlMetrics
from proxy.observe.metrics import MODELS_MAX, TENANTS_MAX, Metrics
from proxy.observe.underway import UNDERWAY_MAX
from proxy.relay.tunnel import SAMPLE_SWEEPS

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
WITH_EXEMPLARS = {
    "talkmeter_time_to_first_audio_seconds",
    "talkmeter_response_seconds",
    "talkmeter_response_context_tokens",
}


def declared() -> dict[str, tuple[str, frozenset[str]]]:
    """Return the type and the labels of every metric, by the name that queries use."""
    registry = CollectorRegistry()
    Metrics(registry, "0")
    ControlMetrics(registry)
    found = {}
    for metric in registry._collector_to_names:
        if not isinstance(metric, MetricWrapperBase):
            continue  # the process's own
        (family,) = metric.describe()
        ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = ("version", "python") if isinstance(metric, Info) else metric._labelnames
        found[family.name + ending] = (family.type, frozenset(labels))
    return found


def shown() -> dict[str, tuple[str, frozenset[str]]]:
    """Return what the page's tables say, in the same way; each metric stands there once."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for table in re.findall(r"<!-- metrics:.*?-->(.*?)<!-- /metrics -->", PAGE, re.DOTALL):
        for line in table.strip().splitlines()[2:]:
            name, kind, labels, meaning, when = (cell.strip() for cell in line.strip("|").split("|"))
            name = name.strip("`")
            assert name not in found and meaning and when, line
            assert ("◆" in kind) is (name in WITH_EXEMPLARS), name
            found[name] = (kind.removesuffix(" ◆"), frozenset(re.findall(r"`(\w+)`", labels)))
    return found


def test_every_metric_is_on_the_page_with_its_type_and_labels() -> None:
    assert shown() == declared()


def test_no_other_metric_is_named_on_the_page() -> None:
    assert set(re.findall(r"`(talkmeter_\w+)`", PAGE)) - set(declared()) == set()


def test_its_figures_are_those_of_the_code() -> None:
    for figure in (f"first {TENANTS_MAX} tenants", f"first {MODELS_MAX} models"):
        assert figure in PAGE
    assert f"every {SAMPLE_SWEEPS} seconds" in PAGE
    assert f"the last {UNDERWAY_MAX:,}" in PAGE
    values = re.findall(r"`(\w+)`", PAGE.partition("has the scopes")[2].partition("Where")[0])
    assert values == [*Scope, *Window]
