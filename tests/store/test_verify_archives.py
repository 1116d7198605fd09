"""Verification of a ledger with archives: whatever is changed of what is left, or of the file, is found."""

import gzip
from datetime import UTC
from pathlib import Path
from shutil import copyfile

import pytest
from sqlalchemy import Engine, text

from proxy.store import StoreError
from proxy.store.archives import load_archives
from proxy.store.chain import BlockHash, chain
from proxy.store.chain_rows import blocks, stored_rows
from proxy.store.database import reading
from proxy.store.sealing import seal_digest
from proxy.store.verify import verify
from tests.archiving import archive_month, file_of, year
from tests.tampering import tampering


@pytest.fixture
def engine(database: Engine, tmp_path: Path) -> Engine:
    year(database)
    archive_month(database, "2026-10", tmp_path)
    return database


CHANGES = [
    ("UPDATE ledger_entry SET billed_nanousd = billed_nanousd + 1 WHERE id = 1", "block 1"),
    ("UPDATE ledger_entry SET tags = '{}' WHERE id = 1", "block 1"),
    ("UPDATE ledger_entry SET model = 'x' WHERE id = 1", "block 1"),
    ("UPDATE ledger_entry SET subject_id = 'x' WHERE id = 1", "entry 1: its key should be"),
    ("UPDATE ledger_line SET quantity = quantity + 1 WHERE entry_id = 7", "entry 7"),
    ("UPDATE ledger_archive_block SET digest = 'x' WHERE block_id = 1", "block 1"),
    ("DELETE FROM ledger_archive_block WHERE block_id = 1", "block 1"),
    ("UPDATE ledger_archive SET file = 'x'", "archive of 2026-10: what seals it was changed"),
    ("UPDATE ledger_archive SET archived_by = 'x'", "archive of 2026-10: what seals it was changed"),
    ("UPDATE ledger_archive SET number = 2", "archive of 2026-10: what seals it was changed"),
    (
        "UPDATE ledger_archive_cell SET quantity = quantity + 1",
        "archive of 2026-10: what seals it was changed",
    ),
    ("DELETE FROM ledger_archive_cell", "archive of 2026-10: what seals it was changed"),
    (
        "UPDATE statement_line SET model = 'x' WHERE statement = '2026-10-0001'",
        "its statements are not those",
    ),
    ("UPDATE statement SET tenant = 'x' WHERE number = '2026-10-0001'", "its statements are not those"),
    ("UPDATE rollup_quarter SET quantity = quantity + 1", "rollup_quarter"),
    ("UPDATE rollup_day SET entries = entries + 1", "rollup_day"),
    (
        "INSERT INTO ledger_line (entry_id, meter, quantity, unit) VALUES (1, 'text_in', 1, 'token')",
        "entry 1: it has lines, and 2026-10 is archived",
    ),
    (
        "DELETE FROM ledger_archive_cell; DELETE FROM ledger_archive_block; DELETE FROM ledger_archive",
        "entry 1",
    ),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_what_is_changed_is_found(engine: Engine, tmp_path: Path, change: str, said: str) -> None:
    with tampering(engine) as connection:
        for statement in change.split(";"):
            connection.execute(text(statement))
    assert said in str(verify(engine, UTC).fault)
    if "ledger_archive" not in change:
        assert verify(engine, UTC, files=[file_of(tmp_path, "2026-10")]).fault is not None


def test_with_the_file_a_seal_that_was_made_anew_is_found_too(engine: Engine, tmp_path: Path) -> None:
    """Who can write the database can seal what is left again; the digest of the chain still tells."""
    with reading(engine) as connection:
        kept = chain(connection).seal
    with tampering(engine) as connection:
        connection.execute(text("UPDATE ledger_entry SET tags = '{}' WHERE id = 1"))
    (block, _), ((entry, lines),) = next(blocks(engine)), stored_rows(engine, 1, 1)
    anew = BlockHash("", 1, 1, 1, block.posted_at)
    anew.add(entry, lines)
    with tampering(engine) as connection:
        sealed = {"digest": anew.digest}
        connection.execute(
            text("UPDATE ledger_archive_block SET digest = :digest WHERE block_id = 1"), sealed
        )
        digest = seal_digest(connection, load_archives(connection)["2026-10"])
        connection.execute(text("UPDATE ledger_archive SET digest = :digest"), {"digest": digest})
    assert verify(engine, UTC, kept=kept).fault is None
    fault = verify(engine, UTC, kept=kept, files=[file_of(tmp_path, "2026-10")]).fault
    assert fault == "block 1: entries 1 to 1 are not what was sealed"


def test_a_file_that_is_not_the_one(engine: Engine, tmp_path: Path) -> None:
    good = file_of(tmp_path, "2026-10")
    other = tmp_path / "other"
    archive_month(engine, "2026-11", tmp_path)
    copyfile(good, other)
    assert verify(engine, UTC, files=[other]).fault is None
    other.write_bytes(gzip.compress(gzip.decompress(good.read_bytes()).replace(b"2026-10", b"2026-11")))
    with pytest.raises(StoreError, match="is damaged|is not what 2026-11 was archived in"):
        verify(engine, UTC, files=[other])
    other.write_bytes(gzip.compress(gzip.decompress(good.read_bytes()).replace(b"2026-10", b"2025-10")))
    with pytest.raises(StoreError, match="an archive of 2025-10, which is not archived in this ledger"):
        verify(engine, UTC, files=[other])
