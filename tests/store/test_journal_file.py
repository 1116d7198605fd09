"""The journal's file: what is kept, what is forgotten, and files that are refused."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from proxy.core.records import Kind, Record
from proxy.store import StoreError
from proxy.store.journal_file import JournalFile, Reader, pack, subject_of
from tests.store import made

Keep = Callable[..., None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def file(path: Path) -> Iterator[JournalFile]:
    file = JournalFile(path)
    yield file
    file.close()


@pytest.fixture
def reader(file: JournalFile) -> Iterator[Reader]:
    with closing(Reader(file.path)) as reader:
        yield reader


def keep(file: JournalFile, *records: Record) -> None:
    file.commit([partial(JournalFile.add, row=pack(record, 7)) for record in records])


def settle(file: JournalFile, upto: int) -> None:
    file.commit([lambda file: file.settle(upto)])


def kinds(reader: Reader) -> list[str]:
    return [row.kind for row in reader.rows(0, 100)]


def test_records_come_back_as_they_were_in_order(file: JournalFile, reader: Reader) -> None:
    records: list[Record] = [
        made.opened(end_user="Zoë", tags={"team": "a"}),
        made.bound(),
        made.subject("r1"),
        made.entry("r1"),
        made.closed(),
    ]
    keep(file, *records)
    assert [row.record() for row in reader.rows(0, 100)] == records
    assert [row.seq for row in reader.rows(1, 2)] == [2, 3]
    assert file.last_seq == 5


def test_a_failed_commit_leaves_nothing(file: JournalFile, reader: Reader) -> None:
    def broken(file: JournalFile) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        file.commit([partial(JournalFile.add, row=pack(made.opened(), 1)), broken])
    assert (kinds(reader), file.last_seq) == ([], 0)
    keep(file, made.opened())
    assert kinds(reader) == ["session_opened"]


def test_numbers_are_never_used_again(path: Path) -> None:
    file = JournalFile(path)
    keep(file, made.bound(), made.bound())
    settle(file, 2)
    file.close()
    file = JournalFile(path)
    keep(file, made.bound())
    assert (file.last_seq, file.posted_seq) == (3, 2)
    file.close()


def test_the_instance_keeps_its_id(path: Path) -> None:
    file = JournalFile(path)
    first = file.instance_id
    file.close()
    file = JournalFile(path)
    assert file.instance_id == first and first.startswith("i_")
    file.close()


def test_posted_rows_are_forgotten_but_not_what_is_open(file: JournalFile, reader: Reader) -> None:
    keep(file, made.opened(), made.bound(), made.subject("r1"), made.subject("r2"), made.entry("r1"))
    settle(file, 5)
    assert [row.subject for row in reader.rows(0, 9)] == ["", "response/r2"]
    keep(file, made.entry("r2"))
    settle(file, 6)
    assert kinds(reader) == ["session_opened"]
    keep(file, made.closed())
    assert kinds(reader) == ["session_opened", "session_closed"]
    settle(file, 7)
    assert kinds(reader) == []


def test_only_what_is_posted_is_forgotten(file: JournalFile, reader: Reader) -> None:
    keep(file, made.opened(), made.subject("r1"), made.entry("r1"), made.entry("r2"), made.closed())
    settle(file, 3)
    assert kinds(reader) == ["session_opened", "entry", "session_closed"]
    assert file.oldest_unposted_at() == 7


def test_a_closed_session_takes_all_it_opened_along(file: JournalFile, reader: Reader) -> None:
    keep(file, made.opened(), made.opened("s_2"), made.subject("r1"), made.closed())
    settle(file, 4)
    assert [row.session_id for row in reader.rows(0, 9)] == ["s_2"]


def test_the_same_id_in_another_session_is_another_thing(file: JournalFile, reader: Reader) -> None:
    keep(file, made.subject("r1"), made.subject("r1", "s_2"), made.entry("r1"))
    settle(file, 3)
    assert [row.session_id for row in reader.rows(0, 9)] == ["s_2"]


def test_progress_replaces_itself_and_ends_with_the_entry(file: JournalFile, reader: Reader) -> None:
    keep(file, made.subject("r1"), made.progress("r1", 1), made.progress("r1", 2))
    ((_, found),) = reader.unsettled()
    assert found == msgspec.json.encode(made.progress("r1", 2))
    assert file.last_seq == 1, "progress makes no rows"
    with closing(sqlite3.connect(file.path)) as looker:

        def known() -> list[tuple[str, str]]:
            return looker.execute("SELECT session_id, subject FROM progress ORDER BY 1, 2").fetchall()

        keep(file, made.entry("r1"), made.progress("r2", 1), made.progress("r3", 1, "s_2"))
        assert known() == [("s_1", "response/r2"), ("s_2", "response/r3")]
        keep(file, made.closed())
        assert known() == [("s_2", "response/r3")]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (made.opened(), ""),
        (made.subject("r:1"), "response/r:1"),
        (made.entry("r:1"), "response/r:1"),
        (made.subject("item", kind=Kind.TRANSCRIPTION), "transcription/item"),
        (made.progress("item", 1, kind=Kind.TRANSCRIPTION), "transcription/item"),
        (made.entry("item:0", kind=Kind.TRANSCRIPTION), "transcription/item"),
        (made.entry("a:b:12", kind=Kind.TRANSCRIPTION), "transcription/a:b"),
        (made.entry("a:b", kind=Kind.TRANSCRIPTION), "transcription/a:b"),
    ],
)
def test_what_an_opened_thing_and_its_entry_share(record: Record, expected: str) -> None:
    assert subject_of(record) == expected


def test_a_parked_row_waits_and_comes_back_last(file: JournalFile, reader: Reader) -> None:
    keep(file, made.entry("r1"), made.entry("r2"))
    file.commit([lambda file: file.park(1, "because")])
    assert (file.parked, [row.seq for row in reader.rows(0, 9)]) == (1, [2])
    file.commit([lambda file: file.unpark()])
    assert file.parked == 0
    assert [(row.seq, row.subject) for row in reader.rows(0, 9)] == [(2, "response/r2"), (3, "response/r1")]


def test_the_wal_starts_anew_at_a_checkpoint(file: JournalFile) -> None:
    wal = Path(f"{file.path}-wal")
    sizes = []
    for _ in range(6):
        keep(file, *(made.entry(f"r{n}") for n in range(100)))
        settle(file, file.last_seq)
        file.checkpoint(force=True)
        sizes.append(wal.stat().st_size)
    assert sizes[1:] == sizes[1:2] * 5


def test_a_reader_cannot_write(reader: Reader) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM record")


def test_nobody_else_may_read_the_journal(file: JournalFile) -> None:
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_journal_has_one_owner(path: Path, file: JournalFile) -> None:
    with pytest.raises(StoreError, match=r"in use by another process \(pid \d+\).*JOURNAL_PATH"):
        JournalFile(path)
    keep(file, made.opened())  # the refused one did not take SQLite's locks away


def test_a_newer_format_is_refused(path: Path) -> None:
    JournalFile(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="newer Talkmeter"):
        JournalFile(path)


def test_another_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="not a journal of Talkmeter"):
        JournalFile(path)


@pytest.mark.parametrize(
    "content", [b"not a database, only text that is long enough\n" * 99, b"SQLite format 3\0"]
)
def test_something_else_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged|not a journal"):
        JournalFile(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone/journal\.db cannot be opened: No such file"):
        JournalFile(tmp_path / "gone" / "journal.db")


def test_damage_is_refused_with_advice(path: Path) -> None:
    file = JournalFile(path)
    keep(file, *(made.entry(f"r{n}") for n in range(500)))
    file.checkpoint(force=True)
    file.close()
    content = bytearray(path.read_bytes())
    for page in range(3, 30):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"journal\.db is damaged .* move .* away together and keep them"):
        JournalFile(path)


def test_a_torn_tail_loses_only_what_was_not_acknowledged(path: Path, tmp_path: Path) -> None:
    """Every prefix of the WAL opens, and holds whole commits in order."""
    file = JournalFile(path)
    for n in range(5):
        keep(file, made.entry(f"r{n}a"), made.entry(f"r{n}b"))
    main, wal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    file.close()
    found = []
    for cut in range(0, len(wal) + 1, 1031):
        torn = tmp_path / "torn" / "journal.db"
        shutil.rmtree(torn.parent, ignore_errors=True)
        torn.parent.mkdir()
        torn.write_bytes(main)
        Path(f"{torn}-wal").write_bytes(wal[:cut])
        file = JournalFile(torn)
        with closing(Reader(torn)) as reader:
            found.append(len(reader.rows(0, 99)))
        file.close()
    assert found == sorted(found)
    assert {n % 2 for n in found} == {0} and found[-1] >= 8
