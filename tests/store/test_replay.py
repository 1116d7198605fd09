"""The replay: what a crash left open is booked once, as far as it was known, and closed."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from proxy.core.rating import Amounts
from proxy.core.records import Entry, Kind, Record
from proxy.store import StoreError
from proxy.store.columns import from_micros
from proxy.store.database import open_database, reading
from proxy.store.journal import Journal
from proxy.store.journal_file import Reader
from proxy.store.poster import Poster
from proxy.store.replay import Replayed, replay
from proxy.store.schema import ledger_entry, session
from tests.store import made


def open_journal(path: Path) -> Journal:
    failures: list[Exception] = []
    return Journal.open(
        path,
        on_failure=failures.append,
        loop=asyncio.get_running_loop(),
        reserve_bytes=4_096,
        free_bytes_min=0,
    )


async def crashed(path: Path, *records: Record) -> None:
    """Leave a journal behind in which `records` stand."""
    journal = open_journal(path)
    for record in records:
        journal.append(record)
    await journal.close()


async def replayed(path: Path) -> tuple[Replayed, list[Record]]:
    """Replay and return what it said and what it wrote."""
    journal = open_journal(path)
    before = journal.last_seq
    found = await replay(journal)
    with closing(journal.reader()) as reader:
        written = [row.record() for row in reader.rows(before, 1_000)]
    await journal.close()
    return found, written


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_an_empty_journal(path: Path) -> None:
    assert await replayed(path) == (Replayed(0, 0, 0), [])


async def test_an_open_response_is_booked_as_far_as_it_had_come(path: Path) -> None:
    await crashed(path, made.opened(), made.subject("r1"), made.progress("r1", 3), made.progress("r1", 7))
    found, (entry, end) = await replayed(path)
    assert found == Replayed(sessions=1, subjects=1, parked=0)
    assert entry == made.entry("r1", 7, status="lost", estimated=True, flags=("crash",))
    assert (end.session_id, end.reason, end.close_code) == ("s_1", "crash", None)  # type: ignore[union-attr]


async def test_without_progress_what_was_known_when_it_opened_is_booked(path: Path) -> None:
    known = made.progress("r1", 3)
    opened = msgspec.structs.replace(made.subject("r1"), lines=known.lines, cost_nanousd=known.cost_nanousd)
    await crashed(path, made.opened(), opened)
    _, (entry, _) = await replayed(path)
    assert entry == made.entry("r1", 3, status="lost", estimated=True, flags=("crash",))


async def test_without_progress_it_is_unrated_and_seen(path: Path) -> None:
    await crashed(path, made.opened(), made.subject("r1"))
    _, (entry, _) = await replayed(path)
    assert entry == made.entry(
        "r1", status="lost", estimated=True, flags=("crash",), lines=(), cost_nanousd=None
    )


async def test_what_has_no_price_is_charged_to_budgets_after_a_crash_too(path: Path) -> None:
    opened = msgspec.structs.replace(made.subject("r1"), charge_nanousd=300)
    progress = msgspec.structs.replace(made.progress("r2", 3), cost_nanousd=None, charge_nanousd=700)
    await crashed(path, made.opened(), opened, made.subject("r2"), progress)
    _, written = await replayed(path)
    entries = [one for one in written if isinstance(one, Entry)]
    assert [one.cost_nanousd for one in entries] == [None, None]
    assert [one.charged for one in entries] == [Amounts.same(300), Amounts.same(700)]


async def test_an_open_transcription_has_the_key_that_its_end_would_have_had(path: Path) -> None:
    await crashed(path, made.opened(), made.subject("item", kind=Kind.TRANSCRIPTION))
    _, (entry, _) = await replayed(path)
    assert isinstance(entry, Entry)
    assert entry.entry_key == made.entry("item:0", kind=Kind.TRANSCRIPTION).entry_key


async def test_what_is_settled_is_left_alone(path: Path) -> None:
    await crashed(
        path,
        made.opened(),
        made.subject("r1"),
        made.subject("item", kind=Kind.TRANSCRIPTION),
        made.entry("r1"),
        made.entry("item:0", kind=Kind.TRANSCRIPTION),
        made.opened("s_2"),
        made.subject("r1", "s_2"),
        made.closed("s_2"),
    )
    found, written = await replayed(path)
    assert found == Replayed(sessions=1, subjects=0, parked=0)
    assert [type(record).__name__ for record in written] == ["SessionClosed"]


async def test_a_session_ends_when_it_was_last_heard_of(path: Path) -> None:
    await crashed(path, made.opened())
    await crashed(path, made.subject("r1"), made.progress("r1", 1))
    with closing(Reader(path)) as reader:
        ((_, last_at),) = reader.unfinished()
        assert last_at >= max(row.at for row in reader.rows(0, 9))
    _, (_, end) = await replayed(path)
    assert end.closed_at == from_micros(last_at)  # type: ignore[union-attr]


async def test_replaying_again_finds_nothing(path: Path) -> None:
    await crashed(path, made.opened(), made.subject("r1"))
    await replayed(path)
    assert await replayed(path) == (Replayed(0, 0, 0), [])


async def test_dying_in_the_middle_of_it(path: Path, tmp_path: Path, database: Engine) -> None:
    """Its first half is in the journal and posted, or posted and not noticed: the rest follows, once."""
    await crashed(path, made.opened(), *(made.subject(f"r{n}") for n in range(3)), made.progress("r1", 5))
    for name, half in (("half", 1), ("whole", 9)):
        copy = tmp_path / name
        shutil.copyfile(path, copy)
        _, written = await replayed(path)
        await crashed(copy, *written[:half])
        await replayed(copy)
        await post_all(copy, database)
        shutil.copyfile(tmp_path / name, path)
    await post_all(path, database)
    with reading(database) as connection:
        rows = connection.execute(select(ledger_entry).order_by(ledger_entry.c.id)).all()
        assert connection.execute(select(session.c.reason)).scalar_one() == "crash"
    assert [(row.subject_id, row.cost_nanousd) for row in rows] == [
        ("r0", None),
        ("r1", 240_000),
        ("r2", None),
    ]


async def test_parked_rows_are_queued_again(path: Path) -> None:
    await crashed(path, made.opened(), made.subject("r1"), made.entry("r1"))
    journal = open_journal(path)
    await asyncio.wrap_future(journal.park(3, "refused"))
    await journal.close()
    found, written = await replayed(path)
    assert (found.parked, found.subjects) == (1, 0), "what is parked was not lost"
    assert written[0] == made.entry("r1")


async def test_a_record_of_a_newer_version_is_not_guessed_at(path: Path) -> None:
    await crashed(path, made.opened(), made.subject("r1"))
    journal = open_journal(path)
    journal._file._connection.execute('UPDATE record SET payload = \'{"type":"new"}\' WHERE seq = 2')
    with pytest.raises(StoreError, match="start the version that wrote it"):
        await replay(journal)
    await journal.close()


async def post_all(path: Path, engine: Engine) -> Poster:
    journal = open_journal(path)
    poster = Poster(journal, engine, zone=UTC, clock=lambda: datetime.now(UTC))
    poster.start()
    await poster.posted_up_to_now()
    await poster.stop(10)
    await journal.close()
    return poster


# --- Any order of anything

Step = tuple[str, int, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "progress", "settle", "settle", "close", "post", "crash", "lose"]),
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    max_size=25,
)


class World:
    """A journal and a ledger that things happen to, and what must come of it."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self.generation = 0
        self.live: dict[int, str] = {}  # session number → the id of the one that is open
        self.open: dict[tuple[str, int], int] = {}  # (session id, response) → tokens of its progress, or 0
        self.expected: dict[str, tuple[str, int | None]] = {}  # entry key → status and cost
        self.begin()

    def begin(self) -> None:
        self.journal = open_journal(self.folder / f"journal{self.generation}.db")
        self.poster = Poster(self.journal, self.engine, zone=UTC, clock=lambda: datetime.now(UTC))
        self.poster.start()

    async def take(self, kind: str, number: int, response: int) -> None:
        match kind:
            case "post":
                await self.poster.posted_up_to_now()
            case "crash" | "lose":
                await self.crash(noticed=kind == "crash")
            case "close":
                if session_id := self.live.pop(number, None):
                    for one in [key for key in self.open if key[0] == session_id]:
                        self.settle(*one, estimated=True)
                    self.journal.append(made.closed(session_id))
            case _:
                self.say(kind, self.session(number), response)

    def session(self, number: int) -> str:
        if number not in self.live:
            self.live[number] = f"s_{self.generation}_{number}_{len(self.expected)}_{self.journal.last_seq}"
            self.journal.append(made.opened(self.live[number]))
        return self.live[number]

    def say(self, kind: str, session_id: str, response: int) -> None:
        key = (session_id, response)
        if kind == "settle":
            self.settle(*key)
        elif made.entry(f"r{response}", session_id=session_id).entry_key in self.expected:
            pass  # a response that is over does not start again
        elif kind == "progress" and key in self.open:
            self.open[key] += 1
            self.journal.append(made.progress(f"r{response}", self.open[key], session_id))
        elif key not in self.open:
            self.open[key] = 0
            self.journal.append(made.subject(f"r{response}", session_id))

    def settle(self, session_id: str, response: int, *, estimated: bool = False) -> None:
        """Book a response, opened or not; a second time is the same bill again."""
        entry = made.entry(f"r{response}", 100, session_id, estimated=estimated)
        self.open.pop((session_id, response), None)
        if entry.entry_key in self.expected and estimated:
            return
        self.expected.setdefault(entry.entry_key, ("completed", made.cost(100)))
        self.journal.append(entry)

    async def crash(self, *, noticed: bool) -> None:
        """Start again from the disk; if not `noticed`, from before the last posting was noted in it."""
        await self.journal.flush()
        before = self.folder / f"journal{self.generation}.db"
        after = self.folder / f"journal{self.generation + 1}.db"
        if not noticed:
            copied(before, after)
            await self.poster.posted_up_to_now()
        await self.poster.stop(0)
        await self.journal.close()
        if noticed:
            copied(before, after)
        for (session_id, response), tokens in self.open.items():
            key = made.entry(f"r{response}", session_id=session_id).entry_key
            self.expected[key] = ("lost", made.cost(tokens) if tokens else None)
        self.open, self.live = {}, {}
        self.generation += 1
        self.begin()
        await replay(self.journal)

    async def end(self) -> None:
        await self.crash(noticed=True)
        await self.poster.posted_up_to_now()
        assert (self.poster.posted["conflict"], self.journal.parked) == (0, 0)
        with closing(self.journal.reader()) as reader:
            assert reader.rows(0, 10) == []
        await self.poster.stop(10)
        await self.journal.close()


def copied(path: Path, copy: Path) -> None:
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")


async def happen(steps: Sequence[Step], template: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "talkmeter.db"
        shutil.copyfile(template, database)
        engine = open_database(f"sqlite:///{database}", checkpoints=True)
        world = World(Path(folder), engine)
        for step in steps:
            await world.take(*step)
        await world.end()
        with reading(engine) as connection:
            rows = connection.execute(select(ledger_entry).order_by(ledger_entry.c.id)).all()
            open_sessions = connection.execute(
                select(session.c.id).where(session.c.closed_at.is_(None))
            ).all()
        engine.dispose()
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    assert {row.entry_key: (row.status, row.cost_nanousd) for row in rows} == world.expected
    assert open_sessions == []


@settings(max_examples=40)
@given(steps=STEPS)
def test_any_order_of_records_postings_and_crashes_books_each_once(
    steps: list[Step], _sqlite_template: Path
) -> None:
    asyncio.run(happen(steps, _sqlite_template))
