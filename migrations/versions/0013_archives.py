"""Archives of closed periods: what seals them, and the one way in which lines leave the ledger.

A line may go once the period of its entry has an archive; until then, and for all else, nothing has changed.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# What makes a row another row's: an INSERT OR REPLACE would delete that without asking its triggers.
APPEND_ONLY = {
    "ledger_archive": "period = NEW.period OR number = NEW.number",
    "ledger_archive_block": "period = NEW.period AND block_id = NEW.block_id",
    "ledger_archive_cell": "period = NEW.period AND starts_at = NEW.starts_at AND key = NEW.key",
}
ARCHIVED = (
    "SELECT 1 FROM ledger_entry JOIN ledger_archive ON ledger_archive.period = ledger_entry.period"
    " WHERE ledger_entry.id = {entry_id}"
)

big = sa.BigInteger()
row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "ledger_archive",
        sa.Column("period", sa.Text(), sa.ForeignKey("ledger_period.period"), primary_key=True),
        sa.Column("number", big, nullable=False, unique=True),
        sa.Column("archived_at", big, nullable=False),
        sa.Column("archived_by", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("file_digest", sa.Text(), nullable=False),
        sa.Column("entries", big, nullable=False),
        sa.Column("lines", big, nullable=False),
        sa.Column("first_entry", big, nullable=False),
        sa.Column("last_entry", big, nullable=False),
        sa.Column("sums", sa.Text(), nullable=False),
        sa.Column("statements_digest", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
    )
    op.create_table(
        "ledger_archive_block",
        sa.Column("period", sa.Text(), sa.ForeignKey("ledger_archive.period"), primary_key=True),
        sa.Column("block_id", row_number, sa.ForeignKey("ledger_block.id"), primary_key=True),
        sa.Column("digest", sa.Text(), nullable=False),
    )
    op.create_index("ix_ledger_archive_block_block_id", "ledger_archive_block", ["block_id"])
    op.create_table(
        "ledger_archive_cell",
        sa.Column("period", sa.Text(), sa.ForeignKey("ledger_archive.period"), primary_key=True),
        sa.Column("starts_at", big, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text(), primary_key=True),
        *(sa.Column(name, big, nullable=False) for name in FACTS),
    )
    op.create_index("ix_ledger_archive_cell_starts_at", "ledger_archive_cell", ["starts_at"])
    if op.get_bind().dialect.name == "postgresql":
        _refuse_on_postgresql()
    else:
        _refuse_on_sqlite()


FACTS = (
    "entries",
    "quantity",
    *(f"{name}_{half}" for name in ("list", "cost", "billed") for half in ("high", "low")),
)


def _refuse_on_postgresql() -> None:
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION talkmeter_append_only()"
        )
    op.execute("DROP TRIGGER ledger_line_append_only ON ledger_line")
    op.execute(
        "CREATE TRIGGER ledger_line_append_only BEFORE UPDATE OR TRUNCATE ON ledger_line"
        " FOR EACH STATEMENT EXECUTE FUNCTION talkmeter_append_only()"
    )
    archived = ARCHIVED.format(entry_id="gone.entry_id")
    op.execute(
        "CREATE FUNCTION talkmeter_archived_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF EXISTS (SELECT 1 FROM gone WHERE NOT EXISTS ({archived}))"
        " THEN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END IF; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_line_archived_only AFTER DELETE ON ledger_line"
        " REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION talkmeter_archived_only()"
    )


def _refuse_on_sqlite() -> None:
    for table, same in APPEND_ONLY.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for act in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} {refuse}")
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}"
            f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}"
        )
    op.execute("DROP TRIGGER ledger_line_no_delete")
    op.execute(
        "CREATE TRIGGER ledger_line_no_delete BEFORE DELETE ON ledger_line"
        f" WHEN NOT EXISTS ({ARCHIVED.format(entry_id='OLD.entry_id')})"
        " BEGIN SELECT RAISE(ABORT, 'ledger_line is append-only'); END"
    )
