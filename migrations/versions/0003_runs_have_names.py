"""Runs have names, and writers leave a trace: one database for several runs and nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Name the runs that exist; the latest stays the one without a name."""
    op.add_column("runs", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    runs = sa.table("runs", sa.column("run_id", INT), sa.column("name", sa.Text()))
    latest = sa.select(sa.func.max(runs.c.run_id)).scalar_subquery()
    named = sa.literal("run ") + sa.cast(runs.c.run_id, sa.Text())
    op.execute(sa.update(runs).where(runs.c.run_id < latest).values(name=named))
    op.create_index("uq_runs_name", "runs", ["name"], unique=True)
    op.create_table(
        "writer",
        sa.Column("writer_id", sa.String(32), primary_key=True),
        sa.Column("last_transaction", INT, nullable=False),
        sa.Column("seen_at", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    """Forget the names and the traces."""
    op.drop_table("writer")
    op.drop_index("uq_runs_name", "runs")
    op.drop_column("runs", "name")
