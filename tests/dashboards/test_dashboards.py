"""The dashboards: loadable, uniform, and asking only for metrics and labels that exist, for all of them."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.files import (
    DASHBOARDS,
    FAMILIES,
    FOLDER,
    SERIES,
    WITH_EXEMPLARS,
    load,
    names_in,
    panels,
    queries,
)

EVERY = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
SCHEMA_OF_GRAFANA_10_3 = 39
DESCRIPTION_CHARS_MIN = 40

NOT_SHOWN = {
    "process_start_time_seconds": "an instance's starts are in its log, and conversations say more",
    "process_virtual_memory_bytes": "says nothing about the memory that is used: resident memory does",
}


def test_there_is_a_dashboard_for_each_question() -> None:
    assert [path.stem for path in DASHBOARDS] == ["health", "overview", "tenant", "voice"]


def test_each_can_be_linked_to() -> None:
    boards = [load(path) for path in DASHBOARDS]
    assert {board["uid"] for board in boards} == {f"talkmeter-{path.stem}" for path in DASHBOARDS}
    assert len({board["title"] for board in boards}) == len(boards)
    linked = re.findall(r"/d/([\w-]+)", "".join(map(json.dumps, boards)))
    assert linked and set(linked) <= {board["uid"] for board in boards}


@EVERY
def test_a_file_is_written_one_way(path: Path) -> None:
    """Sorted, with two spaces: what Grafana exports is brought into this form by `jq -S .`."""
    text = json.dumps(load(path), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert path.read_text(encoding="utf-8") == text


@EVERY
def test_a_dashboard_is_whole(path: Path) -> None:
    board = load(path)
    assert board["title"] and board["description"] and board["refresh"]
    assert board["schemaVersion"] >= SCHEMA_OF_GRAFANA_10_3
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


@EVERY
def test_dashboards_lead_to_each_other(path: Path) -> None:
    board = load(path)
    (link,) = board["links"]
    assert link["type"] == "dashboards" and set(link["tags"]) <= set(board["tags"])
    assert link["keepTime"] and link["includeVars"]


@EVERY
def test_the_data_source_is_a_variable(path: Path) -> None:
    board = load(path)
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    there = [panel["datasource"] for panel in panels(board)]
    there += [one["datasource"] for one in variables.values() if one["type"] == "query"]
    assert all(one == {"type": "prometheus", "uid": "${datasource}"} for one in there)


@EVERY
def test_variables_are_used_and_there(path: Path) -> None:
    board = load(path)
    variables = {one["name"]: one for one in board["templating"]["list"]}
    used = {name for query in queries(board) for name in re.findall(r"\$(?!__)(\w+)", query)}
    assert used == variables.keys() - {"datasource"}
    for one in variables.values():
        if one["type"] == "query":
            metric, label = re.findall(r"^label_values\((\w+), (\w+)\)$", one["query"]["query"])[0]
            assert label in SERIES[metric] | {"instance"}


@EVERY
def test_a_panel_says_what_it_shows_and_what_to_do(path: Path) -> None:
    for panel in panels(load(path)):
        assert panel["title"] and panel["targets"]
        assert len(panel["description"]) >= DESCRIPTION_CHARS_MIN, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@EVERY
def test_costs_are_said_not_to_be_bills(path: Path) -> None:
    board = load(path)
    for panel in panels(board):
        if any("talkmeter_cost_usd_total" in target["expr"] for target in panel["targets"]):
            assert panel["fieldConfig"]["defaults"]["unit"] == "currencyUSD"
            assert "bills are made from the ledger" in panel["description"], panel["title"]


@EVERY
def test_quantiles_of_what_has_exemplars_show_them(path: Path) -> None:
    for panel in panels(load(path)):
        for target in panel["targets"]:
            assert target.get("exemplar", False) == bool(WITH_EXEMPLARS & names_in(target["expr"])), panel[
                "title"
            ]


@EVERY
def test_every_metric_exists(path: Path) -> None:
    asked = {name for query in queries(load(path)) for name in names_in(query)}
    assert asked
    assert asked - set(SERIES) == set()


def test_every_metric_is_on_a_dashboard_or_said_not_to_be() -> None:
    asked = {name for path in DASHBOARDS for query in queries(load(path)) for name in names_in(query)}
    shown = {family for family, names in FAMILIES.items() if names & asked}
    assert FAMILIES.keys() - shown == NOT_SHOWN.keys()


@EVERY
def test_every_label_exists(path: Path) -> None:
    for query in queries(load(path)):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))
        for group in re.findall(r"\bby\s*\(([^)]*)\)", query):
            asked |= {label.strip() for label in group.split(",")}
        has = {"instance", "job", "worker"}.union(*(SERIES[name] for name in names_in(query)))
        assert asked <= has, query


@EVERY
def test_what_other_programs_have_too_is_asked_of_our_jobs(path: Path) -> None:
    """Every exporter shows `process_…`: with all instances chosen, theirs would stand among ours."""
    for query in queries(load(path)):
        for labels in re.findall(r"\b(?:process_\w+|up)({[^}]*})?", query):
            assert 'job=~"talkmeter.*"' in labels, query


@EVERY
def test_workers_are_added_up(path: Path) -> None:
    """`serve --workers` gives every series a label more: what is not aggregated would be shown for each."""
    for query in queries(load(path)):
        assert re.match(
            r"[(]?(topk\(\d+, |time\(\) - |histogram_quantile\([\d.]+, )?(sum|max|min|count)\b", query
        ), query


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
def test_no_panel_covers_another(path: Path) -> None:
    for one, other in combinations((panel["gridPos"] for panel in load(path)["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
        assert one["x"] + one["w"] <= 24


def test_pages_that_panels_name_are_there() -> None:
    text: Any = "".join(path.read_text(encoding="utf-8") for path in DASHBOARDS)
    root = Path(__file__).parents[2]
    assert [name for name in set(re.findall(r"docs/[\w-]+\.md", text)) if not (root / name).exists()] == []


def test_the_page_about_operations_names_every_file() -> None:
    page = (FOLDER.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(\.\./dashboards/([\w./-]+)\)", page)
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert {name for name in files if not any(name.startswith(one) for one in linked)} == set()
