"""Comparisons: against the lines of a generated ledger, and what cannot be compared."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from proxy.core.windows import Span
from proxy.store import StoreError
from proxy.store.comparison import Comparison, compare, spans_to_compare
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery
from tests.generated import START, generate
from tests.plainly import Entry, Plain

MIDDLE = START + timedelta(days=30)
BEFORE, AFTER = Span(START, MIDDLE), Span(MIDDLE, MIDDLE + timedelta(days=30))
PARTS = ("price", "volume", "mix", "new", "gone", "other")


@pytest.fixture
def plain(database: Engine) -> Plain:
    generate(database, 2_000)
    return Plain(database)


def quantities(
    entries: list[Entry], group: Callable[[Entry, str | None], str], amount: str
) -> dict[tuple[str, str, str], list[int]]:
    """Return quantity and amount of each group, model and meter; of what has a price."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for entry in entries:
        if entry["cost_nanousd"] is None:
            continue
        for line in entry["lines"] or [{"meter": None, "quantity": 0, amount: entry[amount]}]:
            key = (group(entry, line["meter"]), str(entry["model"]), str(line["meter"]))
            own = found.setdefault(key, [0, 0])
            own[0] += line["quantity"]
            own[1] += line[amount]
    return found


def expected(plain: Plain, group: Callable[[Entry, str | None], str], amount: str) -> dict[str, list[float]]:
    """Return the effects by group, computed with floats from the definition."""
    sides = [
        quantities([one for one in plain.entries if span.start <= one["at"] < span.end], group, amount)
        for span in (BEFORE, AFTER)
    ]
    keys = sides[0].keys() | sides[1].keys()
    both = [k for k in keys if all(k in side and side[k][0] > 0 for side in sides)]
    units: dict[bool, float] = {}
    for unit in (True, False):
        q0, q1 = (sum(s[k][0] for k in both if (k[2] == "duration_ms") is unit) for s in sides)
        units[unit] = q1 / q0 if q0 else 0
    found: dict[str, list[float]] = {}
    for key in keys:
        (q0, c0), (q1, c1) = (side.get(key, [0, 0]) for side in sides)
        effects = [0.0] * 6
        if key in both:
            growth = units[key[2] == "duration_ms"]
            effects[:3] = [c1 - c0 * q1 / q0, c0 * (growth - 1), c0 * (q1 / q0 - growth)]
        else:
            effects[3 if q1 and not q0 else 4 if q0 and not q1 else 5] = c1 - c0
        own = found.setdefault(key[0], [0.0] * 6)
        own[:] = map(sum, zip(own, effects, strict=True))
    return found


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("tenant", lambda plain: lambda entry, meter: plain.names["tenant"][entry["tenant_id"]]),
        ("meter", lambda plain: lambda entry, meter: str(meter)),
        ("status", lambda plain: lambda entry, meter: entry["status"]),
    ],
    ids=["tenant", "meter", "status"],
)
@pytest.mark.parametrize("is_billed", [False, True])
def test_it_agrees_with_the_lines(
    database: Engine, plain: Plain, name: str, group: Any, is_billed: bool
) -> None:
    found = compare(database, CostQuery([name], is_billed=is_billed), BEFORE, AFTER)
    wanted = expected(plain, group(plain), "billed_nanousd" if is_billed else "cost_nanousd")
    told = found.as_json()
    shown = {str(row[name]): [row[f"{part}_nanousd"] for part in PARTS] for row in told["rows"]}
    for key, parts in wanted.items():
        assert shown[key] == pytest.approx(parts, abs=1_000), key
    assert all(not any(parts) for key, parts in shown.items() if key not in wanted)
    for row in (*told["rows"], told["total"]):
        difference = row["after_nanousd"] - row["before_nanousd"]
        assert difference == row["difference_nanousd"] == sum(row[f"{part}_nanousd"] for part in PARTS)
    for column in ("before", "after", "estimated_after", *PARTS):
        own = sum(row[f"{column}_nanousd"] for row in told["rows"])
        assert own == told["total"][f"{column}_nanousd"]
    assert told["total"]["unrated_before"] > 0 and told["total"]["estimated_before_nanousd"] > 0
    sizes = [abs(row["difference_nanousd"]) for row in told["rows"]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_time_without_anything_is_new_or_gone(database: Engine, plain: Plain) -> None:
    long_ago = Span(START - timedelta(days=30), START)

    def parts(found: Comparison) -> dict[str, int]:
        return {part: getattr(found.total.effects, part) for part in PARTS}

    new = compare(database, CostQuery([], Filters(kind="response")), long_ago, AFTER)
    assert new.rows == [] and new.total.after["cost_nanousd"] == new.total.effects.new > 0
    gone = compare(database, CostQuery(["model"], Filters(kind="response")), BEFORE, long_ago)
    assert {name for name, amount in parts(gone).items() if amount} == {"gone"}
    nothing = compare(database, CostQuery(["model"]), long_ago, Span(long_ago.start, START))
    assert (nothing.rows, set(parts(nothing).values())) == ([], {0})


NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


def test_which_times_are_compared() -> None:
    month = datetime(2026, 11, 1, tzinfo=UTC)
    assert spans_to_compare(NOW, UTC) == (Span(month - (NOW - month), month), Span(month, NOW))
    october, december = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    assert spans_to_compare(NOW, UTC, month, december) == (Span(october, month), Span(month, december))
    assert spans_to_compare(NOW, UTC, end=december) == (Span(october, month), Span(month, december))
    assert spans_to_compare(NOW, UTC, by_month=True) == (Span(october, month), Span(month, december))
    two = Span(october, december)
    assert spans_to_compare(NOW, UTC, october, by_month=True) == (
        Span(datetime(2026, 8, 1, tzinfo=UTC), october),
        two,
    )
    given = spans_to_compare(NOW, UTC, october, month, month, december)
    assert given == (Span(month, december), Span(october, month))


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ((NOW, NOW), "The time asked about ends before it begins"),
        ((NOW + timedelta(days=1),), "The time asked about ends before it begins"),
        ((None, None, NOW), "both ends"),
        ((None, None, None, NOW), "both ends"),
        ((None, None, NOW, NOW), "The time to compare with ends before it begins"),
        ((datetime(1, 1, 1, tzinfo=UTC), NOW), "does not reach back"),
    ],
)
def test_times_that_cannot_be_meant(times: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(StoreError, match=problem):
        spans_to_compare(NOW, UTC, *times)


def test_what_cannot_be_compared(database: Engine, plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    for names, problem in (
        (["day"], "'day' is nothing to compare by: use tenant"),
        (["session"], "Times and sessions are not the same"),
        (["tenant", "project", "key", "model", "kind"], "at most 4"),
        (["tag:"], "nothing to compare by"),
    ):
        with pytest.raises(StoreError, match=problem):
            compare(database, CostQuery(names), BEFORE, AFTER)
    monkeypatch.setattr("proxy.store.comparison.COMPARED_ROWS_MAX", 2)
    with pytest.raises(StoreError, match="more than 2 rows: narrow it"):
        compare(database, CostQuery(["model"]), BEFORE, AFTER)
