"""The first schema: runs, tasks, admissions, rollouts, batches, and their history."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL = sa.Float(53)
JSON = sa.JSON(none_as_null=True)

ROLE = ("role", "propose", "solve")
TASK_TYPE = ("tasktype", "deduction", "abduction", "induction")
PURPOSE = ("purpose", "train", "measure", "seed")
ORIGIN = ("origin", "seed", "proposed")
ADMISSION_STATE = ("admissionstate", "open", "leased", "done")
ROLLOUT_STATE = (
    "rolloutstate",
    *("generated", "judged", "ready", "claimed", "trained", "dropped"),
)
BATCH_STATE = ("batchstate", "claimed", "trained", "rolled_back")
LINEAGE_STATE = ("lineagestate", "live", "rolled_back")
DROP_REASON = (
    "dropreason",
    *("stale", "measured_only", "task_lost", "sandbox_failed", "seeding"),
)
JUDGEMENT = ("judgement", "valid", "invalid", "correct", "wrong", "bad_format")
FINISH_REASON = ("finishreason", "stop", "length")

QUEUE = ["run_id", "state", "role", "task_type", "admission_id"]
"""What waits is found by state, however long the history."""
LATE_KEYS = (("task", "proposal_id"), ("admission", "measures"))
"""They point at `rollout`, which points back, so they come after it where that matters."""


def words(kind: tuple[str, ...]) -> sa.Enum:
    """An enumeration stored as text with a CHECK."""
    name, *members = kind
    return sa.Enum(*members, name=name, native_enum=False, create_constraint=True, length=16)


def column(name: str, kind: sa.types.TypeEngine[Any], *, null: bool = False) -> sa.Column:
    return sa.Column(name, kind, nullable=null)


def key(name: str) -> sa.Column:
    return sa.Column(name, INT, primary_key=True)


def refers(
    name: str, target: str, *, null: bool = False, primary: bool = False, late: bool = False
) -> sa.Column:
    """A foreign key column, named by the metadata's convention."""
    reference = sa.ForeignKey(target, use_alter=late)
    return sa.Column(
        name,
        INT,
        reference,
        nullable=null,
        primary_key=primary,
        autoincrement="auto" if not primary else False,
    )


def upgrade() -> None:
    """Create every table, parents first."""
    create_runs()
    create_work()
    create_rollouts()
    create_steps()
    create_records()
    if op.get_bind().dialect.supports_alter:
        for table, name in LATE_KEYS:
            target = ("rollout", [name], ["rollout_id"])
            op.create_foreign_key(op.f(f"fk_{table}_{name}"), table, *target)


def downgrade() -> None:
    """Drop every table, children first."""
    for table, name in (*LATE_KEYS, ("rollout", "measures")):
        op.execute(sa.update(sa.table(table, sa.column(name))).values({name: None}))
    if op.get_bind().dialect.supports_alter:
        for table, name in LATE_KEYS:
            op.drop_constraint(op.f(f"fk_{table}_{name}"), table, type_="foreignkey")
    for table in (
        *("event", "metric", "learner_step", "batch_row", "rollout_payload"),
        *("proposal_reference", "rollout", "batch", "admission", "task"),
        *("replica_proof", "policy_version", "runs"),
    ):
        op.drop_table(table)


def create_runs() -> None:
    """Runs, their policy versions, and what replicas proved about them."""
    op.create_table(
        "runs",
        key("run_id"),
        column("config", JSON),
        column("learner_version", INT),
        column("created_at", REAL),
    )
    op.create_table(
        "policy_version",
        key("policy_id"),
        refers("run_id", "runs.run_id"),
        column("version", INT),
        column("state", words(LINEAGE_STATE)),
        column("durable", sa.Boolean()),
        column("path", sa.Text(), null=True),
        column("created_at", REAL),
        column("durable_at", REAL, null=True),
    )
    unique_where(
        "uq_policy_version_live", "policy_version", ["run_id", "version"], "state = 'live'"
    )
    op.create_table(
        "replica_proof",
        key("proof_id"),
        refers("run_id", "runs.run_id"),
        column("replica", sa.Text()),
        column("version", INT),
        column("fingerprint", sa.Text()),
        column("canary_nats", REAL, null=True),
        column("accepted", sa.Boolean()),
        column("created_at", REAL),
    )


