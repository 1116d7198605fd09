"""What stands in the way of a close: journals, prices, time zones. Each is found, cleared or overridden."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, update

from proxy.core.bill import Charge
from proxy.core.rating import Price
from proxy.core.reconcile import Threshold
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.chain import chain
from proxy.store.close import standing
from proxy.store.database import reading, writing
from proxy.store.filters import EVERYTHING
from proxy.store.instances import Unposted, ended, register, seen
from proxy.store.obstacles import EXAMPLES_MAX, Obstacle, obstacles
from proxy.store.prices import import_cards
from proxy.store.reconciliations import Scope, Terms, TheirSide, compare_bill, record
from proxy.store.rerate import Rerating
from proxy.store.schema import session
from proxy.store.verify import verify
from tests.closing import CLOSING, LATER, ZONE, close_month
from tests.ledgers import ACT, NOW, Books

NOVEMBER = "2026-11"
END = datetime(2026, 12, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def books(database: Engine) -> Books:
    """A month in whose way nothing stands."""
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10})
    books.close("s1")
    return books


def found(engine: Engine, period: str = NOVEMBER, zone: ZoneInfo = ZONE) -> dict[str, Obstacle]:
    with reading(engine) as connection:
        closing = standing(connection, period, zone, chain(connection), LATER)
        return {one.name: one for one in obstacles(closing)}


def test_nothing(books: Books) -> None:
    assert found(books.engine) == {}


# --- Journals


def instance(engine: Engine, seen_at: datetime, unposted: Unposted | None = None, name: str = "i_2") -> None:
    register(engine, name, Path("/var/j.db"), "1", NOW)
    seen(engine, name, unposted or Unposted(), seen_at)


@pytest.mark.parametrize(
    ("seen_at", "unposted", "said"),
    [
        (NOW, Unposted(), "i_2: did not end well, last seen 2026-11-23T12:00:00Z, journal /var/j.db"),
        (LATER, Unposted(NOW), "i_2: runs, and has posted nothing since 2026-11-23T12:00:00Z"),
        (LATER, Unposted(END, parked=2), "i_2: 2 records are parked in its journal: the ledger refused them"),
    ],
)
def test_an_instance_that_may_have_more(
    books: Books, seen_at: datetime, unposted: Unposted, said: str
) -> None:
    instance(books.engine, seen_at, unposted)
    assert found(books.engine)["journals"].examples == [said]


@pytest.mark.parametrize("unposted", [Unposted(), Unposted(END)])
def test_an_instance_that_has_posted_all_of_the_month(books: Books, unposted: Unposted) -> None:
    instance(books.engine, LATER, unposted)
    assert found(books.engine) == {}


def test_an_instance_that_ended_well(books: Books) -> None:
    """Until it starts again and does not."""
    instance(books.engine, NOW)
    ended(books.engine, "i_2", NOW)
    assert found(books.engine) == {}
    instance(books.engine, NOW)
    assert found(books.engine)["journals"].count == 1


def test_sessions_that_are_not_over(books: Books) -> None:
    """On an instance that lives, on one that ended, and on one that nobody knows."""
    for name in ("s2", "s3"):
        books.open(name)
    books.open("s4", at=END)
    said = "i1: 2 sessions are not over, and it was never seen"
    assert found(books.engine)["journals"].examples == [said]
    instance(books.engine, LATER, name="i1")
    said = "i1: 2 sessions that began before the month was over go on"
    assert found(books.engine)["journals"].examples == [said]
    ended(books.engine, "i1", NOW)
    assert "i1: did not end well" in found(books.engine)["journals"].examples[0]
    books.close("s2")
    books.close("s3")
    assert found(books.engine) == {}


def test_an_instance_that_is_lost_is_overridden_once(books: Books) -> None:
    """The next month is closed without it, unless it was heard of again."""
    instance(books.engine, NOW)
    with pytest.raises(StoreError, match="journals: 1 instances may have usage"):
        close_month(books.engine, NOVEMBER)
    closing = Act("cli:finance@desk", END + timedelta(days=3))
    close_month(books.engine, NOVEMBER, {"journals": "the disk burnt"}, act=closing)
    assert found(books.engine, "2026-12") == {}
    instance(books.engine, END + timedelta(days=4))
    assert found(books.engine, "2026-12")["journals"].count == 1


def test_examples_are_few(books: Books) -> None:
    for number in range(EXAMPLES_MAX + 2):
        instance(books.engine, NOW, name=f"i_{number}")
    journals = found(books.engine)["journals"]
    assert (journals.count, len(journals.examples)) == (EXAMPLES_MAX + 2, EXAMPLES_MAX)
    with pytest.raises(StoreError, match=r"journals: 7 instances .*; …|, …"):
        close_month(books.engine, NOVEMBER)


# --- Prices


def test_entries_without_a_price_are_cleared_by_rating_again(books: Books) -> None:
    books.bill("s1", "r2", {Meter.TEXT_IN: 10}, model="gpt-realtime-9")
    books.bill("s1", "r3", at=NOW)
    assert found(books.engine)["unrated"].examples == ["entry 2: gpt-realtime-9", "entry 3: gpt-realtime-2.1"]
    card = NewCard("openai", "gpt-realtime-9", NOW, "a test", {Meter.TEXT_IN: Price(1)})
    with writing(books.engine) as connection:
        import_cards(connection, [card], ACT)
    list(Rerating(EVERYTHING, {}, UTC, Act("ann", LATER, "late card")).run(books.engine))
    assert found(books.engine)["unrated"].examples == ["entry 3: gpt-realtime-2.1"]


# --- Time zones


def boundary(database: Engine) -> Books:
    """Entries at the end of October and of November in UTC, booked by the months of Berlin."""
    books = Books(database, BERLIN)
    books.open("s1", at=NOW)
    for name, at in (("r1", datetime(2026, 10, 31, 23, 30, tzinfo=UTC)), ("r2", END - timedelta(minutes=30))):
        books.bill("s1", name, {Meter.TEXT_IN: 10}, at=at)
    books.close("s1")
    return books


def test_the_right_zone_clears(database: Engine) -> None:
    boundary(database)
    assert found(database, NOVEMBER, BERLIN) == {}
    assert found(database, NOVEMBER)["zone"].examples == [
        "entry 1: 2026-10-31T23:30:00Z in 2026-11",
        "entry 2: 2026-11-30T23:30:00Z in 2026-12",
    ]


def test_an_overridden_zone_is_known_to_verify(database: Engine) -> None:
    boundary(database)
    assert "entry 1: its period 2026-11 is not the month of" in str(verify(database, UTC).fault)
    close_month(database, NOVEMBER, {"zone": "moved to UTC with this close"})
    assert verify(database, BERLIN).fault is None
    (example,) = found(database, "2026-12")["zone"].examples
    assert example == "entry 2: 2026-11-30T23:30:00Z in 2026-12"
    close_month(database, "2026-12", {"zone": "as in November"})
    assert verify(database, BERLIN).fault is None


def test_late_usage_is_where_it_should_be(books: Books) -> None:
    close_month(books.engine, NOVEMBER)
    books.bill("s1", "r2", {Meter.TEXT_IN: 10})
    books.bill("s1", "r3", {Meter.TEXT_IN: 10}, at=END)
    assert found(books.engine, "2026-12") == {}


def test_a_close_without_this_obstacle_accepts_none(books: Books) -> None:
    """Nothing that comes later is excused by an override of something else."""
    with writing(books.engine) as connection:
        connection.execute(update(session).values(closed_at=None))
    close_month(books.engine, NOVEMBER, {"journals": "known"}, act=CLOSING)
    books.bill("s1", "r2", {Meter.TEXT_IN: 10}, at=END)
    assert verify(books.engine, UTC).fault is None


def test_overrides_hold_what_they_were_for(books: Books) -> None:
    books.bill("s1", "r2", at=NOW)
    made: Any = close_month(books.engine, NOVEMBER, {"unrated": "asked OpenAI"}).close
    assert made.overridden == [
        {
            "what": "unrated",
            "count": 1,
            "examples": ["entry 2: gpt-realtime-2.1"],
            "reason": "asked OpenAI",
        }
    ]


# --- Days


def compared(
    engine: Engine, first_on: date, end_on: date, theirs: int = 40_000, at: datetime = LATER
) -> None:
    """Compare days with a bill that charges so much for the one on which something was used."""
    scope = Scope(first_on, end_on)
    terms = Terms(timedelta(hours=24), Threshold(0, 0))
    charges = [Charge(NOW.date(), "proj_a", None, "gpt-realtime-2.1, text input", theirs)]
    said = TheirSide(charges, (), at)
    with writing(engine) as connection:
        rows = compare_bill(connection, scope, terms, said, {})
        record(connection, scope, terms, said, rows, Act("ann", at))


def test_days_are_nobodys_business_until_one_was_compared(books: Books) -> None:
    """Neither those before the first one that was."""
    assert found(books.engine) == {}
    compared(books.engine, date(2026, 12, 5), date(2026, 12, 6))
    assert found(books.engine) == {}
    close_month(books.engine, NOVEMBER)
    days = found(books.engine, "2026-12")["days"]
    assert (days.count, days.examples[0]) == (
        26,
        "2026-12-06: not compared since it was over and the provider's delay had passed",
    )


def test_days_that_differ_or_were_compared_too_early(books: Books) -> None:
    first, end = date(2026, 11, 20), date(2026, 12, 1)
    compared(books.engine, first, end, 40_001)
    assert found(books.engine)["days"].examples == ["2026-11-23: $0.000000001 unexplained"]
    compared(books.engine, first, end, at=datetime(2026, 12, 1, 12, tzinfo=UTC))
    assert found(books.engine)["days"].count == 1  # 11-30 was final in the first comparison already
    compared(books.engine, NOW.date(), end)
    assert found(books.engine) == {}


def test_days_are_those_of_utc_that_the_month_touches(database: Engine) -> None:
    books = boundary(database)
    compared(books.engine, date(2026, 10, 31), date(2026, 11, 30))
    assert found(database, NOVEMBER, BERLIN)["days"].examples[-1].startswith("2026-11-30: not compared")
