"""A ledger of many lines for tests of reports: everything that can be in one, and the same each time.

It goes through real postings, so that verify accepts it: conversations of several tenants around two changes
of clocks, what has no price or only half of one, estimates, adjustments, credits, reversals and replacements.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import Engine

from proxy.core.rating import Price
from proxy.core.records import Entry, Kind
from proxy.core.usage import Meter
from proxy.store.adjustments import Adjustment, book
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import writing
from proxy.store.filters import Filters
from proxy.store.prices import import_cards
from proxy.store.rerate import Rerating
from tests.closing import close_month
from tests.ledgers import ACT, MODEL, NOW, Books

START = datetime(2026, 9, 20, tzinfo=UTC)
DAYS = 64
LATE = "gpt-realtime-9"  # its card comes when all is booked
NEVER = "unheard-of"
BATCH = 1_000
LINES_PER_ENTRY = 4.5  # about

Payers = Sequence[tuple[str, str | None]]  # tenant, project

PAYERS: Payers = (("acme", "web"), ("acme", "phone"), ("acme", None), ("globex", "web"), ("initech", None))
_MODELS = (MODEL, MODEL, MODEL, "gpt-realtime-mini", LATE, NEVER)
_ENDS = ("completed", "completed", "completed", "cancelled", "incomplete", "failed")
_BECAUSE = Act("cli:finance@desk", NOW, "as the invoice says")


def generate(
    engine: Engine,
    lines: int,
    zone: tzinfo = UTC,
    seed: int = 4,
    *,
    start: datetime = START,
    days: int = DAYS,
    payers: Payers = PAYERS,
    closed: str | None = None,
) -> None:
    """Fill an empty ledger with about so many lines, over so many days.

    A month that is `closed` is so before anything is corrected or adjusted.
    """
    chance = random.Random(seed)
    books = Books(engine, zone)
    for payer in payers:
        books.key(*payer)
    records: list[Any] = []
    for record in conversations(books, chance, round(lines / LINES_PER_ENTRY * 0.97), start, days, payers):
        records.append(record)
        if len(records) == BATCH:
            books.post(*records)
            records = []
    books.post(*records)
    if closed is not None:
        close_month(engine, closed, dict.fromkeys(("journals", "unrated"), "a test"))
    _correct(engine, zone, start)
    _adjust(engine, chance, zone, start, days, payers)


def conversations(
    books: Books,
    chance: random.Random,
    entries: int,
    start: datetime = START,
    days: int = DAYS,
    payers: Payers = PAYERS,
) -> Iterator[Any]:
    """Yield the records of conversations with so many entries in all, one conversation after the other."""
    number = 0
    while number < entries:
        tenant, project = chance.choice(payers)
        at = start + timedelta(
            seconds=chance.randrange(days * 86_400), microseconds=chance.randrange(1_000_000)
        )
        session = f"s{number:06d}"
        yield from books.opening(
            session,
            tenant,
            project,
            end_user=chance.choice((None, "bob", "zoë", "eve")),
            tags=chance.choice(({}, {"team": "a"}, {"team": "b", "call": str(number % 7)})),
            at=at,
        )
        model = chance.choice(_MODELS)
        for _ in range(min(chance.randrange(1, 20), entries - number)):
            number += 1
            at += timedelta(seconds=chance.randrange(1, 120))
            yield _entry(books, chance, session, number, model, at)


def _entry(books: Books, chance: random.Random, session: str, number: int, model: str, at: datetime) -> Entry:
    if chance.random() < 0.15:
        in_seconds = chance.random() < 0.5
        return books.entry(
            session,
            f"item{number}:0",
            {Meter.DURATION_MS: chance.randrange(60_000)}
            if in_seconds
            else {Meter.AUDIO_IN: chance.randrange(1_000), Meter.TEXT_OUT: chance.randrange(1, 300)},
            model="whisper-1" if in_seconds else "gpt-4o-transcribe",
            kind=Kind.TRANSCRIPTION,
            at=at,
        )
    return books.entry(
        session,
        f"r{number}",
        chance.choices((_counts(chance), None, {}), (40, 1, 1))[0],
        model=model,
        status=chance.choice(_ENDS),
        estimated=chance.random() < 0.1,
        at=at,
    )


def _counts(chance: random.Random) -> dict[Meter, int]:
    meters = [Meter.TEXT_IN, Meter.AUDIO_IN, Meter.AUDIO_OUT, Meter.TEXT_OUT]
    meters += chance.sample([Meter.TEXT_IN_CACHED, Meter.AUDIO_IN_CACHED], chance.randrange(3))
    if chance.random() < 0.1:
        meters += [Meter.IMAGE_IN, Meter.IMAGE_IN_CACHED]
    if chance.random() < 0.03:
        meters.append(Meter.UNTOLD_IN)
    return {meter: chance.randrange(1, 20_000) for meter in meters}


def _correct(engine: Engine, zone: tzinfo, start: datetime) -> None:
    """Book a reversal and a replacement of each entry of the model whose card came late."""
    prices = {meter: Price(3_000 + 500 * n) for n, meter in enumerate(Meter)}
    del prices[Meter.UNTOLD_IN]
    with writing(engine) as connection:
        import_cards(connection, [NewCard("openai", LATE, start, "a test", prices)], ACT)
    for _ in Rerating(Filters(model=LATE), {}, zone, _BECAUSE).run(engine):
        pass


def _adjust(
    engine: Engine, chance: random.Random, zone: tzinfo, start: datetime, days: int, payers: Payers
) -> None:
    for number in range(40):
        tenant, project = chance.choice(payers)
        is_credit = number % 4 == 0
        cost = 0 if is_credit else chance.randrange(-(10**11), 10**11)
        billed = -chance.randrange(1, 10**12)
        at = start + timedelta(seconds=chance.randrange(days * 86_400))
        wanted = Adjustment(
            key=f"k{number}",
            kind=Kind.CREDIT if is_credit else Kind.ADJUSTMENT,
            tenant=tenant,
            project=project,
            cost_nanousd=cost,
            billed_nanousd=billed,
            occurred_at=at,
        )
        act = replace(_BECAUSE, at=max(_BECAUSE.at, at))  # nothing is booked before it occurred
        with writing(engine) as connection:
            book(connection, wanted, act, zone)
