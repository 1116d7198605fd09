"""What the demo's console shows besides today: weeks of made-up calls, booked as real ones are.

Every turn bills all that was said before, most of it cached; some answers are interrupted, some caches break.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from msgspec.structs import replace
from sqlalchemy import Connection

from proxy.core.rating import CardBook, rate
from proxy.core.records import Entry, Kind, Record, SessionBound, SessionClosed, SessionOpened
from proxy.core.usage import Meter, Usage
from proxy.store.posting import post
from proxy.store.prices import load_prices
from proxy.store.tenants import Key

DAYS = 63
INSTANCE = "demo-past"
SEED = 7
MODEL = "gpt-realtime-2.1"
TRANSCRIBER = "gpt-4o-mini-transcribe"
INSTRUCTIONS = 900  # tokens of text
IN_PER_S, OUT_PER_S = 10, 20  # audio tokens
BLOCK = 64  # tokens, that a cache works in
INTERRUPTED, CACHED = 0.12, 0.9  # of answers; of the turns behind the first


@dataclass(frozen=True, slots=True)
class Habit:
    """How a tenant's callers are: calls on a weekday and on a day of a weekend, at which hours (UTC)."""

    weekday: int
    weekend: int
    hours: tuple[int, int]
    turns: tuple[int, int]
    tags: tuple[Mapping[str, str], ...]


HABITS: Mapping[str, Habit] = {
    "Bakery": Habit(
        2, 3, (6, 17), (3, 8), ({"app": "phone", "team": "sales"}, {"app": "chat", "team": "sales"})
    ),
    "Hotline": Habit(2, 0, (8, 18), (4, 14), ({"app": "phone"},)),
    "Storyland": Habit(1, 2, (16, 20), (2, 6), ({"app": "stories"},)),
}


def book_past(connection: Connection, keys: Mapping[str, Key], now: datetime) -> int:
    """Book the weeks before today for these tenants; return how many calls that were."""
    records = past(keys, load_prices(connection), now)
    post(connection, records, instance_id=INSTANCE, upto=len(records), zone=UTC, now=now)
    return sum(isinstance(record, SessionClosed) for record in records)


def past(keys: Mapping[str, Key], book: CardBook, now: datetime) -> list[Record]:
    """Return what was recorded in the weeks before today, the same whenever it is asked for on a day."""
    dice = random.Random(SEED)
    calls = [call for tenant in sorted(keys) for call in _calls(tenant, keys[tenant], book, dice, now)]
    return [record for call in calls for record in call.records(dice)]


def _calls(tenant: str, key: Key, book: CardBook, dice: random.Random, now: datetime) -> Iterator["_Call"]:
    habit = HABITS[tenant]
    for back in range(DAYS, 0, -1):
        day = now.date() - timedelta(days=back)
        usual = habit.weekend if day.weekday() > 4 else habit.weekday
        for number in range(dice.randint(max(usual - 1, 0), usual + 1)):
            at = datetime.combine(day, time(dice.randint(*habit.hours), dice.randrange(60)), UTC)
            yield _Call(f"{tenant.lower()}-{day}-{number}", habit, key, book, at)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, from its beginning `at`."""

    name: str
    habit: Habit
    key: Key
    book: CardBook
    at: datetime

    def records(self, dice: random.Random) -> Iterator[Record]:
        yield self._opened(dice)
        yield SessionBound(
            session_id=self._id, upstream_session_id=f"sess_{self.name}", model=MODEL, at=self.at
        )
        at, heard, said = self.at, 0, 0  # tokens of audio in the conversation
        for turn in range(dice.randint(*self.habit.turns)):
            at += timedelta(seconds=dice.uniform(4, 20))
            asked, is_cut = round(dice.uniform(1.5, 9) * IN_PER_S), dice.random() < INTERRUPTED
            answer = round(dice.uniform(2, 6 if is_cut else 18) * OUT_PER_S)
            counts = _counts(heard, said, asked, answer, is_cached=turn > 0 and dice.random() < CACHED)
            entry = self._entry(at, f"resp_{self.name}_{turn}", MODEL, counts)
            yield replace(entry, status="cancelled", status_reason="turn_detected") if is_cut else entry
            written = {Meter.AUDIO_IN: asked, Meter.TEXT_OUT: asked // 3}
            yield self._entry(at, f"item_{self.name}_{turn}:0", TRANSCRIBER, written)
            heard, said = heard + asked, said + answer
            at += timedelta(seconds=answer / OUT_PER_S)
        yield SessionClosed(session_id=self._id, closed_at=at, close_code=1000, reason="client_closed")

    @property
    def _id(self) -> str:
        return f"ses_demo_{self.name}"

    def _opened(self, dice: random.Random) -> SessionOpened:
        return SessionOpened(
            session_id=self._id,
            tenant_id=self.key.tenant_id,
            project_id=self.key.project_id,
            api_key_id=self.key.id,
            end_user=f"caller {dice.randint(1, 30)}",
            tags=dict(dice.choice(self.habit.tags)),
            provider="openai",
            account=None,
            model=MODEL,
            opened_at=self.at,
        )

    def _entry(self, at: datetime, subject: str, model: str, counts: Mapping[Meter, int]) -> Entry:
        terms = self.book.terms("openai", model, at, self.key.tenant_id)
        rated = rate(Usage(counts, frozenset()), terms)
        return Entry(
            session_id=self._id,
            upstream_session_id=f"sess_{self.name}",
            provider="openai",
            kind=Kind.TRANSCRIPTION if model == TRANSCRIBER else Kind.RESPONSE,
            subject_id=subject,
            model=model,
            status="completed",
            occurred_at=at,
            lines=rated.lines,
            cost_nanousd=rated.cost_nanousd,
            billing=terms.billing,
        )


def _counts(heard: int, said: int, asked: int, answer: int, *, is_cached: bool) -> dict[Meter, int]:
    """Return what one response is billed for: all that was said before, what is asked now, and the answer."""
    text, audio = INSTRUCTIONS + said // 5, heard + said
    text_cached, audio_cached = (n // BLOCK * BLOCK if is_cached else 0 for n in (text, audio))
    counts = {
        Meter.TEXT_IN: text - text_cached,
        Meter.TEXT_IN_CACHED: text_cached,
        Meter.AUDIO_IN: audio - audio_cached + asked,
        Meter.AUDIO_IN_CACHED: audio_cached,
        Meter.TEXT_OUT: answer // 4,
        Meter.AUDIO_OUT: answer,
    }
    return {meter: count for meter, count in counts.items() if count}
