"""Accounting periods that are closed, and the statements of their tenants.

Instances tell from now on whether they ended well, and what of their journals is not in the ledger. One from
before that, whose leases and sessions are all over, is taken to have ended well.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# What makes a row another row's: an INSERT OR REPLACE would delete that without asking its triggers.
APPEND_ONLY = {
    "ledger_period": "period = NEW.period",
    "statement": "number = NEW.number OR (period = NEW.period AND tenant_id = NEW.tenant_id)",
    "statement_line": "statement = NEW.statement AND position = NEW.position",
}

big = sa.BigInteger()


def upgrade() -> None:
    op.add_column("chain_head", optional("closed_through"))
    op.add_column("chain_head", optional("period_zone"))
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "ix_session_open", "session", ["opened_at"], sqlite_where=is_open, postgresql_where=is_open
    )
    _instances()
    _periods()
    _statements()
    if op.get_bind().dialect.name == "postgresql":
        _refuse_on_postgresql()
    else:
        _refuse_on_sqlite()


def needed(name: str, kind: sa.types.TypeEngine[object] | None = None) -> sa.Column[object]:
    return sa.Column(name, kind or sa.Text(), nullable=False)


def optional(name: str, kind: sa.types.TypeEngine[object] | None = None) -> sa.Column[object]:
    return sa.Column(name, kind or sa.Text(), nullable=True)


def _instances() -> None:
    op.add_column("instance", optional("ended_at", big))
    op.add_column("instance", optional("unposted_from", big))
    op.add_column("instance", sa.Column("parked", big, nullable=False, server_default="0"))
    op.execute(
        "UPDATE instance SET ended_at = seen_at"
        " WHERE id NOT IN (SELECT instance_id FROM session WHERE closed_at IS NULL)"
        " AND id NOT IN (SELECT instance_id FROM lease WHERE granted_nanousd > taken_nanousd)"
    )


def _periods() -> None:
    op.create_table(
        "ledger_period",
        sa.Column("period", sa.Text(), primary_key=True),
        needed("zone"),
        needed("closed_at", big),
        needed("closed_by"),
        needed("entries", big),
        needed("digest"),
        needed("overridden"),
    )


def _statements() -> None:
    op.create_table(
        "statement",
        sa.Column("number", sa.Text(), primary_key=True),
        sa.Column("period", sa.Text(), sa.ForeignKey("ledger_period.period"), nullable=False),
        needed("tenant_id"),
        needed("tenant"),
        optional("issuer"),
        needed("entries", big),
        needed("unrated_entries", big),
        needed("billed_nanousd", big),
        needed("rounding_nanousd", big),
        sa.UniqueConstraint("period", "tenant_id"),
    )
    op.create_table(
        "statement_line",
        sa.Column("statement", sa.Text(), sa.ForeignKey("statement.number"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        optional("project_id"),
        optional("project"),
        needed("kind"),
        optional("model"),
        optional("meter"),
        optional("corrects_period"),
        optional("entry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        optional("reason"),
        optional("quantity", big),
        optional("unit"),
        optional("billed_nanousd", big),
    )


def _refuse_on_postgresql() -> None:
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION talkmeter_append_only()"
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
