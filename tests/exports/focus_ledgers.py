"""A ledger with all that FOCUS has a word for, and its figures by plain computation."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select

from proxy.core.rating import CONTRACT, Price
from proxy.core.records import Entry, Kind
from proxy.core.usage import Meter
from proxy.exports.focus_rows import View
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import reading, writing
from proxy.store.filters import Filters
from proxy.store.markups import set_markup
from proxy.store.obstacles import NAMES
from proxy.store.prices import import_cards, load_prices
from proxy.store.rerate import Rerating
from proxy.store.schema import ledger_entry, ledger_line
from tests.closing import close_month
from tests.ledgers import ACT, MODEL, Books

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
ISSUER = "Voice Ltd"
LATE = "gpt-realtime-9"  # its card comes when October is closed
NEVER = "unheard-of"
BECAUSE = Act("cli:finance@desk", datetime(2026, 12, 1, tzinfo=UTC), "as the invoice says")
_SPOKEN = {Meter.AUDIO_IN: 1_000, Meter.AUDIO_IN_CACHED: 333, Meter.TEXT_OUT: 7, Meter.AUDIO_OUT: 901}


def fill(engine: Engine) -> None:
    """Fill an empty ledger: October, which is closed then, and what is booked in November for both."""
    books = Books(engine)
    _agree(books)
    books.open("s1", "acme", "web", tags={"team": "=a", "call": "42"}, at=OCTOBER)
    books.open("s2", "globex", at=OCTOBER)
    _talk(books, OCTOBER + timedelta(days=3), "oct")
    _adjust(engine, "oct", OCTOBER + timedelta(days=4))
    close_month(engine, "2026-10", dict.fromkeys(NAMES, "a test"), issuer=ISSUER)
    _talk(books, OCTOBER + timedelta(days=33), "nov")
    _talk(books, OCTOBER + timedelta(days=5), "late")
    _adjust(engine, "nov", OCTOBER + timedelta(days=40))
    with writing(engine) as connection:
        prices = {meter: Price(40_000) for meter in Meter if not meter.startswith(("untold", "duration"))}
        import_cards(connection, [NewCard("openai", LATE, OCTOBER, "a test", prices)], ACT)
    for _ in Rerating(Filters(model=LATE), {}, UTC, BECAUSE).run(engine):
        pass


def _agree(books: Books) -> None:
    """Give us a contract for one model, one tenant a card of its own, and the other one a markup."""
    acme = books.key("acme", "web")
    books.key("globex")
    with writing(books.engine) as connection:
        contract = {meter: Price(17_123) for meter in (Meter.AUDIO_IN, Meter.TEXT_OUT, Meter.AUDIO_OUT)}
        contract[Meter.AUDIO_IN_CACHED] = Price(41)
        agreed = {Meter.AUDIO_OUT: Price(99_001)}
        cards = [
            NewCard("openai", MODEL, OCTOBER, "a test", contract, CONTRACT),
            NewCard("openai", MODEL, OCTOBER, "a test", agreed, acme.tenant_id),
        ]
        import_cards(connection, cards, ACT)
        set_markup(connection, "globex", 1_234, OCTOBER, ACT)
    with reading(books.engine) as connection:
        books.prices = load_prices(connection)


def _talk(books: Books, at: datetime, name: str) -> None:
    records = [entry for session in ("s1", "s2") for entry in _entries(books, session, name, at)]
    books.post(*records, books.entry("s2", f"{name}6", None, at=at, model=NEVER))


def _entries(books: Books, session: str, name: str, at: datetime) -> Iterator[Entry]:
    yield books.entry(session, f"{name}1", _SPOKEN, at=at)
    yield books.entry(session, f"{name}2", _SPOKEN, at=at, model=LATE, estimated=True)
    yield books.entry(session, f"{name}3", {Meter.TEXT_IN: 5, Meter.UNTOLD_IN: 1}, at=at)
    yield books.entry(session, f"{name}4", {}, at=at)
    yield books.entry(
        session,
        f"{name}5:0",
        {Meter.DURATION_MS: 12_345},
        at=at + timedelta(hours=1),
        model="whisper-1",
        kind=Kind.TRANSCRIPTION,
    )


def _adjust(engine: Engine, name: str, at: datetime) -> None:
    amounts = (
        (Kind.ADJUSTMENT, 5_000_000_001, 0),
        (Kind.ADJUSTMENT, -7, -9),
        (Kind.CREDIT, 0, -3_000_000_000),
    )
    with writing(engine) as connection:
        for number, (kind, cost, billed) in enumerate(amounts):
            wanted = Adjustment(f"{name}{number}", kind, "acme", cost, billed, "web", occurred_at=at)
            book(connection, wanted, BECAUSE, UTC)


def ledger_rows(engine: Engine) -> tuple[list[Any], list[Any]]:
    """Return all entries and all lines."""
    with reading(engine) as connection:
        return (
            list(connection.execute(select(ledger_entry))),
            list(connection.execute(select(ledger_line))),
        )


VIEWS = (View(), View(ISSUER))
