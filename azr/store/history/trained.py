"""What each learner step trained on, whole: texts, tasks and references.

A step's batch never changes once it is committed, and holds the same number of rows of
every cell, so reading a run step by step costs the same at its end as at its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from azr.store.history import History
from azr.store.models import (
    BatchMemberRow,
    LearnerStepRow,
    MetricRow,
    ProposalReferenceRow,
    RolloutPayloadRow,
    RolloutRow,
    TaskRow,
)
from azr.store.states import LineageState, RolloutState
from azr.store.tasks import load
from azr.types import Cell, FinishReason, Judgement, PolicyVersion, Role, Task, TaskType


@dataclass(frozen=True, slots=True)
class TrainedStep:
    """A surviving learner step and the batch that it trained on."""

    step: PolicyVersion
    """The policy version that it made."""
    batch_id: int
    entropy: float | None
    """Of the policy's next-token distribution, in nats, as the learner reported it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRow:
    """One rollout of a batch."""

    rollout_id: int
    cell: Cell
    judgement: Judgement
    verdict: str
    reward: float
    solve_rate: float | None
    """Propose, valid: how often the task was solved, 0 to 1."""
    num_tokens: int
    finish_reason: FinishReason
    text: str
    """The response."""
    task: Task | None
    """The task that a valid proposal made, or that an attempt was at."""
    references: tuple[Task, ...] = ()
    """Propose: the tasks shown, in order."""


def trained_steps(
    history: History, *, after: PolicyVersion = 0, at_most: int | None = None
) -> list[TrainedStep]:
    """Surviving steps beyond `after`, oldest first."""
    query = (
        sa.select(LearnerStepRow.version, LearnerStepRow.batch_id, LearnerStepRow.metrics)
        .where(
            LearnerStepRow.run_id == history.run_id,
            LearnerStepRow.state == LineageState.LIVE,
            LearnerStepRow.version > after,
        )
        .order_by(LearnerStepRow.version)
        .limit(at_most)
    )
    return [
        TrainedStep(version, batch_id, metrics.get("entropy"))
        for version, batch_id, metrics in history.connection.execute(query)
    ]


def trained_rows(history: History, batch_id: int) -> list[TrainedRow]:
    """The rollouts of a trained batch, in its order."""
    made = aliased(TaskRow)
    query = (
        sa.select(
            RolloutRow.rollout_id, RolloutRow.admission_id, RolloutRow.role, RolloutRow.task_type,
            RolloutRow.judgement, RolloutRow.verdict, RolloutRow.reward, RolloutRow.solve_rate,
            RolloutRow.num_tokens, RolloutRow.finish_reason, RolloutPayloadRow.text,
            sa.func.coalesce(RolloutRow.task_id, made.task_id).label("task_id"),
        )
        .join(BatchMemberRow, BatchMemberRow.rollout_id == RolloutRow.rollout_id)
        .join(RolloutPayloadRow, RolloutPayloadRow.rollout_id == RolloutRow.rollout_id)
        .outerjoin(made, made.proposal_id == RolloutRow.rollout_id)
        .where(BatchMemberRow.batch_id == batch_id, BatchMemberRow.live)
        .order_by(BatchMemberRow.position)
    )  # fmt: skip
    found = history.connection.execute(query).all()
    proposed = [row.admission_id for row in found if row.role is Role.PROPOSE]
    shown = shown_tasks(history, proposed)
    wanted = {row.task_id for row in found if row.task_id is not None}
    wanted.update(task_id for ids in shown.values() for task_id in ids)
    tasks = load(history.connection, wanted)
    return [
        TrainedRow(
            rollout_id=row.rollout_id,
            cell=Cell(row.role, row.task_type),
            judgement=row.judgement,
            verdict=row.verdict or "",
            reward=row.reward,
            solve_rate=row.solve_rate,
            num_tokens=row.num_tokens,
            finish_reason=row.finish_reason,
            text=row.text,
            task=tasks.get(row.task_id),
            references=tuple(tasks[task_id] for task_id in shown.get(row.admission_id, ())),
        )
        for row in found
    ]


def programs_before(history: History, batch_id: int, *, at_most: int) -> list[str]:
    """Programs of deduction and abduction tasks that are seeds or were trained on earlier.

    The newest `at_most` of them, so that a long history can be taken up again.
    """
    trained_earlier = sa.and_(
        RolloutRow.state == RolloutState.TRAINED, RolloutRow.batch_id < batch_id
    )
    query = (
        sa.select(TaskRow.program)
        .outerjoin(RolloutRow, RolloutRow.rollout_id == TaskRow.proposal_id)
        .where(
            TaskRow.run_id == history.run_id,
            TaskRow.task_type != TaskType.INDUCTION,
            sa.or_(TaskRow.proposal_id.is_(None), trained_earlier),
        )
        .order_by(TaskRow.task_id.desc())
        .limit(at_most)
    )
    return list(history.connection.execute(query).scalars())


def recorded_metrics(history: History, prefix: str) -> dict[PolicyVersion, dict[str, float]]:
    """By step, the surviving metrics whose names begin so; the last value of each counts."""
    query = (
        sa.select(MetricRow.step, MetricRow.name, MetricRow.value)
        .where(
            MetricRow.run_id == history.run_id,
            MetricRow.name.startswith(prefix, autoescape=True),
            MetricRow.live,
        )
        .order_by(MetricRow.metric_id)
    )
    found: dict[PolicyVersion, dict[str, float]] = {}
    for step, name, value in history.connection.execute(query):
        if value is not None:
            found.setdefault(step, {})[name] = value
    return found


def shown_tasks(history: History, admissions: Sequence[int]) -> Mapping[int, list[int]]:
    """Ids of the tasks that each proposal admission was shown, in order."""
    query = (
        sa.select(ProposalReferenceRow.admission_id, ProposalReferenceRow.task_id)
        .where(ProposalReferenceRow.admission_id.in_(admissions))
        .order_by(ProposalReferenceRow.admission_id, ProposalReferenceRow.position)
    )
    found: dict[int, list[int]] = {}
    for admission_id, task_id in history.connection.execute(query):
        found.setdefault(admission_id, []).append(task_id)
    return found
