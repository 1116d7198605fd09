"""What the docs say is true: settings, commands, meters, flags, links."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from proxy.checks.questions import NAMES
from proxy.core import refusal
from proxy.core.limits import LimitName, Unit
from proxy.core.refusal import CLOSE_POLICY, Refusal
from proxy.core.usage import Flag, Meter
from proxy.relay.handler import NO_SUCH_SESSION, UPSTREAM_REFUSED
from proxy.relay.reason import Reason
from proxy.relay.tunnel import GOING_AWAY, SERVICE_RESTART
from proxy.settings import PREFIX, Settings
from proxy.store.card_files import FileFormat, parse_cards
from proxy.store.groups import GROUPS
from proxy.store.replay import REASON_CRASH
from proxy.store.totals import FIGURES
from tests.commands import root_command

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

METERING = (ROOT / "docs" / "metering.md").read_text(encoding="utf-8")


def shown(field: FieldInfo) -> str:
    """Return a setting's default as the table shows it; secrets and what is unset have none."""
    if field.default is None:
        return "–"
    return f"`{float(field.default):g}`" if isinstance(field.default, float) else f"`{field.default}`"


def settings_table() -> str:
    rows = [f"| `{PREFIX}{name.upper()}` | {shown(f)} | {f.description} |" for name, f in settings()]
    return "\n".join(("| Variable | Default | Meaning |", "|---|---|---|", *rows))


def settings() -> list[tuple[str, FieldInfo]]:
    return list(Settings.model_fields.items())


def test_the_settings_table_is_what_the_settings_are() -> None:
    written = README.read_text(encoding="utf-8").partition("<!-- settings:")[2].partition("<!-- /settings")[0]
    table = "\n".join(line for line in written.splitlines() if line.startswith("|"))
    assert table == settings_table(), f"README.md should have:\n\n{settings_table()}\n"


def test_the_table_of_checks_has_every_name_in_order() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("<!-- checks:")[2].partition("<!-- /checks")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert tuple(name for row in rows for name in re.findall(r"`([^`]+)`", row)) == NAMES


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(
        re.findall(r"\]\(([\w./-]+\.md)", README.read_text(encoding="utf-8").partition("## More")[2])
    )
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_the_readme_names_every_group_of_reports() -> None:
    sentence = README.read_text(encoding="utf-8").partition("`--group-by` takes any of")[2].partition(".")[0]
    assert tuple(re.findall(r"`(\w+)`", sentence)) == GROUPS


