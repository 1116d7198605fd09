"""Budgets can announce what is expected at the end of their window."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    none = sa.text("'[]'")
    op.add_column("budget", sa.Column("forecast_thresholds", sa.Text(), nullable=False, server_default=none))
