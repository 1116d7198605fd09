"""The first schema: catalogue, prices, sessions, ledger, instances.

Types are spelt out here and not taken from `proxy.store.schema`, which goes on changing.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _payers()
    _prices()
    _sessions()
    _ledger()
    _instances()
    _single_rows()


def needed(name: str, kind: sa.types.TypeEngine[Any] | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind or sa.Text(), nullable=False)


def optional(name: str, kind: sa.types.TypeEngine[Any] | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind or sa.Text(), nullable=True)


def instant(name: str) -> sa.Column[Any]:
    """Microseconds since the epoch."""
    return needed(name, sa.BigInteger())


def key(name: str, kind: sa.types.TypeEngine[Any] | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind or sa.Text(), primary_key=True, autoincrement=False)


def _payers() -> None:
    op.create_table(
        "tenant",
        key("id"),
        needed("name"),
        instant("created_at"),
        optional("archived_at", sa.BigInteger()),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "project",
        key("id"),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id"), nullable=False),
        needed("name"),
        instant("created_at"),
        optional("archived_at", sa.BigInteger()),
        sa.UniqueConstraint("tenant_id", "name"),
    )
    op.create_table(
        "api_key",
        key("id"),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id"), nullable=False, index=True),
        sa.Column("project_id", sa.Text(), sa.ForeignKey("project.id")),
        needed("name"),
        needed("secret_hmac"),
        needed("prefix"),
        needed("tags"),
        instant("created_at"),
        optional("expires_at", sa.BigInteger()),
        optional("revoked_at", sa.BigInteger()),
        sa.UniqueConstraint("secret_hmac"),
    )
    op.create_table(
        "end_user", key("id"), needed("tenant_id"), needed("name"), sa.UniqueConstraint("tenant_id", "name")
    )


def _prices() -> None:
    op.create_table(
        "rate_card",
        key("id"),
        needed("provider"),
        needed("model"),
        instant("effective_from"),
        needed("source"),
        instant("created_at"),
        sa.UniqueConstraint("provider", "model", "effective_from"),
    )
    op.create_table(
        "rate_price",
        sa.Column("rate_card_id", sa.Text(), sa.ForeignKey("rate_card.id"), primary_key=True),
        key("meter"),
        needed("price_nanousd", sa.BigInteger()),
        needed("price_per", sa.BigInteger()),
    )


def _sessions() -> None:
    op.create_table(
        "session",
        key("id"),
        needed("tenant_id"),
        optional("project_id"),
        needed("api_key_id"),
        optional("end_user_id"),
        needed("tags"),
        needed("provider"),
        optional("account"),
        optional("model"),
        optional("upstream_session_id"),
        needed("instance_id"),
        sa.Column("opened_at", sa.BigInteger(), nullable=False, index=True),
        optional("closed_at", sa.BigInteger()),
        optional("close_code", sa.Integer()),
        optional("reason"),
    )


def _ledger() -> None:
    op.create_table("ledger_entry", *_entry_columns(), sa.UniqueConstraint("entry_key"))
    op.create_index("ix_ledger_entry_tenant_id_occurred_at", "ledger_entry", ["tenant_id", "occurred_at"])
    unrated = sa.text("cost_nanousd IS NULL")
    op.create_index(
        "ix_ledger_entry_unrated", "ledger_entry", ["id"], sqlite_where=unrated, postgresql_where=unrated
    )
    op.create_table(
        "ledger_line",
        sa.Column(
            "entry_id", row_number, sa.ForeignKey("ledger_entry.id"), primary_key=True, autoincrement=False
        ),
        key("meter"),
        needed("quantity", sa.BigInteger()),
        needed("unit"),
        optional("price_nanousd", sa.BigInteger()),
        optional("price_per", sa.BigInteger()),
        *_amounts(),
        optional("rate_card_id"),
    )
    op.create_table(
        "entry_conflict",
        sa.Column("id", row_number, primary_key=True, autoincrement=True),
        sa.Column("entry_key", sa.Text(), nullable=False, index=True),
        needed("digest"),
        instant("found_at"),
        needed("payload"),
    )


def _entry_columns() -> Sequence[sa.Column[Any]]:
    return (
        key("id", row_number),
        needed("entry_key"),
        needed("digest"),
        sa.Column("session_id", sa.Text(), index=True),
        needed("tenant_id"),
        optional("project_id"),
        optional("api_key_id"),
        optional("end_user_id"),
        needed("tags"),
        needed("provider"),
        optional("account"),
        optional("upstream_session_id"),
        optional("model"),
        needed("kind"),
        needed("role"),
        needed("subject_id"),
        needed("revision", sa.Integer()),
        needed("status"),
        optional("status_reason"),
        needed("estimated", sa.Boolean()),
        needed("flags"),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False, index=True),
        instant("posted_at"),
        sa.Column("period", sa.Text(), nullable=False, index=True),
        *_amounts(),
        optional("corrects", row_number),
    )


def _amounts() -> Sequence[sa.Column[Any]]:
    return tuple(optional(f"{name}_nanousd", sa.BigInteger()) for name in ("list", "cost", "billed"))


def _instances() -> None:
    op.create_table(
        "instance",
        key("id"),
        instant("started_at"),
        instant("seen_at"),
        needed("journal_path"),
        needed("version"),
    )
    op.create_table("journal_checkpoint", key("instance_id"), needed("seq", sa.BigInteger()), instant("at"))
    op.create_table(
        "live_session",
        key("session_id"),
        sa.Column("instance_id", sa.Text(), nullable=False, index=True),
        instant("seen_at"),
        needed("cost_nanousd", sa.BigInteger()),
        needed("responses", sa.BigInteger()),
    )
    op.create_table("stop_order", key("session_id"), needed("reason"), instant("at"))


def _single_rows() -> None:
    """Tables of one row, with the row: whoever uses them need not ask whether it is there."""
    for name, column in (("chain_head", "entries"), ("change_counter", "value")):
        table = op.create_table(
            name,
            key("id", sa.Integer()),
            needed(column, sa.BigInteger()),
            sa.CheckConstraint("id = 1", name="single"),
        )
        op.bulk_insert(table, [{"id": 1, column: 0}])
