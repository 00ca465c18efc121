"""Error tasks: a fourth task type, which every column of task types may hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from azr.errors import StoreError

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("task", "task_block", "task_text", "reservoir_slot", "admission", "rollout")
THREE = "task_type IN ('deduction', 'abduction', 'induction')"
FOUR = "task_type IN ('deduction', 'abduction', 'induction', 'error')"


def upgrade() -> None:
    """Let the columns hold the new word; no row changes."""
    _replace_checks(THREE, FOUR)


def downgrade() -> None:
    """Older versions cannot read error tasks, so there must not be any.

    Raises StoreError if there are: to remove them would tear holes into the history.
    """
    for table in TABLES:
        counted = sa.select(sa.func.count()).select_from(sa.table(table))
        found = op.get_bind().execute(counted.where(sa.text("task_type = 'error'"))).scalar()
        if found:
            raise StoreError(
                f"the database holds error tasks ({found:,} rows of {table}), which older"
                " versions of azr cannot read",
                hint="Stay with this version, or begin a new run with the older one.",
            )
    _replace_checks(FOUR, THREE)


def _replace_checks(old: str, new: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rewrite_schema(op.get_bind(), old, new)
        return
    for table in TABLES:
        name = f"ck_{table}_tasktype"
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({new})")


def _rewrite_schema(connection: sa.Connection, old: str, new: str) -> None:
    """SQLite cannot alter a CHECK, and to copy the tables could take hours.

    So the text of the schema is changed in its place, which https://sqlite.org/lang_altertable.html
    (section 7) allows for constraints. The higher schema version has every other
    connection read it anew. In the transaction of the migration, like all else.
    """
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for table in TABLES:
        changed = connection.exec_driver_sql(
            "UPDATE sqlite_master SET sql = replace(sql, ?, ?)"
            " WHERE type = 'table' AND name = ? AND instr(sql, ?) > 0",
            (old, new, table, old),
        )
        if changed.rowcount != 1:
            raise StoreError(
                f"the table {table} of this database was not made by azr's migrations",
                hint="Restore it from a backup, or begin a new run.",
            )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")
