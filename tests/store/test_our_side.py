"""Our side: sums of lines by UTC day, as a plain walk over the entries makes them too."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine, select

from proxy.core.rating import PER_MINUTE, Price
from proxy.core.reconcile import Booked, Edge
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.core.windows import Span
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import reading, writing
from proxy.store.filters import EVERYTHING
from proxy.store.our_side import our_side, price_history
from proxy.store.prices import import_cards
from proxy.store.rerate import Rerating
from proxy.store.schema import ledger_entry, ledger_line
from tests.ledgers import ACT, MODEL, NOW, Books

DAY = Span(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
ON = date(2026, 11, 23)
NEVER = datetime(2027, 1, 1, tzinfo=UTC)
AUDIO, TEXT = Price(32_000), Price(4_000)


def side(books: Books, span: Span = DAY, shown_until: datetime = NEVER) -> list[Booked]:
    with reading(books.engine) as connection:
        return our_side(connection, span, shown_until)


def test_lines_that_have_all_in_common_are_one(database: Engine) -> None:
    books = Books(database)
    books.open("s1")
    books.open("s2", "globex")
    books.bill("s1", "r1", {Meter.AUDIO_IN: 10, Meter.TEXT_IN: 3})
    books.bill("s2", "r2", {Meter.AUDIO_IN: 5})
    books.bill("s1", "r3", {Meter.AUDIO_IN: 7}, estimated=True)
    books.bill("s1", "r4", {Meter.AUDIO_IN: 9}, at=DAY.start - timedelta(microseconds=1))
    books.bill("s1", "r5", {Meter.AUDIO_IN: 9}, at=DAY.end)
    found = side(books)
    assert sorted(found, key=lambda one: one.quantity) == [
        Booked(ON, None, MODEL, Meter.TEXT_IN, 3, 12_000, TEXT),
        Booked(ON, None, MODEL, Meter.AUDIO_IN, 7, 224_000, AUDIO, estimated=True),
        Booked(ON, None, MODEL, Meter.AUDIO_IN, 15, 480_000, AUDIO, lines=2),
    ]


def test_what_is_near_midnight_and_what_is_late(database: Engine) -> None:
    books = Books(database)
    books.open("s1")
    minute = timedelta(minutes=1)
    times = [DAY.start, DAY.start + minute, DAY.end - 11 * minute, DAY.end - 10 * minute]
    for number, at in enumerate(times):
        books.bill("s1", f"r{number}", {Meter.AUDIO_IN: 2**number}, at=at)
    found = side(books, shown_until=DAY.end - 10 * minute)
    assert {one.quantity: (one.edge, one.late) for one in found} == {
        1: (Edge.START, False),
        2 + 4: (None, False),
        8: (Edge.END, True),
    }


def test_what_has_no_price_or_no_figures(database: Engine) -> None:
    """Of an entry that lacks one price no line has a cost: its entry has none either."""
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1", {Meter.AUDIO_IN: 10}, model="gpt-9")
    books.bill("s1", "r2", {Meter.AUDIO_IN: 5, Meter.UNTOLD_IN: 2})
    books.bill("s1", "r3")
    books.bill("s1", "r4")
    assert Counter((one.model, one.meter, one.quantity, one.nanousd) for one in side(books)) == {
        ("gpt-9", Meter.AUDIO_IN, 10, None): 1,
        (MODEL, Meter.AUDIO_IN, 5, None): 1,
        (MODEL, Meter.UNTOLD_IN, 2, None): 1,
        (MODEL, None, 2, None): 1,
    }


def test_corrections_net_out_and_adjustments_do_not_count(database: Engine) -> None:
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1", {Meter.AUDIO_IN: 10}, model="gpt-9")
    card = NewCard("openai", "gpt-9", NOW, "a test", {Meter.AUDIO_IN: Price(7)})
    with writing(database) as connection:
        import_cards(connection, [card], ACT)
        booked = Adjustment(
            key="k", kind=Kind.ADJUSTMENT, tenant="acme", cost_nanousd=5, billed_nanousd=5, occurred_at=NOW
        )
        book(connection, booked, Act("ann", NOW, "a gift"), UTC)
    list(Rerating(EVERYTHING, {}, UTC, Act("ann", NOW, "late card")).run(database))
    found = {one.quantity: one.nanousd for one in side(books)}
    assert found == {0: None, 10: 70}


def test_a_walk_over_the_lines_comes_to_the_same(database: Engine) -> None:
    books = Books(database)
    books.open("s1")
    for number in range(40):
        model = ("whisper-1", MODEL)[number % 2]
        meter = (Meter.DURATION_MS, Meter.AUDIO_OUT)[number % 2]
        at = DAY.start + timedelta(hours=2 * number)
        books.bill("s1", f"r{number}", {meter: 1_001 + number}, model=model, at=at, estimated=number % 3 == 0)
    plain: Counter[tuple[str, str | None]] = Counter()
    with reading(database) as connection:
        for row in connection.execute(
            select(ledger_entry, ledger_line.c.cost_nanousd.label("cost")).join(ledger_line)
        ):
            plain[row.occurred_at.date().isoformat(), row.model] += row.cost
    found: Counter[tuple[str, str | None]] = Counter()
    for one in side(books, Span(DAY.start, DAY.start + timedelta(days=5))):
        found[one.on.isoformat(), one.model] += one.nanousd or 0
        assert one.price is not None and (one.price.per == PER_MINUTE) == (one.meter is Meter.DURATION_MS)
    assert found == plain


def test_price_history_has_what_we_are_charged_by(database: Engine) -> None:
    cards = [
        NewCard("openai", f"{MODEL}-2026-06-01", NOW, "a test", {Meter.AUDIO_IN: Price(1)}, "contract"),
        NewCard("openai", "deployed", NOW, "a test", {Meter.AUDIO_IN: Price(2)}),
        NewCard("xai", MODEL, NOW, "a test", {Meter.AUDIO_IN: Price(3)}),
    ]
    with writing(database) as connection:
        import_cards(connection, cards, ACT)
    with reading(database) as connection:
        history = price_history(connection, {"deployed": MODEL})
    assert {one.price for one in history[MODEL, Meter.AUDIO_IN]} == {AUDIO, Price(1), Price(2)}
