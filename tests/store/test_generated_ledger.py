"""Reports over a ledger of 50,000 lines against a straightforward computation over all of them.

`make soak` sets TEST_LEDGER_LINES to a million.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import URL, Engine

from proxy.store import StoreError
from proxy.store.database import migrate, open_database
from proxy.store.filters import EVERYTHING, Filters
from proxy.store.reports import CostQuery, run
from proxy.store.verify import verify
from tests.generated import DAYS, LATE, START, generate
from tests.ledgers import MODEL
from tests.plainly import Plain, Row, in_order, modality
from tests.postgres import Server

LINES = int(os.environ.get("TEST_LEDGER_LINES", "50000"))
CLOSED = "2026-09"  # what is late or corrected of it is accounted in October

pytestmark = pytest.mark.slow


@dataclass
class Told:
    """What a database should answer. Both were told the same: plain reports are computed once."""

    plain: Plain  # of the database that was read first
    ids: Mapping[str | None, str | None]  # what those of the first are in this one
    rows: dict[str, list[Row]]  # by their query, as the first has them
    totals: dict[str, Row]  # by their filters

    def report(
        self, query: CostQuery, wanted: Callable[[Any], bool], meant: Callable[[Any], bool] | None
    ) -> tuple[list[Row], Row]:
        asked, filters = repr(query), repr(query.filters)
        if filters not in self.totals:
            self.totals[filters] = self.plain.total(wanted, meant)
        if not query.group_by:
            return [], self.totals[filters]
        if asked not in self.rows:
            self.rows[asked] = self.plain.rows(query.group_by, query.zone, wanted, meant)
        rows = [{name: self.ids.get(value, value) for name, value in row.items()} for row in self.rows[asked]]
        return rows, self.totals[filters]


@pytest.fixture(scope="module")
def told() -> list[Told]:
    """What the databases before this one were told."""
    return []


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, told: list[Told]
) -> Iterator[tuple[Engine, Told]]:
    """The generated ledger, and what it should answer."""
    url: str | URL
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('generated')}/talkmeter.db"
    else:
        server: Server = request.getfixturevalue("postgres_server")
        url = server.create()
    engine = open_database(url, checkpoints=True)
    migrate(engine)
    generate(engine, LINES, closed=CLOSED)
    plain = Plain(engine)
    if told:
        told.append(replace(told[0], ids=plain.named_as(told[0].plain)))
    else:
        told.append(Told(plain, {}, {}, {}))
    yield engine, told[-1]
    engine.dispose()


def compare(
    ledger: tuple[Engine, Told],
    names: list[str],
    filters: Filters = EVERYTHING,
    wanted: Callable[[Any], bool] = lambda entry: True,
    meant: Callable[[Any], bool] | None = None,
    zone: str = "UTC",
) -> None:
    engine, told = ledger
    query = CostQuery(names, filters, ZoneInfo(zone), count_sessions=True)
    report = run(engine, query)
    rows, total = told.report(query, wanted, meant)
    assert in_order(report.rows) == in_order(rows)
    assert dict(report.total) == total


def test_it_is_what_it_should_be(ledger: tuple[Engine, Told]) -> None:
    engine, told = ledger
    entries = told.plain.entries
    assert LINES < sum(len(entry["lines"]) for entry in entries) < LINES * 1.3
    verdict = verify(engine, UTC)
    assert (verdict.fault, verdict.entries) == (None, len(entries))


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["tenant"],
        ["tenant", "project"],
        ["key", "model"],
        ["model", "kind"],
        ["meter"],
        ["modality", "tenant"],
        ["month"],
        ["week", "meter"],
        ["day", "model"],
        ["hour"],
        ["period"],
        ["period", "month", "tenant"],
        ["day", "period", "meter"],
    ],
    ids=" ".join,
)
def test_what_rollups_answer(ledger: tuple[Engine, Told], names: list[str]) -> None:
    compare(ledger, names)


@pytest.mark.parametrize(
    ("names", "zone"),
    [
        (["day", "model"], "Europe/Berlin"),
        (["week", "meter"], "Europe/Berlin"),
        (["hour"], "America/New_York"),
        (["month", "kind"], "Asia/Kathmandu"),
        (["month", "period"], "America/New_York"),
    ],
)
def test_times_are_those_of_the_zone(ledger: tuple[Engine, Told], names: list[str], zone: str) -> None:
    compare(ledger, names, zone=zone)


EDGE = START + timedelta(days=20, hours=7, minutes=45)
LATER = EDGE + timedelta(days=25, minutes=30)


@pytest.mark.parametrize("names", [[], ["day"], ["meter", "month"], ["tenant", "hour"]], ids=" ".join)
def test_a_time_that_begins_and_ends_within_a_day(ledger: tuple[Engine, Told], names: list[str]) -> None:
    filters = Filters(start=EDGE, end=LATER)
    compare(ledger, names, filters, lambda entry: EDGE <= entry["at"] < LATER, zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("names", "days"),
    [
        (["status"], 10),
        (["end_user", "model"], 10),
        (["tag:team", "meter"], 10),
        (["session"], 3),
        (["session", "modality"], 2),
        (["status", "week"], 30),
        (["session", "period"], 2),
    ],
)
def test_what_lines_answer(ledger: tuple[Engine, Told], names: list[str], days: int) -> None:
    end = START + timedelta(days=days)
    compare(ledger, names, Filters(start=START, end=end), lambda entry: entry["at"] < end)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (Filters(model=MODEL), lambda one: one["model"] == MODEL),
        (
            Filters(model=LATE, kind="response"),
            lambda one: one["model"] == LATE and one["kind"] == "response",
        ),
        (Filters(unrated=True), lambda one: one["cost_nanousd"] is None),
        (Filters(kind="credit"), lambda one: one["kind"] == "credit"),
        (Filters(status="failed"), lambda one: one["status"] == "failed"),
        (Filters(tag="team=a"), lambda one: one["tags"].get("team") == "a"),
        (Filters(estimated=True), lambda one: bool(one["estimated"])),
        (Filters(period="2026-10"), lambda one: one["period"] == "2026-10"),
        (
            Filters(period="2026-10", end=datetime(2026, 10, 1, tzinfo=UTC)),
            lambda one: one["period"] == "2026-10" and one["at"] < datetime(2026, 10, 1, tzinfo=UTC),
        ),
    ],
    ids=["model", "kind", "unrated", "credit", "status", "tag", "estimated", "period", "corrections"],
)
@pytest.mark.parametrize("names", [["tenant", "meter"], ["period", "model"]], ids=" ".join)
def test_filters(
    ledger: tuple[Engine, Told], filters: Filters, wanted: Callable[[Any], bool], names: list[str]
) -> None:
    compare(ledger, names, filters, wanted)


OCTOBER, NOVEMBER = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("names", "start", "end"),
    [
        ([], OCTOBER, NOVEMBER),
        (["period", "tenant"], OCTOBER, NOVEMBER),
        (["week", "modality"], OCTOBER, NOVEMBER),
        (["status"], OCTOBER, NOVEMBER),
        (["model"], None, OCTOBER),
        (["day"], OCTOBER, None),
        (["period", "meter"], None, None),
    ],
)
def test_times_that_are_accounting_months(
    ledger: tuple[Engine, Told], names: list[str], start: datetime | None, end: datetime | None
) -> None:
    """Some of October is of September; and so October is not what occurred in it."""
    first, last = (at and f"{at:%Y-%m}" for at in (start, end))
    filters = Filters(start=start, end=end, months_of=UTC)
    compare(ledger, names, filters, lambda one: (first or "") <= one["period"] < (last or "9"))
    if start == OCTOBER:
        occurred = run(ledger[0], CostQuery(filters=Filters(start=start, end=end)))
        assert run(ledger[0], CostQuery(filters=filters)).total != occurred.total


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        (Filters(meter="audio_out"), lambda line: line["meter"] == "audio_out"),
        (Filters(modality="audio"), lambda line: modality(line["meter"]) == "audio"),
    ],
    ids=["meter", "modality"],
)
@pytest.mark.parametrize("names", [[], ["meter", "month"]], ids=" ".join)
def test_filters_on_parts_of_entries(
    ledger: tuple[Engine, Told], filters: Filters, meant: Callable[[Any], bool], names: list[str]
) -> None:
    compare(ledger, names, filters, meant=meant)


def test_a_tenant_sees_what_it_owes(ledger: tuple[Engine, Told]) -> None:
    engine, _ = ledger
    own = CostQuery(["model"], Filters(tenant="acme"), is_billed=True)
    ours = CostQuery(["model"], Filters(tenant="acme"))
    owed, cost = run(engine, own), run(engine, ours)
    assert [row["cost_nanousd"] for row in owed.rows] == [row["billed_nanousd"] for row in cost.rows]
    assert owed.total["cost_nanousd"] == cost.total["billed_nanousd"] != cost.total["cost_nanousd"]


@pytest.mark.parametrize("names", [["session"], ["end_user"], ["tag:team"], ["status"]], ids=" ".join)
def test_too_long_a_time_for_lines_is_told(names: list[str], ledger: tuple[Engine, Told]) -> None:
    engine, _ = ledger
    assert DAYS < 400
    far = Filters(start=datetime(2020, 1, 1, tzinfo=UTC))
    run(engine, CostQuery(names, far))  # the ledger itself is short enough
    with pytest.raises(StoreError, match="ends before it begins"):
        run(engine, CostQuery(names, Filters(start=START, end=START)))
