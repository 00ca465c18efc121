"""Blocks of tasks that become visible together, and the slots of reservoir buffers.

Without blocks a draw counted every task of its buffer.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Existing tasks, counted once.
FILL = """
    INSERT INTO task_block
        (run_id, task_type, visible_from, num_before, num_tasks, first_ordinal, last_ordinal)
    SELECT run_id, task_type, visible_from,
        SUM(COUNT(*)) OVER (PARTITION BY run_id, task_type ORDER BY visible_from) - COUNT(*),
        COUNT(*), MIN(ordinal), MAX(ordinal)
    FROM task GROUP BY run_id, task_type, visible_from
"""


def task_type() -> sa.Enum:
    """The column's type, with its CHECK."""
    members = ("deduction", "abduction", "induction")
    return sa.Enum(*members, name="tasktype", native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    """Create both tables and count the tasks that there are."""
    op.create_table(
        "task_block",
        sa.Column("run_id", INT, sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("task_type", task_type(), primary_key=True),
        sa.Column("visible_from", INT, primary_key=True, autoincrement=False),
        sa.Column("num_before", INT, nullable=False),
        sa.Column("num_tasks", INT, nullable=False),
        sa.Column("first_ordinal", INT, nullable=False),
        sa.Column("last_ordinal", INT, nullable=False),
    )
    index("task_block", "run_id", "task_type", "num_before")
    op.create_table(
        "reservoir_slot",
        sa.Column("task_id", INT, sa.ForeignKey("task.task_id"), primary_key=True),
        sa.Column("run_id", INT, sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("task_type", task_type(), nullable=False),
        sa.Column("slot", INT, nullable=False),
        sa.Column("visible_from", INT, nullable=False),
    )
    index("reservoir_slot", "run_id", "task_type", "slot", "visible_from", "task_id")
    op.execute(FILL)


def downgrade() -> None:
    """Nothing is lost: both tables repeat what `task` says."""
    op.drop_table("reservoir_slot")
    op.drop_table("task_block")


def index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))
