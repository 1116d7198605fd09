"""Archiving: the file has all of it, the ledger still adds up, and who is killed leaves nothing half done."""

import gzip
import json
from datetime import UTC
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from proxy.exports.archiving import archive
from proxy.store import Conflict, StoreError
from proxy.store.archive_file import footer_of, header_of, unpack
from proxy.store.audit import list_audit
from proxy.store.chain import chain
from proxy.store.chain_rows import PERIOD, stored_rows
from proxy.store.database import reading, writing
from proxy.store.filters import Filters
from proxy.store.periods import load_closes
from proxy.store.reports import CostQuery, ReportRow, run
from proxy.store.rollups import Part
from proxy.store.schema import ledger_archive, ledger_line
from proxy.store.statements import find_statement
from proxy.store.verify import verify
from tests.archiving import ARCHIVING, archive_month, archived, file_of, lines_of, owner_of, year
from tests.closing import ZONE, close_month
from tests.dying import killing
from tests.ledgers import Books
from tests.tampering import tampering


@pytest.fixture
def books(database: Engine) -> Books:
    return year(database)


def stored(engine: Engine, period: str) -> list[tuple[object, ...]]:
    with reading(engine) as connection:
        last = chain(connection).entries
    return [
        (list(entry), [list(line) for line in lines])
        for entry, lines in stored_rows(engine, 1, last)
        if entry[PERIOD] == period
    ]


def test_the_file_has_every_line_and_the_ledger_has_none(books: Books, tmp_path: Path) -> None:
    engine = books.engine
    before, lines = stored(engine, "2026-10"), lines_of(engine, "2026-10")
    with reading(engine) as connection:
        seal = chain(connection).seal
        (close, _) = load_closes(connection)
    made = archive_month(engine, "2026-10", tmp_path)
    path = file_of(tmp_path, "2026-10")
    assert [(one.entry, one.lines) for one in unpack(path)] == before
    assert (made.entries, made.lines, made.file) == (len(before), lines, "ledger-2026-10.jsonl.gz")
    assert (made.file_digest, header_of(path).seal) == (footer_of(path).digest, close.seal)
    assert lines_of(engine, "2026-10") == 0 < lines_of(engine, "2026-11")
    assert [entry for entry, _ in stored(engine, "2026-10")] == [entry for entry, _ in before]
    assert path.stat().st_mode & 0o077 == 0
    with reading(engine) as connection:
        (noted,) = [one for one in list_audit(connection) if one.action == "ledger.archive"]
    assert (noted.object, noted.actor, noted.reason) == ("2026-10", ARCHIVING.actor, ARCHIVING.reason)
    assert noted.after is not None and noted.after["file_digest"] == made.file_digest
    verdict = verify(engine, UTC, kept=seal)
    assert (verdict.fault, verdict.seal, verdict.sealed) == (None, seal, ("2026-10",))


def test_the_ledger_goes_on(books: Books, tmp_path: Path) -> None:
    """What is posted again books nothing; late usage, closes and a second archive come behind the first."""
    engine, again = books.engine, books.entry("s1", "mixed-10", {}, at=ARCHIVING.at)
    archive_month(engine, "2026-10", tmp_path)
    with reading(engine) as connection:
        before = chain(connection).entries
    books.post(again)
    books.bill("s1", "later", {}, at=ARCHIVING.at)
    with reading(engine) as connection:
        assert chain(connection).entries == before + 1
    archive_month(engine, "2026-11", tmp_path)
    close_month(engine, "2026-12", {"journals": "a test"})
    assert verify(engine, UTC).fault is None
    files = [file_of(tmp_path, period) for period in ("2026-10", "2026-11")]
    assert verify(engine, UTC, files=files[:1]).sealed == ("2026-11",)
    verdict = verify(engine, UTC, files=files)
    assert (verdict.fault, verdict.sealed) == (None, ())


def test_months_can_be_archived_in_any_order(books: Books, tmp_path: Path) -> None:
    for period in ("2026-11", "2026-10"):
        archive_month(books.engine, period, tmp_path)
        assert verify(books.engine, UTC).fault is None
        assert verify(books.engine, UTC, files=[file_of(tmp_path, period)]).fault is None


def test_rollups_and_statements_say_what_they_did(books: Books, tmp_path: Path) -> None:
    engine = books.engine
    queries = [CostQuery(group_by=groups) for groups in ((), ("tenant",), ("model", "meter"), ("modality",))]
    queries += [
        CostQuery(group_by=("day",)),
        CostQuery(group_by=("period", "model")),
        CostQuery(filters=Filters(period="2026-10"), group_by=("tenant", "meter")),
        CostQuery(filters=Filters(meter="text_in"), group_by=("month",)),
    ]
    before = [run(engine, query) for query in queries]
    with reading(engine) as connection:
        statement = find_statement(connection, "2026-10-0001").as_json()
    archive_month(engine, "2026-10", tmp_path)
    for query, known in zip(queries, before, strict=True):
        told = run(engine, query)
        assert [told_of(query, row) for row in told.rows] == [told_of(query, row) for row in known.rows]
        assert told_of(query, told.total) == told_of(query, known.total)
    with reading(engine) as connection:
        assert find_statement(connection, "2026-10-0001").as_json() == statement


def told_of(query: CostQuery, row: ReportRow) -> ReportRow:
    """Return a row without what takes lines: sessions, where they are counted by meter or modality."""
    return {name: row[name] for name in row if query.part is Part.ENTRY or "session" not in name}


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("2026-12", "2026-12 is not closed: `talkmeter period close 2026-12` comes first"),
        ("2026-09", "2026-09 is not closed"),
    ],
)
def test_what_is_open_stays(books: Books, tmp_path: Path, period: str, said: str) -> None:
    with pytest.raises(Conflict, match=said):
        archive_month(books.engine, period, tmp_path)
    assert list(tmp_path.glob("ledger-*")) == []


