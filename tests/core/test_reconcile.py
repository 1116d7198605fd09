"""Ours against theirs: each cause is shown where it is the cause, and all of it always adds up."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bill import Bill, Cell, Charged
from proxy.core.rating import Price
from proxy.core.reconcile import (
    Booked,
    Cause,
    Dated,
    Edge,
    Own,
    Prices,
    Row,
    Threshold,
    books,
    by_day,
    compare,
    complete_until,
    is_final,
    project_of,
    sole_project,
    sums,
)
from proxy.core.usage import Meter

ON = date(2026, 11, 22)
NEXT = ON + timedelta(days=1)
MODEL = "gpt-realtime-2.1"
OLD, NEW = Price(32_000), Price(40_000)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
PRICES: Prices = {
    (MODEL, Meter.AUDIO_IN): [Dated(LONG_AGO, OLD), Dated(datetime(2026, 11, 22, 12, tzinfo=UTC), NEW)]
}


def cell(on: date = ON, meter: Meter | None = Meter.AUDIO_IN) -> Cell:
    return Cell(on, None, MODEL, meter)


def booked(quantity: int, on: date = ON, price: Price | None = OLD, **more: Any) -> Booked:
    values: dict[str, Any] = {"meter": Meter.AUDIO_IN, "account": None, "model": MODEL} | more
    cost = price.of(quantity) if price else None
    return Booked(on=on, quantity=quantity, nanousd=cost, price=price, **values)


def compared(ours: list[Booked], theirs: Bill, prices: Prices = PRICES) -> list[Row]:
    return compare(books(ours, {}), theirs, prices)


def charged(quantity: int, price: Price = OLD) -> Charged:
    return Charged(price.of(quantity), quantity)


def only(ours: list[Booked], theirs: Charged, prices: Prices = PRICES) -> tuple[dict[Cause, int], int]:
    """Return the causes of the one row, and what they leave."""
    (row,) = compared(ours, {cell(): theirs}, prices)
    return row.causes, row.unexplained


def test_what_agrees() -> None:
    assert only([booked(60), booked(40)], charged(100)) == ({}, 0)


def test_what_nothing_explains() -> None:
    assert only([booked(100)], charged(101)) == ({}, 32_000)
    assert only([booked(100)], charged(99)) == ({}, -32_000)
    assert only([booked(100)], Charged(5)) == ({}, 5 - 3_200_000)


def test_estimates_explain_no_more_than_their_own_amount() -> None:
    ours = [booked(100), booked(10, estimated=True)]
    assert only(ours, charged(104)) == ({Cause.ESTIMATES: -6 * 32_000}, 0)
    assert only(ours, charged(115)) == ({Cause.ESTIMATES: 5 * 32_000}, 0)
    assert only(ours, charged(95)) == ({Cause.ESTIMATES: -10 * 32_000}, -5 * 32_000)


def test_what_has_no_price_here() -> None:
    assert only([booked(60), booked(40, price=None)], charged(100)) == ({Cause.UNRATED: 40 * 32_000}, 0)
    assert only([booked(40, price=None)], Charged(7)) == ({Cause.UNRATED: 7}, 0)
    assert only([booked(60), booked(40, price=None)], Charged(9_999_999)) == ({}, 9_999_999 - 60 * 32_000)
    assert only([booked(40, price=None)], charged(50)) == ({Cause.UNRATED: 40 * 32_000}, 10 * 32_000)


def test_another_price_that_a_card_has() -> None:
    assert only([booked(100)], charged(100, NEW)) == ({Cause.PRICE: 100 * 8_000}, 0)
    assert only([booked(100)], charged(90, NEW)) == ({Cause.PRICE: 90 * 8_000}, -10 * 32_000)
    assert only([booked(100)], charged(100, Price(33_000)), {}) == ({}, 100_000)


def test_a_charge_that_is_missing_is_no_price_of_zero() -> None:
    free = {(MODEL, Meter.AUDIO_IN): [Dated(LONG_AGO, Price(0))]}
    assert only([booked(100)], Charged(0, 100), free) == ({}, -100 * 32_000)


def test_on_the_day_of_a_change_any_split_between_the_two_prices() -> None:
    theirs = Charged(OLD.of(70) + NEW.of(30), 100)
    assert only([booked(100)], theirs) == ({Cause.PRICE: 30 * 8_000}, 0)
    assert only([booked(50), booked(50, price=NEW)], theirs, {}) == ({Cause.PRICE: -20 * 8_000}, 0)
    dearer = Charged(NEW.of(100) + 1, 100)
    assert only([booked(50), booked(50, price=NEW)], dearer)[1] == 50 * 8_000 + 1


def test_times_are_rounded_line_by_line() -> None:
    minute = Price(6_000_001, 60_000)
    ours = [booked(1_333, price=minute, lines=3)]
    assert only(ours, Charged(minute.of(1_333) + 2, 1_333), {}) == ({Cause.PRICE: 2}, 0)
    assert only(ours, Charged(minute.of(1_333) + 4, 1_333), {}) == ({}, 4)


def test_times_that_were_rounded_line_by_line_agree() -> None:
    """Three lines of 1.5 nano-dollars are two each, and 4.5 together."""
    half = Price(3, 2)
    ours = [booked(1, price=half), booked(1, price=half), booked(1, price=half)]
    assert only(ours, Charged(6, 3), {}) == ({}, 0)
    assert only(ours, Charged(8, 4), {}) == ({}, 2)


def test_what_they_need_not_show_yet() -> None:
    ours = [booked(60), booked(40, late=True)]
    assert only(ours, charged(70)) == ({Cause.DELAY: -30 * 32_000}, 0)
    assert only(ours, charged(50)) == ({Cause.DELAY: -40 * 32_000}, -10 * 32_000)
    assert only(ours, charged(101)) == ({}, 32_000)


def edges(ours: list[Booked], first: Charged, second: Charged) -> list[tuple[dict[Cause, int], int]]:
    rows = compared(ours, {cell(): first, cell(NEXT): second})
    return [(row.causes, row.unexplained) for row in rows]


def test_around_midnight_what_is_missing_on_one_day_is_there_on_the_other() -> None:
    end, start = booked(10, edge=Edge.END), booked(10, NEXT, edge=Edge.START)
    moved = 10 * 32_000
    forth = [({Cause.DAY_EDGE: -moved}, 0), ({Cause.DAY_EDGE: moved}, 0)]
    assert edges([booked(90), end, booked(50, NEXT)], charged(90), charged(60)) == forth
    back = [({Cause.DAY_EDGE: moved}, 0), ({Cause.DAY_EDGE: -moved}, 0)]
    assert edges([booked(90), start, booked(50, NEXT)], charged(100), charged(50)) == back


def test_a_midnight_explains_nothing_that_is_missing_on_one_side_only() -> None:
    end = booked(10, edge=Edge.END)
    assert edges([booked(90), end], charged(90), charged(0)) == [({}, -10 * 32_000), ({}, 0)]
    found = edges([booked(90), end, booked(50, NEXT)], charged(80), charged(70))
    assert [rest for _, rest in found] == [-10 * 32_000, 10 * 32_000]  # more than happened around it


def test_a_midnight_before_a_day_that_is_not_shown_whole_yet() -> None:
    ours = [booked(90), booked(10, edge=Edge.END), booked(50, NEXT, late=True)]
    moved = 10 * 32_000
    assert edges(ours, charged(90), charged(45)) == [
        ({Cause.DAY_EDGE: -moved}, 0),
        ({Cause.DELAY: -15 * 32_000, Cause.DAY_EDGE: moved}, 0),
    ]


def test_entries_without_figures_and_lines_without_a_meaning_are_rows() -> None:
    unknown = Cell(ON, "proj_a", None, None, "a surprise")
    rows = compared([booked(2, meter=None, price=None)], {unknown: Charged(7)})
    assert [(row.cell, row.ours.uncounted, row.unexplained) for row in rows] == [
        (cell(meter=None), 2, 0),
        (unknown, 0, 7),
    ]


def test_corrections_and_aliases() -> None:
    ours = [booked(100, price=None), booked(-100, price=None), booked(100, model="my-deployment")]
    ours.append(booked(5, model=f"{MODEL}-2026-06-01"))
    (own,) = books(ours, {"my-deployment": MODEL}).values()
    assert (own.quantity, own.unrated, own.nanousd) == (105, 0, 105 * 32_000)
    assert books([booked(1), booked(-1)], {}) == {}


@pytest.mark.parametrize(
    ("account", "project"),
    [
        (None, None),
        ("org-1", None),
        ("proj_1", "proj_1"),
        ("org-1/proj_1", "proj_1"),
        ("org-1/org-like", "org-like"),
    ],
)
def test_projects_of_accounts(account: str | None, project: str | None) -> None:
    assert project_of(account) == project


def test_usage_without_a_project_is_of_the_only_one() -> None:
    assert sole_project(["proj_a", None, "proj_a"]) == "proj_a"
    assert sole_project(["proj_a", "proj_b"]) is sole_project([None]) is None
    assert [one.project for one in books([booked(1)], {}, lambda project: project or "proj_a")] == ["proj_a"]


def test_days_and_thresholds() -> None:
    rows = compared([booked(1), booked(1, NEXT)], {})
    days = dict(by_day(rows, ON - timedelta(days=1), NEXT))
    assert [(on, len(found)) for on, found in days.items()] == [(ON - timedelta(days=1), 0), (ON, 1)]
    threshold = Threshold(100, 5)
    assert [threshold.of(charge) for charge in (-50, 0, 2_000, 2_050)] == [100, 100, 100, 102]
    midnight, delay = datetime(2026, 11, 23, tzinfo=UTC), timedelta(hours=6)
    assert is_final(ON, midnight + delay, delay) and not is_final(ON, midnight, delay)
    assert complete_until(midnight + delay, delay) == NEXT
    assert complete_until(midnight + delay - timedelta(microseconds=1), delay) == ON


# --- Whatever they say

ROWS = st.builds(
    booked,
    st.integers(-50, 1_000),
    st.sampled_from([ON, NEXT]),
    st.sampled_from([OLD, NEW, Price(6_000_001, 60_000), None]),
    estimated=st.booleans(),
    late=st.booleans(),
    edge=st.sampled_from([Edge.START, Edge.END, None]),
    meter=st.sampled_from([Meter.AUDIO_IN, Meter.TEXT_OUT, None]),
)
CHARGED = st.builds(Charged, st.integers(-(10**6), 10**8), st.none() | st.integers(0, 1_500)) | st.builds(
    charged, st.integers(0, 1_500), st.sampled_from([OLD, NEW])
)
BILLS = st.dictionaries(
    st.builds(cell, st.sampled_from([ON, NEXT]), st.sampled_from([Meter.AUDIO_IN, Meter.TEXT_OUT])), CHARGED
)


@given(st.lists(ROWS, max_size=8), BILLS)
def test_all_of_it_adds_up_and_nothing_explains_more_than_it_can(ours: list[Booked], theirs: Bill) -> None:
    rows = compared(ours, theirs)
    for row in rows:
        assert row.ours.nanousd + sum(row.causes.values()) + row.unexplained == row.theirs.nanousd
        within_bounds(row)
    total = sums(rows)
    assert total.theirs == sum(one.nanousd for one in theirs.values())
    assert total.ours == sum(one.nanousd or 0 for one in ours if one.meter is not None)
    net = sum(row.unexplained for row in rows)
    assert total.ours + sum(total.causes.values()) + net == total.theirs
    assert total.unexplained == sum(abs(row.unexplained) for row in rows)
    assert total.causes[Cause.DAY_EDGE] == 0


def within_bounds(row: Row) -> None:
    own: Own = row.ours
    causes = {cause: row.causes.get(cause, 0) for cause in Cause}
    assert 0 <= -causes[Cause.DELAY] <= max(0, own.late)
    assert abs(causes[Cause.ESTIMATES]) <= abs(own.estimated)
    assert 0 <= causes[Cause.UNRATED] <= max(0, row.theirs.nanousd)
    assert own.unrated > 0 or not causes[Cause.UNRATED]
    near = max(0, *own.near.values(), 0)
    if row.cell.on == ON and -causes[Cause.DAY_EDGE] > 0:
        assert -causes[Cause.DAY_EDGE] <= near


@given(st.lists(ROWS, max_size=8))
def test_a_bill_that_is_our_ledger_differs_nowhere(ours: list[Booked]) -> None:
    theirs = {
        one: Charged(own.nanousd, own.quantity)
        for one, own in books(ours, {}).items()
        if one.meter is not None and not own.unrated
    }
    rated = [row for row in compared(ours, theirs) if row.cell in theirs]
    assert all(row.causes == {} and row.unexplained == 0 for row in rated)
