"""The alert rules: valid, firing when they should, about metrics that exist, and explained in the runbook."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.core import refusal
from proxy.core.refusal import DRAINING, INTERNAL_ERROR, Refusal, budget_unknown
from proxy.core.usage import Flag
from proxy.observe.metrics import OVERSHOOT_USD
from proxy.relay.handler import UPSTREAM_REFUSED
from proxy.relay.reason import Reason
from tests.dashboards.files import ALERTS, FOLDER, GROUPS, RULES, SERIES, names_in
from tests.prometheus import promtool, shipped_config

CASES = Path(__file__).parent / "rules_test.yml"
RUNBOOK = (FOLDER.parent / "docs" / "runbook.md").read_text(encoding="utf-8")
EACH = pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)


def test_promtool_finds_nothing_wrong() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "--lint-fatal", RULES)


@pytest.mark.slow
def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", CASES)


def test_each_alert_is_tried_firing_and_silent() -> None:
    cases: list[dict[str, Any]] = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    fires, is_silent = set(), set()
    for case in cases:
        for asked in case["promql_expr_test"]:
            names = set(re.findall(r'alertname="(\w+)"', asked["expr"]))
            if asked.get("exp_samples"):
                fires |= names
            else:
                is_silent |= names
    at_a = {name for name, rule in ALERTS.items() if re.search(r"by \(instance\)", rule["expr"])}
    assert fires == set(ALERTS)
    assert set(ALERTS) - is_silent <= at_a, (
        "whoever has an instance that is well beside it need not be silent"
    )


@EACH
def test_an_alert_is_about_what_exists(rule: dict[str, Any]) -> None:
    names = names_in(rule["expr"])
    assert names and names <= SERIES.keys()
    has = {"instance", "job", "worker"}.union(*(SERIES[name] for name in names))
    asked = set(re.findall(r"(\w+)(?:=~|=)\"", rule["expr"]))
    for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
        asked |= {label.strip() for label in group.split(",") if label}
    assert asked <= has


@EACH
def test_texts_name_labels_that_the_alert_has(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values())))
    kept = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in by.split(",")}
    whole = {"instance", "job"} if rule["expr"].startswith("up{") else set()
    assert named <= kept | whole


@EACH
def test_an_alert_says_who_is_told_and_where_to_read_on(rule: dict[str, Any]) -> None:
    (group,) = (name for name, rules in GROUPS.items() if rule in rules)
    assert rule["labels"] == {"severity": group.removeprefix("talkmeter-")}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    base = '{{ or $externalLabels.talkmeter_docs "docs" }}'
    assert rule["annotations"]["runbook_url"] == f"{base}/runbook.md#{rule['alert'].lower()}"


@pytest.mark.parametrize(("severity", "heading"), [("page", "Pages"), ("ticket", "Tickets")])
def test_the_runbook_has_a_section_for_each_alert_and_no_other(severity: str, heading: str) -> None:
    part = RUNBOOK.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", part, re.MULTILINE) == [
        r["alert"] for r in GROUPS[f"talkmeter-{severity}"]
    ]


@EACH
def test_a_section_says_what_it_means_what_to_look_at_and_what_to_do(rule: dict[str, Any]) -> None:
    section = RUNBOOK.partition(f"\n### {rule['alert']}\n")[2].partition("\n#")[0]
    assert re.findall(r"^\*\*(.+?):\*\*", section, re.MULTILINE) == ["Means", "Look at", "Do"]


def test_panels_that_the_runbook_names_are_there() -> None:
    titles = set(re.findall(r'"title": "([^"]+)"', "".join(p.read_text() for p in FOLDER.glob("*.json"))))
    found = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOK)
    named = {" ".join(title.split()) for title in found} - {"Status → Targets"}
    assert named and named <= titles


def test_a_worker_that_hangs_is_ended_by_what_it_cannot_ignore() -> None:
    """All other signals are its parent's business: see tests/test_worker_process.py."""
    section = RUNBOOK.partition("\n### TalkmeterWorkerDown\n")[2].partition("\n#")[0]
    assert "`kill -9`" in section and "`child_pid`" in section


def test_refusals_that_page_are_those_of_500_and_above() -> None:
    """But for a drain, which sends apps to another instance."""
    known = [value for value in vars(refusal).values() if isinstance(value, Refusal)]
    made = [
        one for one, f in inspect.getmembers(refusal, inspect.isfunction) if "503" in inspect.getsource(f)
    ]
    assert made == ["budget_unknown"]
    ours = [*known, budget_unknown("tenant", "month"), UPSTREAM_REFUSED]
    names = {one.name for one in ours if one.http_status >= INTERNAL_ERROR.http_status} - {DRAINING.name}
    (said,) = re.findall(r'refusal=~"([^"]+)"', ALERTS["TalkmeterRefusing"]["expr"])
    assert said.split("|") == sorted(names)
    table = re.findall(r"^\| (`.+?`) \|", RUNBOOK, re.MULTILINE)
    assert {name.strip("` ") for row in table for name in row.split(",")} - {"refusal"} == names


def test_reasons_flags_and_buckets_are_those_of_the_code() -> None:
    everything = "".join(rule["expr"] for rule in ALERTS.values())
    assert set(re.findall(r'reason="(\w+)"', everything)) <= set(Reason)
    (pattern,) = re.findall(r'reason=~"([^"]+)"', everything)
    matched = {reason for reason in Reason if re.fullmatch(pattern, reason)}
    assert matched == {Reason.UPSTREAM_LOST, Reason.UPSTREAM_STALLED, Reason.UPSTREAM_VIOLATION}
    assert set(re.findall(r'flag="(\w+)"', everything)) <= set(Flag)
    assert [float(bound) for bound in re.findall(r'le="([^"]+)"', everything)] == [0.05]
    assert 0.05 in OVERSHOOT_USD


def test_the_shipped_configuration_takes_them_in() -> None:
    config = shipped_config()
    assert [RULES.parent / name for name in config["rule_files"]] == [RULES]
    assert "talkmeter_docs" in config["global"]["external_labels"]
    assert config["alerting"]["alert_relabel_configs"] == [{"action": "labeldrop", "regex": "talkmeter_docs"}]