def test_once_is_enough(books: Books, tmp_path: Path) -> None:
    archive_month(books.engine, "2026-10", tmp_path)
    with pytest.raises(Conflict, match="2026-10 is archived already, in ledger-2026-10.jsonl.gz"):
        archive_month(books.engine, "2026-10", tmp_path)


def test_a_month_without_entries_has_nothing_to_archive(books: Books, tmp_path: Path) -> None:
    close_month(books.engine, "2026-12", {"journals": "a test"})
    close_month(books.engine, "2027-01")
    with pytest.raises(Conflict, match="2027-01 has no entries"):
        archive_month(books.engine, "2027-01", tmp_path)


def test_what_does_not_add_up_is_not_archived(books: Books, tmp_path: Path) -> None:
    with tampering(books.engine) as connection:
        connection.execute(text("UPDATE ledger_line SET quantity = 11 WHERE entry_id = 1"))
    with pytest.raises(StoreError, match="does not add up, so nothing is archived: entry 1"):
        archive_month(books.engine, "2026-10", tmp_path)
    assert list(tmp_path.glob("ledger-*")) == [] and lines_of(books.engine, "2026-10")


def test_where_no_file_can_be(books: Books, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        archive_month(books.engine, "2026-10", tmp_path / "nowhere")
    file_of(tmp_path, "2026-10").write_bytes(b"something else")
    with pytest.raises(StoreError, match="is not an archive of the ledger"):
        archive_month(books.engine, "2026-10", tmp_path)
    assert archived(books.engine) == []


@pytest.mark.parametrize("change", ["quantity", "entries", "cut off"])
def test_a_file_that_is_there_has_to_be_the_same(books: Books, tmp_path: Path, change: str) -> None:
    """As a run that was killed may have left it, and whatever has happened to it since."""
    archive_month(books.engine, "2026-11", tmp_path)
    path = file_of(tmp_path, "2026-11")
    head, *rows, end = gzip.decompress(path.read_bytes()).splitlines()
    if change == "quantity":
        rows[-1] = rows[-1].replace(b'"text_in",9', b'"text_in",8')
    elif change == "entries":
        rows.pop()
    else:
        end = b""
    seal = json.loads(head) | {"period": "2026-10"}
    assert seal["type"] == "ledger-archive"
    file_of(tmp_path, "2026-10").write_bytes(gzip.compress(b"\n".join([head, *rows, end])))
    with pytest.raises(StoreError, match="is something else|was cut off|is damaged"):
        archive_month(books.engine, "2026-10", tmp_path)
    assert archived(books.engine) == ["2026-11"] and lines_of(books.engine, "2026-10")


def test_of_two_at_once_one_archives(books: Books, tmp_path: Path) -> None:
    """The second one has read what is no longer so."""
    engine = books.engine
    with owner_of(engine) as owner:
        told: list[int] = []

        def meanwhile(done: int, total: int) -> None:
            if not told:
                told.append(done)
                other = tmp_path / "other"
                other.mkdir()
                archive(owner, "2026-11", other, ARCHIVING, ZONE)

        with pytest.raises(StoreError, match="was archived meanwhile"):
            archive(owner, "2026-10", tmp_path, ARCHIVING, ZONE, meanwhile)
    assert archived(engine) == ["2026-11"] and lines_of(engine, "2026-10")
    archive_month(engine, "2026-10", tmp_path)
    assert verify(engine, UTC).fault is None


# --- kill -9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_before_any_statement_nothing_is_half_done(books: Books, tmp_path: Path) -> None:
    """While the file is written, before each statement that changes something, and before the commit."""
    engine = books.engine
    lines, rest = lines_of(engine, "2026-10"), lines_of(engine, "2026-11")
    with owner_of(engine) as owner:
        url = owner.url.render_as_string(hide_password=False)
        number = -1
        with killing("tests.exports.archive_worker", url, "2026-10", str(tmp_path)) as kill_at:
            while kill_at(number):
                assert (archived(engine), lines_of(engine, "2026-10")) == ([], lines), number
                assert file_of(tmp_path, "2026-10").exists() is (number >= 0)
                number += 1
    assert number > 4
    assert (archived(engine), lines_of(engine, "2026-10"), lines_of(engine, "2026-11")) == (
        ["2026-10"],
        0,
        rest,
    )
    verdict = verify(engine, UTC, files=[file_of(tmp_path, "2026-10")])
    assert (verdict.fault, verdict.sealed) == (None, ())
    with reading(engine) as connection:
        assert len([one for one in list_audit(connection) if one.action == "ledger.archive"]) == 1


def test_no_line_goes_without_its_archive(books: Books, tmp_path: Path) -> None:
    """Not even by the owner's hand; and with it, only that period's."""
    archive_month(books.engine, "2026-11", tmp_path)
    with owner_of(books.engine) as owner:
        for which in ("", " WHERE entry_id = 1"):
            with pytest.raises(Exception, match="ledger_line is append-only"), writing(owner) as connection:
                connection.execute(text(f"DELETE FROM ledger_line{which}"))
    with reading(books.engine) as connection:
        assert connection.execute(select(ledger_line.c.entry_id).where(ledger_line.c.entry_id == 1)).first()
        assert len(connection.execute(select(ledger_archive)).all()) == 1
