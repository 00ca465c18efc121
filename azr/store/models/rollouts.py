"""A rollout from its admission to the step that learned from it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from azr.store.base import Base
from azr.store.states import AdmissionState, BatchState, LineageState, RolloutState
from azr.types import DropReason, FinishReason, Judgement, Purpose, Role, TaskType


class AdmissionRow(Base):
    """Permission to sample one rollout, granted once, leased until it is sampled."""

    __tablename__ = "admission"

    admission_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    role: Mapped[Role]
    task_type: Mapped[TaskType]
    slot: Mapped[int]
    """Counts admissions of a role and type, from 0."""
    purpose: Mapped[Purpose]
    version: Mapped[int]
    """Learner version when admitted."""
    task_id: Mapped[int | None] = mapped_column(ForeignKey("task.task_id"))
    measures: Mapped[int | None] = mapped_column(ForeignKey("rollout.rollout_id", use_alter=True))
    """The proposal whose solve rate this attempt counts towards."""
    state: Mapped[AdmissionState]
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    created_at: Mapped[float]

    __table_args__ = (
        UniqueConstraint("run_id", "role", "task_type", "slot"),
        Index("ix_admission_queue", "run_id", "state", "role", "task_type", "admission_id"),
    )


class ProposalReferenceRow(Base):
    """The tasks a proposer was shown, in order: the lineage of what it proposes.

    Those whose functions it must call (`[composites]`) are at positions from 1000 on.
    """

    __tablename__ = "proposal_reference"

    admission_id: Mapped[int] = mapped_column(
        ForeignKey("admission.admission_id"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.task_id"), index=True)


class RolloutRow(Base):
    """One sampled completion and its fate; the tokens are in `rollout_payload`."""

    __tablename__ = "rollout"

    rollout_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    admission_id: Mapped[int | None] = mapped_column(
        ForeignKey("admission.admission_id"), unique=True
    )
    """Empty for seeding rollouts, which nobody admitted."""
    role: Mapped[Role]
    task_type: Mapped[TaskType]
    purpose: Mapped[Purpose]
    task_id: Mapped[int | None] = mapped_column(ForeignKey("task.task_id"), index=True)
    """Solve: the task attempted."""
    measures: Mapped[int | None] = mapped_column(ForeignKey("rollout.rollout_id"), index=True)
    state: Mapped[RolloutState]
    drop_reason: Mapped[DropReason | None]
    judgement: Mapped[Judgement | None]
    verdict: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str | None]
    reward: Mapped[float | None]
    solved: Mapped[bool | None]
    """Solve: whether the attempt counts as solved."""
    num_expected: Mapped[int | None]
    """Propose, valid: attempts that measure its task and were not lost."""
    num_measured: Mapped[int | None]
    num_solved: Mapped[int | None]
    solve_rate: Mapped[float | None]
    num_prompt_tokens: Mapped[int]
    num_tokens: Mapped[int]
    finish_reason: Mapped[FinishReason]
    oldest_version: Mapped[int]
    newest_version: Mapped[int]
    staleness_version: Mapped[int]
    """Staleness counts from here: `oldest_version`, unless a rollback moved it."""
    failures: Mapped[int]
    """Infrastructure failures of its examination so far."""
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batch.batch_id"), index=True)
    sampled_by: Mapped[str | None]
    """The node whose replica sampled it, by its incarnation."""
    judged_by: Mapped[str | None]
    """The node whose jail it was judged in."""
    generated_at: Mapped[float]
    judged_at: Mapped[float | None]
    ready_at: Mapped[float | None]
    claimed_at: Mapped[float | None]
    trained_at: Mapped[float | None]
    dropped_at: Mapped[float | None]

    __table_args__ = (
        Index("ix_rollout_queue", "run_id", "state", "role", "task_type", "admission_id"),
        Index(None, "run_id", "generated_at"),
    )


class RolloutPayloadRow(Base):
    """The tokens of a rollout; see `azr.store.codec` for the blobs."""

    __tablename__ = "rollout_payload"

    rollout_id: Mapped[int] = mapped_column(
        ForeignKey("rollout.rollout_id"), primary_key=True, autoincrement=False
    )
    codec: Mapped[str] = mapped_column(String(32))
    prompt_token_ids: Mapped[bytes]
    token_ids: Mapped[bytes]
    behaviour_logprobs: Mapped[bytes]
    version_spans: Mapped[list[Any]]
    """[[version, start, end, lineage], ...]; rows of old databases leave lineage 0 out."""
    text: Mapped[str]


class BatchRow(Base):
    """A claim: B rollouts of each cell, held for one optimizer step."""

    __tablename__ = "batch"

    batch_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    version: Mapped[int]
    """Learner version at the claim."""
    state: Mapped[BatchState]
    claimed_at: Mapped[float]


class BatchMemberRow(Base):
    """A rollout that was trained on, in which place, with which advantage."""

    __tablename__ = "batch_row"

    batch_row_id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.batch_id"), index=True)
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.rollout_id"))
    position: Mapped[int]
    advantage: Mapped[float]
    staleness: Mapped[int]
    """At the claim."""
    live: Mapped[bool]
    """False after a rollback: the surviving weights did not learn from it here."""

    __table_args__ = (
        Index(
            "uq_batch_row_live",
            "rollout_id",
            unique=True,
            sqlite_where=text("live"),
            postgresql_where=text("live"),
        ),
    )


class LearnerStepRow(Base):
    """One committed optimizer step: what made `version` out of `version - 1`."""

    __tablename__ = "learner_step"

    step_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.batch_id"), unique=True)
    version: Mapped[int]
    state: Mapped[LineageState]
    loss: Mapped[float | None]
    metrics: Mapped[dict[str, Any]]
    committed_at: Mapped[float]
