"""Lineages, nodes, replicas and phases: what a run needs that many nodes play."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLOAT = sa.Float(53)
TEXT = sa.Text()
NODE_STATES = ("starting", "playing", "draining", "ended", "fenced")
REPLICA_STATES = ("starting", "healthy", "stale", "suspect", "dead")
ROLLOUTS_AT_ONCE = 1000


def upgrade() -> None:
    """Runs that have made a step are playing; all is of lineage 0."""
    op.add_column("runs", sa.Column("lineage", INT, nullable=False, server_default="0"))
    op.add_column(
        "runs", sa.Column("phase", sa.String(16), nullable=False, server_default="seeding")
    )
    op.execute("UPDATE runs SET phase = 'playing' WHERE learner_version > 0")
    op.add_column("replica_proof", sa.Column("node_id", TEXT, nullable=False, server_default=""))
    for column in ("sampled_by", "judged_by"):
        op.add_column("rollout", sa.Column(column, TEXT))
    op.add_column("replica_proof", sa.Column("lineage", INT, nullable=False, server_default="0"))
    op.create_table(
        "lineage",
        sa.Column("run_id", INT, sa.ForeignKey("runs.run_id", name="fk_lineage_run_id")),
        sa.Column("lineage", INT, autoincrement=False),
        sa.Column("forked_at", INT, nullable=False),
        sa.Column("created_at", FLOAT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "lineage", name="pk_lineage"),
    )
    _create_node()
    _create_replica()


def _create_node() -> None:
    op.create_table(
        "node",
        sa.Column("node_id", TEXT, nullable=False),
        sa.Column(
            "run_id", INT, sa.ForeignKey("runs.run_id", name="fk_node_run_id"), nullable=False
        ),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("machine", TEXT, nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("pid", INT, nullable=False),
        sa.Column("duties", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", _words("nodestate", NODE_STATES), nullable=False),
        sa.Column("version", INT),
        sa.Column("lineage", INT, nullable=False),
        sa.Column("started_at", FLOAT, nullable=False),
        sa.Column("seen_at", FLOAT, nullable=False),
        sa.Column("ended_at", FLOAT),
        sa.Column("reason", TEXT),
        sa.PrimaryKeyConstraint("node_id", name="pk_node"),
    )
    op.create_index("ix_node_run_id", "node", ["run_id"])


def _create_replica() -> None:
    op.create_table(
        "replica",
        sa.Column("run_id", INT, sa.ForeignKey("runs.run_id", name="fk_replica_run_id")),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("node_id", TEXT, nullable=False),
        sa.Column("state", _words("replicastate", REPLICA_STATES), nullable=False),
        sa.Column("version", INT),
        sa.Column("lineage", INT, nullable=False),
        sa.Column("fingerprint", TEXT),
        sa.Column("canary_nats", FLOAT),
        sa.Column("lag", INT),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("updated_at", FLOAT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "name", "node_id", name="pk_replica"),
    )


def _words(name: str, words: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*words, native_enum=False, create_constraint=True, length=16, name=name)


def downgrade() -> None:
    """Forget who played, and which lineage sampled a token."""
    _forget_lineages_of_tokens(op.get_bind())
    for table in ("replica", "node", "lineage"):
        op.drop_table(table)
    for table, column in (
        ("replica_proof", "lineage"),
        ("replica_proof", "node_id"),
        ("runs", "phase"),
        ("runs", "lineage"),
        ("rollout", "judged_by"),
        ("rollout", "sampled_by"),
    ):
        op.drop_column(table, column)


def _forget_lineages_of_tokens(connection: sa.Connection) -> None:
    """[version, start, end, lineage] -> [version, start, end], which older programs read."""
    payload = sa.table(
        "rollout_payload", sa.column("rollout_id", INT), sa.column("version_spans", sa.JSON)
    )
    first = sa.select(payload).order_by(payload.c.rollout_id).limit(ROLLOUTS_AT_ONCE)
    shorten = (
        sa.update(payload)
        .where(payload.c.rollout_id == sa.bindparam("this"))
        .values(version_spans=sa.bindparam("spans", type_=sa.JSON))
    )
    done = -1
    while rows := connection.execute(first.where(payload.c.rollout_id > done)).all():
        done = rows[-1].rollout_id
        changed = [
            {"this": row.rollout_id, "spans": [span[:3] for span in row.version_spans]}
            for row in rows
        ]
        connection.execute(shorten, changed)
