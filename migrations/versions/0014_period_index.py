"""What is accounted in another month than it occurred in is found by an index."""

from collections.abc import Sequence

from alembic import op

revision = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_ledger_entry_period_occurred_at", "ledger_entry", ["period", "occurred_at"])
    op.drop_index("ix_ledger_entry_period", "ledger_entry")
