"""The chain: any change to what is booked is found, and the database itself refuses to make one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Engine,
    Integer,
    MetaData,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DatabaseError

from proxy.core.usage import Meter
from proxy.store.approvals import REJECTED, Wanted, ask, decide
from proxy.store.chain import LATER_COLUMNS, BlockHash, chain, stored_columns
from proxy.store.chain_rows import stored_rows
from proxy.store.columns import Instant
from proxy.store.database import migrate, migrations_path, open_database, reading, writing
from proxy.store.roles import RECONCILED
from proxy.store.schema import (
    chain_head,
    ledger_archive,
    ledger_archive_block,
    ledger_archive_cell,
    ledger_block,
    ledger_entry,
    ledger_line,
)
from proxy.store.verify import verify
from tests.closing import close_month
from tests.ledgers import ACT, NOW, Books
from tests.store.test_verify import UTC
from tests.tampering import APPEND_ONLY, owning, sum_anew, tampering


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1", tags={"team": "a", "call": "42"})
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.TEXT_OUT: 5, Meter.AUDIO_OUT: 100})
    books.bill("s1", "r2")
    books.bill("s1", "r3", {Meter.DURATION_MS: 1_234}, model="whisper-1", flags=("crash",))
    return books


def seal(engine: Engine) -> str:
    with reading(engine) as connection:
        return chain(connection).seal


def test_the_format_stays_as_it_is() -> None:
    """A digest that somebody keeps has to be found again by every later version."""
    block = BlockHash("ab", 2, 3, 4, NOW)
    assert block.digest == "e4f32b328db79ddd1b335a1648fb0b007a67d9dddf17ce8080e03531b8a54150"
    block.add([3, "k", True, None, '{"a":"é"}'], [[3, "text_in", 10], [3, "text_out", 5]])
    assert block.digest == "afb7e98085b6e4df1ded52e77cf7e73d2c2ebf25eb7143cba11644b91d2acaba"
    names = [column.name for column in ledger_entry.c]
    assert names[:-LATER_COLUMNS] == COLUMNS_OF_FORMAT_1.split()
    assert names[-LATER_COLUMNS:] == ["public_card_id", "agreed_card_id", "markup_bp"]


def test_later_columns_count_where_they_hold_something() -> None:
    def digest(*later: object) -> str:
        block = BlockHash("ab", 2, 3, 4, NOW)
        block.add([3, "k", *later], [])
        return block.digest

    early = BlockHash("ab", 2, 3, 4, NOW)
    early._add([3, "k"])
    assert digest(None, None, None) == early.digest
    assert (
        len({digest(None, None, None), digest(None, None, 0), digest("c", None, 0), digest(None, "c", 0)})
        == 4
    )


COLUMNS_OF_FORMAT_1 = (
    "id entry_key digest session_id tenant_id project_id api_key_id end_user_id tags provider account"
    " upstream_session_id model kind role subject_id revision status status_reason estimated flags"
    " occurred_at posted_at period list_nanousd cost_nanousd billed_nanousd charge_nanousd"
    " estimate_nanousd held_nanousd corrects"
)


def test_every_posting_with_something_new_is_a_block(books: Books) -> None:
    with reading(books.engine) as connection:
        blocks = connection.execute(select(ledger_block).order_by(ledger_block.c.id)).all()
        head = chain(connection)
    assert [(one.id, one.first_entry, one.last_entry) for one in blocks] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert (head.entries, head.blocks, head.digest) == (3, 3, blocks[-1].digest)
    assert len({one.digest for one in blocks}) == 3
    assert verify(books.engine, UTC).seal == head.seal


def other(column: Any, value: Any) -> Any:
    """Return another value that the column can have."""
    match column.type:
        case Instant() | BigInteger() | Integer():
            return (value or 0) + 100  # a key that nothing else has
        case Boolean():
            return not value
    return (value or "") + " "


STORED = {table.name: stored_columns(table) for table in (ledger_entry, ledger_line, ledger_block)}


@pytest.mark.parametrize(
    ("table", "name"), [(table, column.name) for table, columns in STORED.items() for column in columns]
)
def test_any_byte_that_is_changed_is_found(books: Books, table: str, name: str) -> None:
    """In every column of an entry, a line and a block: the first one, which all the others stand on."""
    kept = seal(books.engine)
    of = {"ledger_entry": ledger_entry, "ledger_line": ledger_line, "ledger_block": ledger_block}[table]
    key = of.c.entry_id if table == "ledger_line" else of.c.id
    (column,) = [one for one in STORED[table] if one.name == name]
    with tampering(books.engine) as connection:
        before = connection.execute(select(column).where(key == 1).order_by(column)).scalars().first()
        changed = {"value": other(of.c[name], before), "before": before}
        same = f"{name} = :before" if before is not None else f"{name} IS NULL"
        connection.execute(
            text(f"UPDATE {table} SET {name} = :value WHERE {key.name} = 1 AND {same}"), changed
        )
    assert verify(books.engine, UTC, kept=kept).fault is not None


def test_what_is_changed_and_sealed_again_is_found_by_a_digest_that_was_kept(books: Books) -> None:
    """Who can write the whole ledger anew leaves one that adds up."""
    kept = seal(books.engine)
    books.bill("s1", "r4", {Meter.TEXT_IN: 10})
    assert verify(books.engine, UTC, kept=kept).fault is None
    with tampering(books.engine) as connection:
        cut_off(connection, after=2)
    assert verify(books.engine, UTC).fault is None
    assert "it was cut off or rewritten" in str(verify(books.engine, UTC, kept=kept).fault)
    books.bill("s1", "r3", {Meter.DURATION_MS: 1_235}, model="whisper-1")
    assert verify(books.engine, UTC).fault is None
    assert f"does not begin with what {kept} was made of" in str(verify(books.engine, UTC, kept=kept).fault)


def cut_off(connection: Connection, after: int) -> None:
    """Leave the first entries only, as if nothing else had ever been booked."""
    connection.execute(delete(ledger_line).where(ledger_line.c.entry_id > after))
    connection.execute(delete(ledger_entry).where(ledger_entry.c.id > after))
    connection.execute(delete(ledger_block).where(ledger_block.c.last_entry > after))
    digest = select(ledger_block.c.digest).where(ledger_block.c.last_entry == after).scalar_subquery()
    connection.execute(update(chain_head).values(entries=after, blocks=after, digest=digest))
    sum_anew(connection)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_the_database_refuses_to_change_what_is_booked(books: Books, table: str) -> None:
    close_month(books.engine, "2026-11", {"journals": "a test", "unrated": "a test"})
    asked_and_rejected(books.engine)
    archived(books.engine)
    booked = list(stored_rows(books.engine, 1, 3))
    statements = [f"UPDATE {table} SET {KEYS[table]} = {KEYS[table]}", f"DELETE FROM {table}"]
    if books.engine.dialect.name == "postgresql":
        statements.append(f"TRUNCATE {table} CASCADE")
    else:
        statements.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    for statement in statements:
        with (
            pytest.raises(DatabaseError, match=f"{table} is append-only"),
            owning(books.engine) as connection,
        ):
            connection.execute(text(statement))
    assert list(stored_rows(books.engine, 1, 3)) == booked


def asked_and_rejected(engine: Engine) -> None:
    with writing(engine) as connection:
        request = ask(connection, Wanted("period.close", "2026-12", None, {}), ACT)
        decide(connection, request, REJECTED, ACT)


def archived(engine: Engine) -> None:
    """An archive of a month that has nothing in it."""
    close_month(engine, "2026-12")
    facts: dict[str, Any] = dict.fromkeys(("entries", "lines", "first_entry", "last_entry"), 0)
    facts |= dict.fromkeys(("file", "file_digest", "statements_digest", "digest", "archived_by"), "")
    with owning(engine) as connection:
        connection.execute(
            insert(ledger_archive).values(period="2026-12", number=1, archived_at=NOW, sums={}, **facts)
        )
        connection.execute(insert(ledger_archive_block).values(period="2026-12", block_id=1, digest=""))
        cell: dict[str, Any] = dict.fromkeys((column.name for column in ledger_archive_cell.columns), 0)
        cell |= {"period": "2026-12", "starts_at": NOW, "key": "[]"}
        connection.execute(insert(ledger_archive_cell).values(cell))


KEYS = {
    "ledger_archive": "period",
    "ledger_archive_block": "period",
    "ledger_archive_cell": "period",
    "approval_request": "id",
    "approval_decision": "request_id",
    "ledger_entry": "id",
    "ledger_line": "entry_id",
    "ledger_block": "id",
    "ledger_period": "period",
    "statement": "number",
    "statement_line": "statement",
}


def test_a_key_cannot_take_another_entrys_place(books: Books) -> None:
    """SQLite's REPLACE would delete the row that has the key, and ask no trigger."""
    if books.engine.dialect.name != "sqlite":
        return
    with reading(books.engine) as connection:
        row = dict(connection.execute(select(ledger_entry).where(ledger_entry.c.id == 1)).mappings().one())
    for prefix in ("OR REPLACE", "OR IGNORE"):
        with pytest.raises(DatabaseError, match="append-only"), writing(books.engine) as connection:
            connection.execute(insert(ledger_entry).prefix_with(prefix).values(row | {"id": 99}))