def test_the_report_in_the_readme_has_the_figures_of_one() -> None:
    text = README.read_text(encoding="utf-8").partition("`talkmeter report --format json`")[2]
    example = json.loads(text.partition("```json")[2].partition("```")[0])
    assert list(example["rows"][0]) == ["tenant", "model", *FIGURES]
    assert list(example["total"]) == list(FIGURES)
    assert list(example) == ["from", "to", "basis", "group_by", "rows", "total"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_that_a_page_names_is_a_setting(page: Path) -> None:
    named = set(re.findall(rf"{PREFIX}([A-Z_]+[A-Z])", page.read_text(encoding="utf-8")))
    assert named <= {name.upper() for name, _ in settings()}


def subcommands(command: Any) -> dict[str, Any]:
    return dict(getattr(command, "commands", {}))


def commands_in(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that follow `talkmeter` where it is run: in code, up to the first option."""
    code = re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL) + re.findall(
        r"`(talkmeter[^`]*)`", text
    )
    for snippet in code:
        for words in re.findall(r"(?:^|\s|/)talkmeter((?: [a-z][a-z-]*)+)", snippet):
            yield tuple(words.split())


def every_command(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, sub in subcommands(command).items():
        if getattr(sub, "hidden", False):
            continue
        if subcommands(sub):
            yield from every_command(sub, (*path, name))
        else:
            yield (*path, name)


def run(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the part of `words` that names a command: the rest are its arguments."""
    command = root_command()
    path: list[str] = []
    for word in words:
        if not subcommands(command):
            break
        assert word in subcommands(command), f"there is no `talkmeter {' '.join((*path, word))}`"
        command = subcommands(command)[word]
        path.append(word)
    return tuple(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    for words in commands_in(page.read_text(encoding="utf-8")):
        assert run(words)


def test_every_command_is_in_the_readme() -> None:
    named = {run(words) for words in commands_in(README.read_text(encoding="utf-8"))}
    assert set(every_command(root_command())) - named == set()


@pytest.mark.parametrize("word", [*Meter, *Flag])
def test_every_meter_and_flag_is_explained(word: str) -> None:
    assert f"`{word}`" in METERING


def test_no_flag_is_explained_that_does_not_exist() -> None:
    flags = METERING.partition("## Flags")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", flags, re.MULTILINE)) == set(Flag)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("https://")]
    assert [link for link in local if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    if not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


RATE_CARDS = (ROOT / "docs" / "rate-cards.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("file_format", "cards"), [("json", 1), ("csv", 2)])
def test_the_rate_card_examples_can_be_imported(file_format: FileFormat, cards: int) -> None:
    (example,) = re.findall(rf"```{file_format}\n(.*?)```", RATE_CARDS, re.DOTALL)
    assert len(parse_cards(example, file_format)) == cards


def test_the_limits_table_names_every_limit_in_order() -> None:
    written = README.read_text(encoding="utf-8").partition("<!-- limits:")[2].partition("<!-- /limits")[0]
    units = {Unit.MS: "seconds", Unit.NANOUSD: "USD", Unit.COUNT: "number"}
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", written, re.MULTILINE)
    assert rows == [(name, units[name.unit]) for name in LimitName]


def test_every_limit_is_explained() -> None:
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    assert [name for name in LimitName if f"`{name}`" not in page] == []


TRANSPARENCY = (ROOT / "docs" / "transparency.md").read_text(encoding="utf-8")
REFUSALS = {
    *(value for value in vars(refusal).values() if isinstance(value, Refusal)),
    *(name.refusal(1) for name in LimitName),
    refusal.budget_spent("tenant", "month"),
    refusal.budget_unknown("tenant", "month"),
    refusal.model_not_allowed("m"),
    refusal.model_unpriced("m"),
    refusal.stopped(""),
    refusal.unreadable("not JSON"),
    NO_SUCH_SESSION,
}
AT_THE_DOOR = (LimitName.SESSIONS, LimitName.SESSIONS_PER_MINUTE)


def rows(page: str, name: str) -> list[list[str]]:
    """Return the cells of the table that stands between the comments `name` and `/name`."""
    written = page.partition(f"<!-- {name}:")[2].partition(f"<!-- /{name}")[0]
    lines = [line for line in written.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_what_makes_refusals_is_known_here() -> None:
    made = [f for _, f in inspect.getmembers(refusal, inspect.isfunction)]
    assert {f.__name__ for f in made if inspect.signature(f).return_annotation is Refusal} == {
        "budget_spent",
        "budget_unknown",
        "limit_reached",
        "model_not_allowed",
        "model_unpriced",
        "stopped",
        "unreadable",
    }


def test_the_table_of_refusals_is_the_catalogue() -> None:
    known = {one.name: one for one in REFUSALS}
    table = {row[0].strip("`"): row for row in rows(TRANSPARENCY, "refusals")}
    assert table.keys() == known.keys()
    for name, (_, status, in_session, kind, code, _when) in table.items():
        assert (kind, code) == (f"`{known[name].type}`", f"`{known[name].code}`"), name
        assert status in ("–", str(known[name].http_status)), name
        assert (status, in_session) != ("–", "–"), name
    assert f"`{UPSTREAM_REFUSED.name}`" in TRANSPARENCY


def test_the_table_of_endings_has_every_reason_and_its_close_code() -> None:
    table = [(row[1].strip("`"), row[2]) for row in rows(TRANSPARENCY, "endings")]
    assert {reason for reason, _ in table} == {*Reason, REASON_CRASH}
    codes = {
        Reason.REFUSED: CLOSE_POLICY,
        Reason.STOPPED: CLOSE_POLICY,
        Reason.CLIENT_IDLE: GOING_AWAY,
        Reason.DRAINED: SERVICE_RESTART,
    }
    for reason, gets in table:
        if reason in codes:
            assert gets.endswith(f"close {codes[Reason(reason)]}"), reason


@pytest.mark.parametrize("name", LimitName)
def test_the_limits_table_says_what_an_app_gets_and_what_counts_it(name: LimitName) -> None:
    (row,) = (row for row in rows(README.read_text(encoding="utf-8"), "limits") if row[0] == f"`{name}`")
    refused = name.refusal(1)
    if name in AT_THE_DOOR:
        metric, gets = "talkmeter_refusals_total", f"HTTP {refused.http_status} `{refused.code}`"
    else:
        metric, gets = "talkmeter_cuts_total", f"close {CLOSE_POLICY}"
    assert row[3:] == [gets, f'`{metric}{{refusal="{refused.name}"}}`']
