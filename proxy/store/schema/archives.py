"""Periods whose lines were taken out of the ledger into a file, and what seals what is left: append-only."""

from sqlalchemy import BigInteger, Column, ForeignKey, Table

from proxy.store.columns import Instant, Json, RowNumber, Words, metadata

ledger_archive = Table(
    "ledger_archive",
    metadata,
    Column("period", Words, ForeignKey("ledger_period.period"), primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),  # 1, 2, 3, … in the order they were made
    Column("archived_at", Instant, nullable=False),
    Column("archived_by", Words, nullable=False),
    Column("file", Words, nullable=False),  # its name, without the folder
    Column("file_digest", Words, nullable=False),
    Column("entries", BigInteger, nullable=False),  # all of the period: they stay
    Column("lines", BigInteger, nullable=False),  # theirs: they are in the file only
    Column("first_entry", BigInteger, nullable=False),
    Column("last_entry", BigInteger, nullable=False),
    Column("sums", Json, nullable=False),  # of their amounts, as text
    Column("statements_digest", Words, nullable=False),  # of the period's statements
    Column("digest", Words, nullable=False),  # of this row, its blocks and its cells
)

# Each block with an entry of the period: its digest once more, made without the lines that are archived.
ledger_archive_block = Table(
    "ledger_archive_block",
    metadata,
    Column("period", Words, ForeignKey("ledger_archive.period"), primary_key=True),
    Column("block_id", RowNumber, ForeignKey("ledger_block.id"), primary_key=True, index=True),
    Column("digest", Words, nullable=False),
)

# What the period's lines have in the rollups, quarter hour by quarter hour.
ledger_archive_cell = Table(
    "ledger_archive_cell",
    metadata,
    Column("period", Words, ForeignKey("ledger_archive.period"), primary_key=True),
    Column("starts_at", Instant, primary_key=True, autoincrement=False, index=True),
    Column("key", Words, primary_key=True),  # of the group, as `rollup_group` has it
    *(
        Column(name, BigInteger, nullable=False)
        for name in (
            "entries",
            "quantity",
            *(f"{name}_{half}" for name in ("list", "cost", "billed") for half in ("high", "low")),
        )
    ),
)
