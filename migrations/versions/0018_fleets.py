"""When an instance was forgotten; and the oldest revision whose code may still use the database.

From here on migrations only add: tables, columns that may be null or have a default, indexes, triggers. So
the version before goes on, and starts again, while a fleet is rolled. A migration that takes something away
says `CONTRACTS = "X.Y"`, the release that stopped using it, and raises the floor to itself.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("instance", sa.Column("forgotten_at", sa.BigInteger()))
    floor = op.create_table(
        "schema_floor",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name="single"),
    )
    op.bulk_insert(floor, [{"id": 1, "revision": revision}])
