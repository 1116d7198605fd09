"""Prices of contracts and of tenants, and markups: what an upstream charges us, what tenants are billed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PUBLIC = "uq_rate_card_provider_model_effective_from"
OWNED = "uq_rate_card_owner_provider_model_effective_from"
OWNED_COLUMNS = ["owner", "provider", "model", "effective_from"]
PRICE = "rate_card_id, meter, price_nanousd, price_per"


def upgrade() -> None:
    op.add_column("ledger_entry", sa.Column("public_card_id", sa.Text()))
    op.add_column("ledger_entry", sa.Column("agreed_card_id", sa.Text()))
    op.add_column("ledger_entry", sa.Column("markup_bp", sa.Integer()))
    op.create_table(
        "markup",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id")),
        sa.Column("basis_points", sa.Integer(), nullable=False),
        sa.Column("effective_from", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    owner = sa.Column("owner", sa.Text(), nullable=False, server_default="public")
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("rate_card", owner)
        op.drop_constraint(PUBLIC, "rate_card", type_="unique")
        op.create_unique_constraint(OWNED, "rate_card", OWNED_COLUMNS)
        return
    # SQLite makes the table anew, which the prices' foreign keys would forbid: they stand aside meanwhile.
    op.execute(f"CREATE TEMPORARY TABLE price_aside AS SELECT {PRICE} FROM rate_price")
    op.execute("DELETE FROM rate_price")
    with op.batch_alter_table("rate_card") as table:
        table.add_column(owner)
        table.drop_constraint(PUBLIC, type_="unique")
        table.create_unique_constraint(OWNED, OWNED_COLUMNS)
    op.execute(f"INSERT INTO rate_price ({PRICE}) SELECT {PRICE} FROM price_aside")
    op.execute("DROP TABLE price_aside")