def test_all_triggers_are_there(database: Engine) -> None:
    with reading(database) as connection:
        if connection.dialect.name == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        else:
            query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        found = set(connection.execute(text(query)).scalars())
    acts = (
        ("append_only",)
        if database.dialect.name == "postgresql"
        else ("no_update", "no_delete", "no_replace")
    )
    tables = (*APPEND_ONLY, *(one.name for one in RECONCILED))
    more = {"ledger_line_archived_only"} if database.dialect.name == "postgresql" else set()
    assert found == {f"{table}_{act}" for table in tables for act in acts} | more


@pytest.fixture
def older(database: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A database of the same kind, from before there was a chain."""
    on_postgres = database.dialect.name == "postgresql"
    engine = open_database(
        request.getfixturevalue("postgres_url") if on_postgres else f"sqlite:///{tmp_path}/older.db"
    )
    with writing(engine) as connection:
        config = Config()
        config.set_main_option("script_location", str(migrations_path()))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    yield engine
    engine.dispose()


def copy(source: Engine, target: Engine) -> None:
    """Fill the tables of an older database with what a newer one has."""
    tables = MetaData()
    tables.reflect(target)
    with reading(source) as reader, writing(target) as writer:
        for table in reversed(tables.sorted_tables):
            if table.name != "alembic_version":
                writer.execute(delete(table))
        for table in tables.sorted_tables:
            rows = reader.execute(select(table)).mappings().all()
            if rows and table.name != "alembic_version":
                writer.execute(insert(table), [dict(row) for row in rows])


def test_what_was_booked_before_there_was_a_chain_is_sealed(books: Books, older: Engine) -> None:
    copy(books.engine, older)
    migrate(older)
    with reading(older) as connection:
        (block,) = connection.execute(select(ledger_block)).all()
    assert (block.first_entry, block.last_entry) == (1, 3)
    verdict = verify(older, UTC)
    assert verdict.fault is None and verdict.seal == f"3:{block.digest}"
    books.engine = older
    books.bill("s1", "r4")
    assert verify(older, UTC, kept=verdict.seal).fault is None
    with tampering(older) as connection:
        connection.execute(text("UPDATE ledger_line SET quantity = quantity + 1 WHERE entry_id = 1"))
    assert verify(older, UTC).fault is not None


def test_an_empty_ledger_gets_an_empty_chain(older: Engine) -> None:
    migrate(older)
    assert seal(older) == "0:"
    assert verify(older, UTC).fault is None
