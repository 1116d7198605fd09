"""Which API key takes the place of which."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "key_rotation",
        sa.Column("old_key_id", sa.Text(), sa.ForeignKey("api_key.id"), primary_key=True),
        sa.Column("new_key_id", sa.Text(), sa.ForeignKey("api_key.id"), nullable=False, unique=True),
        sa.Column("rotated_at", sa.BigInteger(), nullable=False),
    )
