"""Every query of every panel, asked of a real Prometheus that has scraped a real Talkmeter."""

import asyncio
import math
import re
from collections.abc import Iterator

import pytest
import uvloop

from tests.dashboards.files import ALERTS, DASHBOARDS, WITH_EXEMPLARS, filled, load, panels
from tests.dashboards.story import Story, told
from tests.e2e.place import furnish
from tests.prometheus import promtool

pytestmark = pytest.mark.slow
HAPPENED = [
    "sum(talkmeter_interruptions_total)",
    "sum(talkmeter_unheard_audio_seconds_total)",
    "sum(talkmeter_unrated_entries_total)",
    "sum(talkmeter_estimated_entries_total)",
    'sum(talkmeter_cuts_total{refusal="budget_spent"})',
    'sum(talkmeter_refusals_total{refusal="unknown_key"})',
    'sum(talkmeter_webhook_deliveries_total{outcome="failed"})',
    "sum(talkmeter_budget_denials_total)",
    "sum(talkmeter_response_cached_ratio_sum)",
    "sum(talkmeter_cut_overshoot_usd_count)",
]
QUERIES = [
    pytest.param(target["expr"], id=f"{path.stem}-{panel['id']}-{target['refId']}-{panel['title']}")
    for path in DASHBOARDS
    for panel in panels(load(path))
    for target in panel["targets"]
]
VARIABLES = sorted(
    {
        one["definition"]
        for path in DASHBOARDS
        for one in load(path)["templating"]["list"]
        if "definition" in one
    }
)


@pytest.fixture(scope="module")
def story(shared_sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A story that was told, and the Prometheus that watched it."""
    folder = tmp_path_factory.mktemp("story")
    home = furnish(folder, shared_sqlite_url)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        telling = told(home, folder)
        yield runner.run(telling.__aenter__())
        runner.run(telling.__aexit__(None, None, None))


@pytest.mark.parametrize("expr", QUERIES)
def test_a_panel_shows_something(story: Story, expr: str) -> None:
    found = story.prometheus.query(filled(expr), story.at)
    assert found, f"no series: {expr}"
    assert any(not math.isnan(float(one["value"][1])) for one in found), f"no number: {expr}"


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_has_values(story: Story, variable: str) -> None:
    metric, label = re.findall(r"^label_values\((\w+), (\w+)\)$", variable)[0]
    assert story.prometheus.ask(f"label/{label}/values", **{"match[]": metric})


@pytest.mark.parametrize("expr", HAPPENED)
def test_what_happened_is_shown_as_more_than_nothing(story: Story, expr: str) -> None:
    """Panels of rare things show zeros when nothing happens: here it did."""
    value = story.prometheus.value(expr, story.at)
    assert value is not None and value > 0


@pytest.mark.parametrize("name", sorted(WITH_EXEMPLARS))
def test_exemplars_lead_to_conversations(story: Story, name: str) -> None:
    found = {one["session"] for one in story.prometheus.exemplars(name, story.began_at, story.at)}
    assert found and found <= {one.id for one in story.home.sessions()}


def test_rules_are_evaluated(story: Story) -> None:
    rules = story.prometheus.rules()
    assert {rule["name"] for rule in rules} == set(ALERTS)
    assert [rule for rule in rules if rule["health"] != "ok"] == []


def test_an_alert_fires_for_what_had_no_price(story: Story) -> None:
    (fires,) = story.prometheus.query('ALERTS{alertname="TalkmeterUnrated"}', story.at)
    assert (fires["metric"]["tenant"], fires["metric"]["alertstate"]) == ("acme", "firing")
    texts = [alert["annotations"] for rule in story.prometheus.rules() for alert in rule["alerts"]]
    assert texts and "error expanding" not in str(texts)


def test_metrics_are_as_prometheus_wants_them(story: Story) -> None:
    """Base units, counters that end in _total, a help for each."""
    promtool("check", "metrics", stdin=story.exposition)
