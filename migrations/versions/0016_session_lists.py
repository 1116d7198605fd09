"""The sessions of a tenant, a project, a key or an end user are listed by an index, the newest first."""

from collections.abc import Sequence

from alembic import op

revision = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for whose in ("tenant_id", "project_id", "api_key_id", "end_user_id"):
        op.create_index(f"ix_session_{whose}_opened_at", "session", [whose, "opened_at"])
