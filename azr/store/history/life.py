"""The whole life of one rollout, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from azr.errors import StoreError
from azr.store.codec import PRUNED, decode_ids
from azr.store.history import History
from azr.store.models import (
    AdmissionRow,
    BatchMemberRow,
    BatchRow,
    LearnerStepRow,
    ProposalReferenceRow,
    RolloutPayloadRow,
    RolloutRow,
    TaskRow,
)
from azr.store.states import AdmissionState, BatchState, LineageState, RolloutState
from azr.types import (
    DropReason,
    FinishReason,
    Judgement,
    PolicyVersion,
    Purpose,
    Role,
    TaskType,
    VersionSpan,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFacts:
    """The row of a rollout."""

    rollout_id: int
    admission_id: int | None
    role: Role
    task_type: TaskType
    purpose: Purpose
    task_id: int | None
    """Solve: the task attempted."""
    measures: int | None
    """Solve: the proposal whose solve rate the attempt counts towards."""
    state: RolloutState
    drop_reason: DropReason | None
    judgement: Judgement | None
    verdict: str | None
    detail: str | None
    reward: float | None
    solved: bool | None
    num_expected: int | None
    num_measured: int | None
    num_solved: int | None
    solve_rate: float | None
    num_prompt_tokens: int
    num_tokens: int
    finish_reason: FinishReason
    oldest_version: PolicyVersion
    newest_version: PolicyVersion
    staleness_version: PolicyVersion
    failures: int
    owner: str | None
    generated_at: float
    judged_at: float | None
    ready_at: float | None
    claimed_at: float | None
    trained_at: float | None
    dropped_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionFacts:
    """Why it was sampled at all."""

    slot: int
    version: PolicyVersion
    """Learner version when admitted."""
    state: AdmissionState
    created_at: float
    references: tuple[int, ...]
    """Task ids that a proposer was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledText:
    """What the model read and wrote."""

    prompt_token_ids: tuple[int, ...] | None
    """None after pruning."""
    text: str
    version_spans: tuple[VersionSpan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """One batch that it was claimed for; after a rollback there may be several."""

    batch_id: int
    version: PolicyVersion
    """Learner version at the claim."""
    state: BatchState
    claimed_at: float
    position: int | None
    """None until the step is committed, as the next three."""
    advantage: float | None
    staleness: int | None
    live: bool | None
    step: PolicyVersion | None
    """The policy version that the step made."""
    step_state: LineageState | None
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """An attempt that measures a proposal."""

    rollout_id: int | None
    """None while it is not sampled."""
    purpose: Purpose
    state: RolloutState | None
    judgement: Judgement | None
    verdict: str | None
    solved: bool | None
    reward: float | None
    oldest_version: PolicyVersion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLife:
    """All that the database knows about a rollout."""

    rollout: RolloutFacts
    admission: AdmissionFacts | None
    sampled: SampledText
    made_task: int | None
    """Propose: the task that it became."""
    attempts: tuple[AttemptFacts, ...]
    """Propose: what measured it."""
    batches: tuple[BatchFacts, ...]
    """Oldest first."""


def rollout_life(history: History, rollout_id: int) -> RolloutLife:
    """Raises StoreError if the run has no such rollout."""
    columns = [getattr(RolloutRow, name) for name in RolloutFacts.__dataclass_fields__]
    query = sa.select(*columns).where(
        RolloutRow.run_id == history.run_id, RolloutRow.rollout_id == rollout_id
    )
    row = history.connection.execute(query).mappings().one_or_none()
    if row is None:
        raise _no_such_rollout(history, rollout_id)
    rollout = RolloutFacts(**row)
    made = sa.select(TaskRow.task_id).where(TaskRow.proposal_id == rollout_id)
    return RolloutLife(
        rollout=rollout,
        admission=_admission(history, rollout.admission_id),
        sampled=_sampled(history, rollout_id),
        made_task=history.connection.execute(made).scalar(),
        attempts=_attempts(history, rollout_id) if rollout.role is Role.PROPOSE else (),
        batches=_batches(history, rollout_id),
    )


def _no_such_rollout(history: History, rollout_id: int) -> StoreError:
    bounds = sa.select(
        sa.func.min(RolloutRow.rollout_id), sa.func.max(RolloutRow.rollout_id)
    ).where(RolloutRow.run_id == history.run_id)
    first, last = history.connection.execute(bounds).one()
    hint = "It has none yet." if first is None else f"Its rollouts are {first} to {last}."
    return StoreError(f"the run has no rollout {rollout_id}", hint=hint)


def _admission(history: History, admission_id: int | None) -> AdmissionFacts | None:
    if admission_id is None:
        return None
    shown = (
        sa.select(ProposalReferenceRow.task_id)
        .where(ProposalReferenceRow.admission_id == admission_id)
        .order_by(ProposalReferenceRow.position)
    )
    granted = sa.select(
        AdmissionRow.slot, AdmissionRow.version, AdmissionRow.state, AdmissionRow.created_at
    ).where(AdmissionRow.admission_id == admission_id)
    return AdmissionFacts(
        **history.connection.execute(granted).mappings().one(),
        references=tuple(history.connection.execute(shown).scalars()),
    )


def _sampled(history: History, rollout_id: int) -> SampledText:
    query = sa.select(
        RolloutPayloadRow.codec,
        RolloutPayloadRow.prompt_token_ids,
        RolloutPayloadRow.text,
        RolloutPayloadRow.version_spans,
    ).where(RolloutPayloadRow.rollout_id == rollout_id)
    row = history.connection.execute(query).one()
    return SampledText(
        prompt_token_ids=None if row.codec == PRUNED else decode_ids(row.prompt_token_ids),
        text=row.text,
        version_spans=tuple(VersionSpan(*span) for span in row.version_spans),
    )


def _attempts(history: History, proposal_id: int) -> tuple[AttemptFacts, ...]:
    """By slot; with the admissions of those that are not sampled yet."""
    sampled = aliased(RolloutRow)
    query = (
        sa.select(
            sampled.rollout_id,
            AdmissionRow.purpose,
            sampled.state,
            sampled.judgement,
            sampled.verdict,
            sampled.solved,
            sampled.reward,
            sampled.oldest_version,
        )
        .select_from(AdmissionRow)
        .outerjoin(sampled, sampled.admission_id == AdmissionRow.admission_id)
        .where(_measuring(history, proposal_id))
        .order_by(AdmissionRow.slot)
    )
    return tuple(AttemptFacts(**row) for row in history.connection.execute(query).mappings())


def _measuring(history: History, proposal_id: int) -> sa.ColumnElement[bool]:
    """Sampled attempts are found by an index of rollouts, the others in the queue."""
    sampled = sa.select(RolloutRow.admission_id).where(RolloutRow.measures == proposal_id)
    waiting = sa.and_(
        AdmissionRow.run_id == history.run_id,
        AdmissionRow.state.in_((AdmissionState.OPEN, AdmissionState.LEASED)),
        AdmissionRow.role == Role.SOLVE,
        AdmissionRow.measures == proposal_id,
    )
    return sa.or_(AdmissionRow.admission_id.in_(sampled), waiting)


def _batches(history: History, rollout_id: int) -> tuple[BatchFacts, ...]:
    """Where it was claimed: committed batches through their rows, an open one through its own."""
    columns: tuple[Any, ...] = (
        BatchRow.batch_id,
        BatchRow.version,
        BatchRow.state,
        BatchRow.claimed_at,
        BatchMemberRow.position,
        BatchMemberRow.advantage,
        BatchMemberRow.staleness,
        BatchMemberRow.live,
        LearnerStepRow.version.label("step"),
        LearnerStepRow.state.label("step_state"),
        LearnerStepRow.loss,
    )
    is_this = sa.and_(
        BatchMemberRow.batch_id == BatchRow.batch_id, BatchMemberRow.rollout_id == rollout_id
    )
    held = sa.select(RolloutRow.batch_id).where(RolloutRow.rollout_id == rollout_id)
    query = (
        sa.select(*columns)
        .select_from(BatchRow)
        .outerjoin(BatchMemberRow, is_this)
        .outerjoin(LearnerStepRow, LearnerStepRow.batch_id == BatchRow.batch_id)
        .where(
            BatchRow.run_id == history.run_id,
            sa.or_(
                BatchMemberRow.rollout_id == rollout_id,
                BatchRow.batch_id == held.scalar_subquery(),
            ),
        )
        .order_by(BatchRow.batch_id)
    )
    return tuple(BatchFacts(**row) for row in history.connection.execute(query).mappings())
