"""Comparisons with the provider's bill, and what the bill's lines mean."""

import time
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

RULES = {  # a guess at OpenAI's strings, to be put right by whoever sees them
    "text input": "text_in",
    "cached text input": "text_in_cached",
    "text cached input": "text_in_cached",
    "audio input": "audio_in",
    "cached audio input": "audio_in_cached",
    "audio cached input": "audio_in_cached",
    "image input": "image_in",
    "cached image input": "image_in_cached",
    "image cached input": "image_in_cached",
    "text output": "text_out",
    "audio output": "audio_out",
    "duration": "duration_ms",
}
AMOUNTS = (
    "ours_nanousd",
    "theirs_nanousd",
    "price_nanousd",
    "unrated_nanousd",
    "delay_nanousd",
    "day_edge_nanousd",
    "estimates_nanousd",
    "unexplained_nanousd",
)
APPEND_ONLY = {
    "reconciliation": "id = NEW.id",
    "reconciliation_day": "reconciliation_id = NEW.reconciliation_id AND on_day = NEW.on_day",
    "reconciliation_row": "reconciliation_id = NEW.reconciliation_id AND number = NEW.number",
}


def upgrade() -> None:
    line_item = op.create_table(
        "line_item",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text()),
        sa.Column("meter", sa.Text()),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
    )
    now = time.time_ns() // 1_000
    op.bulk_insert(
        line_item,
        [
            {"name": f"*, {part}", "model": None, "meter": meter, "set_at": now}
            for part, meter in RULES.items()
        ],
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("first_on", sa.Text(), nullable=False),
        sa.Column("end_on", sa.Text(), nullable=False),
        sa.Column("delay_s", sa.Integer(), nullable=False),
        sa.Column("threshold_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("threshold_percent", sa.Integer(), nullable=False),
        sa.Column("upstream_projects", sa.Text(), nullable=False),
        sa.Column("upstream_keys", sa.Text(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
    )
    op.create_table(
        "reconciliation_day",
        sa.Column("reconciliation_id", sa.Text(), sa.ForeignKey("reconciliation.id"), primary_key=True),
        sa.Column("on_day", sa.Text(), primary_key=True, index=True),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in AMOUNTS),
        sa.Column("limit_nanousd", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "reconciliation_row",
        sa.Column("reconciliation_id", sa.Text(), sa.ForeignKey("reconciliation.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("on_day", sa.Text(), nullable=False),
        sa.Column("project", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("meter", sa.Text()),
        sa.Column("line_item", sa.Text()),
        sa.Column("ours_quantity", sa.BigInteger(), nullable=False),
        sa.Column("theirs_quantity", sa.BigInteger()),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in AMOUNTS),
        sa.Column("unrated_quantity", sa.BigInteger(), nullable=False),
        sa.Column("uncounted", sa.BigInteger(), nullable=False),
        sa.Column("upstream_keys", sa.Text(), nullable=False),
    )
    for table, same in APPEND_ONLY.items():
        _refuse_changes(table, same)


def _refuse_changes(table: str, same: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION talkmeter_append_only()"
        )
        return
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    for act in ("UPDATE", "DELETE"):
        op.execute(f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} {refuse}")
    op.execute(
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}"
        f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}"
    )