def create_work() -> None:
    """Tasks, admissions, and the references of proposals."""
    op.create_table(
        "task",
        key("task_id"),
        refers("run_id", "runs.run_id"),
        column("task_type", words(TASK_TYPE)),
        column("ordinal", INT),
        column("origin", words(ORIGIN)),
        refers("proposal_id", "rollout.rollout_id", null=True, late=True),
        column("program", sa.Text()),
        column("examples", JSON),
        column("message", sa.Text()),
        column("content_hash", sa.String(32)),
        column("visible_from", INT),
        column("num_attempts", INT),
        column("num_solved", INT),
        column("created_at", REAL),
        sa.UniqueConstraint("proposal_id"),
        sa.UniqueConstraint("run_id", "task_type", "ordinal"),
    )
    index("task", "run_id", "task_type", "visible_from", "ordinal")
    index("task", "run_id", "task_type", "content_hash")
    op.create_table(
        "admission",
        key("admission_id"),
        refers("run_id", "runs.run_id"),
        column("role", words(ROLE)),
        column("task_type", words(TASK_TYPE)),
        column("slot", INT),
        column("purpose", words(PURPOSE)),
        column("version", INT),
        refers("task_id", "task.task_id", null=True),
        refers("measures", "rollout.rollout_id", null=True, late=True),
        column("state", words(ADMISSION_STATE)),
        column("owner", sa.Text(), null=True),
        column("lease_until", REAL, null=True),
        column("created_at", REAL),
        sa.UniqueConstraint("run_id", "role", "task_type", "slot"),
    )
    op.create_index("ix_admission_queue", "admission", QUEUE)
    op.create_table(
        "proposal_reference",
        refers("admission_id", "admission.admission_id", primary=True),
        sa.Column("position", INT, primary_key=True),
        refers("task_id", "task.task_id"),
    )
    index("proposal_reference", "task_id")


def create_rollouts() -> None:
    """Batches (claims), rollouts, and their tokens."""
    op.create_table(
        "batch",
        key("batch_id"),
        refers("run_id", "runs.run_id"),
        column("version", INT),
        column("state", words(BATCH_STATE)),
        column("claimed_at", REAL),
    )
    op.create_table(
        "rollout",
        key("rollout_id"),
        refers("run_id", "runs.run_id"),
        refers("admission_id", "admission.admission_id", null=True),
        column("role", words(ROLE)),
        column("task_type", words(TASK_TYPE)),
        column("purpose", words(PURPOSE)),
        refers("task_id", "task.task_id", null=True),
        refers("measures", "rollout.rollout_id", null=True),
        column("state", words(ROLLOUT_STATE)),
        column("drop_reason", words(DROP_REASON), null=True),
        column("judgement", words(JUDGEMENT), null=True),
        column("verdict", sa.String(64), null=True),
        column("detail", sa.Text(), null=True),
        column("reward", REAL, null=True),
        column("solved", sa.Boolean(), null=True),
        column("num_expected", INT, null=True),
        column("num_measured", INT, null=True),
        column("num_solved", INT, null=True),
        column("solve_rate", REAL, null=True),
        column("num_prompt_tokens", INT),
        column("num_tokens", INT),
        column("finish_reason", words(FINISH_REASON)),
        column("oldest_version", INT),
        column("newest_version", INT),
        column("staleness_version", INT),
        column("failures", INT),
        column("owner", sa.Text(), null=True),
        column("lease_until", REAL, null=True),
        refers("batch_id", "batch.batch_id", null=True),
        column("generated_at", REAL),
        column("judged_at", REAL, null=True),
        column("ready_at", REAL, null=True),
        column("claimed_at", REAL, null=True),
        column("trained_at", REAL, null=True),
        column("dropped_at", REAL, null=True),
        sa.UniqueConstraint("admission_id"),
    )
    op.create_index("ix_rollout_queue", "rollout", QUEUE)
    for columns in (["task_id"], ["measures"], ["batch_id"], ["run_id", "generated_at"]):
        index("rollout", *columns)
    op.create_table(
        "rollout_payload",
        refers("rollout_id", "rollout.rollout_id", primary=True),
        column("codec", sa.String(32)),
        column("prompt_token_ids", sa.LargeBinary()),
        column("token_ids", sa.LargeBinary()),
        column("behaviour_logprobs", sa.LargeBinary()),
        column("version_spans", JSON),
        column("text", sa.Text()),
    )


def create_steps() -> None:
    """What each optimizer step trained on."""
    op.create_table(
        "batch_row",
        key("batch_row_id"),
        refers("batch_id", "batch.batch_id"),
        refers("rollout_id", "rollout.rollout_id"),
        column("position", INT),
        column("advantage", REAL),
        column("staleness", INT),
        column("live", sa.Boolean()),
    )
    index("batch_row", "batch_id")
    unique_where("uq_batch_row_live", "batch_row", ["rollout_id"], "live")
    op.create_table(
        "learner_step",
        key("step_id"),
        refers("run_id", "runs.run_id"),
        refers("batch_id", "batch.batch_id"),
        column("version", INT),
        column("state", words(LINEAGE_STATE)),
        column("loss", REAL, null=True),
        column("metrics", JSON),
        column("committed_at", REAL),
        sa.UniqueConstraint("batch_id"),
    )


def create_records() -> None:
    """Metrics and events."""
    op.create_table(
        "metric",
        key("metric_id"),
        refers("run_id", "runs.run_id"),
        column("name", sa.Text()),
        column("step", INT),
        column("value", REAL, null=True),
        column("live", sa.Boolean()),
        column("created_at", REAL),
    )
    index("metric", "run_id", "name", "step")
    op.create_table(
        "event",
        key("event_id"),
        refers("run_id", "runs.run_id"),
        column("kind", sa.Text()),
        column("facts", JSON),
        column("created_at", REAL),
    )


def index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def unique_where(name: str, table: str, columns: list[str], condition: str) -> None:
    """A unique index over the rows that meet a condition."""
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)
