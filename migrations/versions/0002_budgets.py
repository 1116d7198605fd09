"""Budgets, leases, limits, the audit log, and what is announced to whom.

Types are spelt out here and not taken from `proxy.store.schema`, which goes on changing.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
big = sa.BigInteger()


def upgrade() -> None:
    _budgets()
    _limits()
    _announcements()
    _audit()
    for name in ("charge_nanousd", "estimate_nanousd"):
        op.add_column("ledger_entry", sa.Column(name, big, nullable=True))
    for name in ("running_nanousd", "burn_nanousd"):
        op.add_column("live_session", sa.Column(name, big, nullable=False, server_default="0"))
    op.add_column("live_session", sa.Column("model", sa.Text(), nullable=True))
    op.add_column("live_session", sa.Column("left_nanousd", big, nullable=True))


def needed(name: str, kind: sa.types.TypeEngine[Any] | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind or sa.Text(), nullable=False)


def optional(name: str, kind: sa.types.TypeEngine[Any] | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind or sa.Text(), nullable=True)


def key(name: str, kind: sa.types.TypeEngine[Any] | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind or sa.Text(), primary_key=True, autoincrement=False)


def _budgets() -> None:
    op.create_table(
        "budget",
        key("id"),
        needed("scope"),
        optional("tenant_id"),
        optional("project_id"),
        optional("api_key_id"),
        optional("end_user_id"),
        needed("window"),
        needed("zone"),
        optional("amount_nanousd", big),
        needed("on_exhausted"),
        needed("on_store_down"),
        needed("store_down_nanousd", big),
        needed("thresholds"),
        needed("created_at", big),
        optional("deleted_at", big),
    )
    op.create_table(
        "budget_raise",
        key("id"),
        sa.Column("budget_id", sa.Text(), sa.ForeignKey("budget.id"), nullable=False, index=True),
        needed("amount_nanousd", big),
        needed("starts_at", big),
        needed("ends_at", big),
        needed("reason"),
        needed("actor"),
        needed("created_at", big),
    )
    op.create_table(
        "budget_window",
        key("budget_id"),
        key("subject"),
        key("starts_at", big),
        optional("ends_at", big),
        needed("spent_nanousd", big),
    )
    op.create_table(
        "lease",
        key("budget_id"),
        key("subject"),
        key("starts_at", big),
        key("instance_id"),
        needed("granted_nanousd", big),
        needed("taken_nanousd", big),
        needed("wanted", sa.Boolean()),
    )
    op.create_index(op.f("ix_lease_instance_id"), "lease", ["instance_id"])
    op.create_table(
        "budget_cut",
        key("session_id"),
        key("subject_id"),
        sa.Column("budget_id", sa.Text(), nullable=False, index=True),
        needed("cut_at", big),
        needed("limit_nanousd", big),
        needed("spent_nanousd", big),
        needed("held_nanousd", big),
        needed("estimate_nanousd", big),
        optional("cost_nanousd", big),
        optional("overshoot_nanousd", big),
    )


def _limits() -> None:
    op.create_table(
        "limit_rule",
        key("owner_id"),
        key("name"),
        sa.Column("tenant_id", sa.Text(), nullable=False, index=True),
        needed("value", big),
    )
    op.create_table(
        "model_rule",
        key("owner_id"),
        key("model"),
        sa.Column("tenant_id", sa.Text(), nullable=False, index=True),
        needed("allowed", sa.Boolean()),
    )


def _announcements() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", row_number, primary_key=True, autoincrement=True),
        needed("key"),
        needed("kind"),
        optional("tenant_id"),
        sa.Column("at", big, nullable=False, index=True),
        needed("payload"),
        optional("fanned_at", big),
        sa.UniqueConstraint("key"),
    )
    not_fanned = sa.text("fanned_at IS NULL")
    op.create_index(
        "ix_outbox_not_fanned", "outbox", ["id"], sqlite_where=not_fanned, postgresql_where=not_fanned
    )
    op.create_table(
        "webhook",
        key("id"),
        optional("tenant_id"),
        needed("url"),
        needed("secret"),
        optional("old_secret"),
        optional("old_until", big),
        needed("kinds"),
        needed("created_at", big),
        optional("deleted_at", big),
    )
    op.create_table(
        "delivery",
        key("outbox_id", row_number),
        key("webhook_id"),
        needed("attempts", sa.Integer()),
        optional("next_at", big),
        optional("delivered_at", big),
        optional("status", sa.Integer()),
        optional("error"),
    )
    pending = sa.text("next_at IS NOT NULL")
    op.create_index(
        "ix_delivery_pending",
        "delivery",
        ["webhook_id", "next_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", row_number, primary_key=True, autoincrement=True),
        needed("at", big),
        needed("actor"),
        needed("action"),
        needed("object"),
        optional("tenant_id"),
        optional("before"),
        optional("after"),
        optional("reason"),
    )
