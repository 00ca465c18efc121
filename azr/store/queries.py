"""Read-only questions about a run, for the report, the live view and the CLI.

Synchronous, on a connection that cannot write, beside a run in progress or after it:

    with open_history(path) as history:
        for point in cell_steps(history): ...

Step k is the optimizer step that made policy version k; rolled-back steps are left
out. Each question is about the run of the `History`. Times are seconds since the
epoch, tokens are response tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from azr.config import RunConfig
from azr.errors import StoreError
from azr.membership import ReplicaProof
from azr.store.history import History
from azr.store.models import (
    AdmissionRow,
    BatchMemberRow,
    BatchRow,
    EventRow,
    LearnerStepRow,
    MetricRow,
    PolicyVersionRow,
    ReplicaProofRow,
    RolloutRow,
    RunRow,
    TaskRow,
)
from azr.store.points import (
    CellStepPoint,
    EventPoint,
    MetricPoint,
    PipelineSummary,
    ProposalPoint,
    SolvePoint,
    StepPoint,
    ThroughputPoint,
)
from azr.store.states import AdmissionState, LineageState, RolloutState
from azr.task_types import types_shown
from azr.types import (
    Cell,
    DropReason,
    FinishReason,
    Judgement,
    Purpose,
    Role,
    TaskType,
)


def run_config(history: History) -> RunConfig:
    """The run's configuration, as last opened."""
    return RunConfig.model_validate(_of_the_run(history, RunRow.config))


def _of_the_run[T](history: History, column: InstrumentedAttribute[T]) -> T:
    """A column of the run. Raises StoreError before the store has begun one."""
    row = history.connection.execute(
        sa.select(column).where(RunRow.run_id == history.run_id)
    ).one_or_none()
    if row is None:
        raise StoreError("the database holds no run yet", hint="Wait until its node is up.")
    return row[0]


def first_rollout_at(history: History) -> float | None:
    """When the first rollout, seeding included, was sampled."""
    first = sa.select(sa.func.min(RolloutRow.generated_at))
    return history.connection.execute(first.where(RolloutRow.run_id == history.run_id)).scalar()


def steps(history: History) -> list[StepPoint]:
    """Every surviving step, oldest first."""
    query = _live_steps(history).order_by(LearnerStepRow.version)
    return [_step(*row) for row in history.connection.execute(query)]


def cell_steps(history: History, *, step_id: int | None = None) -> list[CellStepPoint]:
    """Reward, length and staleness of what each step trained on, or one of them, per cell."""
    truncated = sa.case((RolloutRow.finish_reason == FinishReason.LENGTH, 1.0), else_=0.0)
    query = (
        sa.select(
            LearnerStepRow.version,
            RolloutRow.role,
            RolloutRow.task_type,
            sa.func.count(),
            sa.func.avg(RolloutRow.reward),
            sa.func.avg(RolloutRow.num_tokens),
            sa.func.avg(truncated),
            sa.func.avg(BatchMemberRow.staleness),
            sa.func.max(BatchMemberRow.staleness),
        )
        .join(BatchMemberRow, BatchMemberRow.batch_id == LearnerStepRow.batch_id)
        .join(RolloutRow, RolloutRow.rollout_id == BatchMemberRow.rollout_id)
        .where(
            LearnerStepRow.run_id == history.run_id,
            LearnerStepRow.state == LineageState.LIVE,
            BatchMemberRow.live,
        )
        .group_by(LearnerStepRow.version, RolloutRow.role, RolloutRow.task_type)
        .order_by(LearnerStepRow.version, RolloutRow.role, RolloutRow.task_type)
    )
    if step_id is not None:
        query = query.where(LearnerStepRow.step_id == step_id)
    return [
        CellStepPoint(
            step=version,
            cell=Cell(role, task_type),
            num_rollouts=count,
            mean_reward=reward,
            mean_tokens=float(tokens),
            truncated_share=cut,
            mean_staleness=float(staleness),
            max_staleness=stalest,
        )
        for (
            version, role, task_type, count, reward, tokens, cut, staleness, stalest
        ) in history.connection.execute(query)
    ]  # fmt: skip


def proposals(history: History, *, since: float | None = None) -> list[ProposalPoint]:
    """How many proposals were valid and how often their tasks are solved; no seeding.

    With `since`, of those that were sampled from that time on.
    """
    valid = sa.case((RolloutRow.judgement == Judgement.VALID, 1), else_=0)
    query = (
        sa.select(
            RolloutRow.newest_version,
            RolloutRow.task_type,
            sa.func.count(),
            sa.func.sum(valid),
            sa.func.count(RolloutRow.solve_rate),
            sa.func.avg(RolloutRow.solve_rate),
        )
        .where(*_judged(history, Role.PROPOSE))
        .group_by(RolloutRow.newest_version, RolloutRow.task_type)
        .order_by(RolloutRow.newest_version, RolloutRow.task_type)
    )
    if since is not None:
        query = query.where(RolloutRow.generated_at >= since)
    rows = history.connection.execute(query)
    return [
        ProposalPoint(
            version=version,
            task_type=task_type,
            num_judged=judged,
            num_valid=num_valid,
            num_settled=settled,
            mean_solve_rate=solve_rate,
        )
        for version, task_type, judged, num_valid, settled, solve_rate in rows
    ]


def solves(history: History) -> list[SolvePoint]:
    """How often attempts solve, whether they are trained on or only measure."""
    solved = sa.case((RolloutRow.solved.is_(True), 1), else_=0)
    query = (
        sa.select(
            RolloutRow.newest_version,
            RolloutRow.task_type,
            sa.func.count(),
            sa.func.sum(solved),
        )
        .where(*_judged(history, Role.SOLVE))
        .group_by(RolloutRow.newest_version, RolloutRow.task_type)
        .order_by(RolloutRow.newest_version, RolloutRow.task_type)
    )
    return [
        SolvePoint(
            version=version, task_type=task_type, num_attempts=attempts, num_solved=num_solved
        )
        for version, task_type, attempts, num_solved in history.connection.execute(query)
    ]


def staleness_counts(history: History) -> dict[int, int]:
    """Rows that the surviving weights learned from, by staleness at the claim."""
    query = (
        sa.select(BatchMemberRow.staleness, sa.func.count())
        .join(BatchRow, BatchRow.batch_id == BatchMemberRow.batch_id)
        .where(BatchRow.run_id == history.run_id, BatchMemberRow.live)
        .group_by(BatchMemberRow.staleness)
        .order_by(BatchMemberRow.staleness)
    )
    return {staleness: count for staleness, count in history.connection.execute(query)}  # noqa: C416


def drops(history: History) -> dict[tuple[DropReason, Cell], int]:
    """Dropped rollouts by reason and cell."""
    query = (
        sa.select(RolloutRow.drop_reason, RolloutRow.role, RolloutRow.task_type, sa.func.count())
        .where(RolloutRow.run_id == history.run_id, RolloutRow.state == RolloutState.DROPPED)
        .group_by(RolloutRow.drop_reason, RolloutRow.role, RolloutRow.task_type)
    )
    return {
        (DropReason(reason), Cell(role, task_type)): count
        for reason, role, task_type, count in history.connection.execute(query)
    }


def state_counts(history: History) -> dict[RolloutState, int]:
    """Rollouts by state; together they are all that was ever generated."""
    query = (
        sa.select(RolloutRow.state, sa.func.count())
        .where(RolloutRow.run_id == history.run_id)
        .group_by(RolloutRow.state)
    )
    counts = {state: count for state, count in history.connection.execute(query)}  # noqa: C416
    return {state: counts.get(state, 0) for state in RolloutState}


def buffer_sizes(history: History) -> dict[TaskType, int]:
    """Tasks per type, seeds included."""
    query = (
        sa.select(TaskRow.task_type, sa.func.count())
        .where(TaskRow.run_id == history.run_id)
        .group_by(TaskRow.task_type)
    )
    counts = {task_type: count for task_type, count in history.connection.execute(query)}  # noqa: C416
    return {task_type: counts.get(task_type, 0) for task_type in types_shown(counts)}


def task_programs(history: History) -> list[tuple[TaskType, str]]:
    """Type and program of every task, seeds included, oldest first."""
    query = (
        sa.select(TaskRow.task_type, TaskRow.program)
        .where(TaskRow.run_id == history.run_id)
        .order_by(TaskRow.task_id)
    )
    return [(task_type, program) for task_type, program in history.connection.execute(query)]


def throughput(history: History, *, window_seconds: float) -> list[ThroughputPoint]:
    """Rollouts and tokens per window, from the first rollout on, without gaps."""
    start = first_rollout_at(history)
    if start is None:
        return []
    generated = _per_window(history, RolloutRow.generated_at, start, window_seconds)
    trained = _per_window(history, RolloutRow.trained_at, start, window_seconds)
    nothing = (0, 0)
    return [
        ThroughputPoint(
            start=index * window_seconds,
            generated_rollouts=generated.get(index, nothing)[0],
            generated_tokens=generated.get(index, nothing)[1],
            trained_rollouts=trained.get(index, nothing)[0],
            trained_tokens=trained.get(index, nothing)[1],
        )
        for index in range(max(generated.keys() | trained.keys()) + 1)
    ]


def metric_names(history: History) -> list[str]:
    query = (
        sa.select(MetricRow.name)
        .where(MetricRow.run_id == history.run_id, MetricRow.live)
        .distinct()
        .order_by(MetricRow.name)
    )
    return list(history.connection.execute(query).scalars())


def metric_series(history: History, name: str) -> list[MetricPoint]:
    """One metric, in the order of recording."""
    query = (
        sa.select(MetricRow.step, MetricRow.value, MetricRow.created_at)
        .where(MetricRow.run_id == history.run_id, MetricRow.name == name, MetricRow.live)
        .order_by(MetricRow.metric_id)
    )
    return [MetricPoint(*row) for row in history.connection.execute(query)]


def events(history: History, *, kind: str | None = None) -> list[EventPoint]:
    """Events, of one kind or all, oldest first."""
    query = sa.select(EventRow.kind, EventRow.facts, EventRow.created_at).where(
        EventRow.run_id == history.run_id
    )
    if kind is not None:
        query = query.where(EventRow.kind == kind)
    return [
        EventPoint(*row) for row in history.connection.execute(query.order_by(EventRow.event_id))
    ]


def proofs(history: History) -> list[ReplicaProof]:
    """What every replica showed after every update, oldest first."""
    query = (
        sa.select(ReplicaProofRow.__table__)
        .where(ReplicaProofRow.run_id == history.run_id)
        .order_by(ReplicaProofRow.proof_id)
    )
    return [
        ReplicaProof(
            replica=row.replica,
            version=row.version,
            fingerprint=row.fingerprint,
            canary_nats=float("nan") if row.canary_nats is None else row.canary_nats,
            accepted=row.accepted,
            node_id=row.node_id,
            lineage=row.lineage,
        )
        for row in history.connection.execute(query)
    ]


def pipeline_summary(history: History) -> PipelineSummary:
    """Counts of everything, and the latest step: one look at a run."""
    durable = sa.select(sa.func.max(PolicyVersionRow.version)).where(
        PolicyVersionRow.run_id == history.run_id,
        PolicyVersionRow.durable,
        PolicyVersionRow.state == LineageState.LIVE,
    )
    waiting = (
        sa.select(AdmissionRow.role, AdmissionRow.task_type, sa.func.count())
        .where(AdmissionRow.run_id == history.run_id, AdmissionRow.state != AdmissionState.DONE)
        .group_by(AdmissionRow.role, AdmissionRow.task_type)
    )
    states = (
        sa.select(RolloutRow.role, RolloutRow.task_type, RolloutRow.state, sa.func.count())
        .where(RolloutRow.run_id == history.run_id)
        .group_by(RolloutRow.role, RolloutRow.task_type, RolloutRow.state)
    )
    newest = _live_steps(history).order_by(LearnerStepRow.version.desc()).limit(1)
    latest = history.connection.execute(newest).one_or_none()
    return PipelineSummary(
        learner_version=_of_the_run(history, RunRow.learner_version),
        durable_version=history.connection.execute(durable).scalar(),
        latest_step=None if latest is None else _step(*latest),
        waiting={
            Cell(role, task_type): count
            for role, task_type, count in history.connection.execute(waiting)
        },
        rollouts={
            (Cell(role, task_type), state): count
            for role, task_type, state, count in history.connection.execute(states)
        },
        buffer_sizes=buffer_sizes(history),
    )


def _live_steps(history: History) -> sa.Select[int, float, float | None, dict[str, Any]]:
    return sa.select(
        LearnerStepRow.version,
        LearnerStepRow.committed_at,
        LearnerStepRow.loss,
        LearnerStepRow.metrics,
    ).where(LearnerStepRow.run_id == history.run_id, LearnerStepRow.state == LineageState.LIVE)


def _step(
    version: int, committed_at: float, loss: float | None, metrics: Mapping[str, Any]
) -> StepPoint:
    finite = {name: value for name, value in metrics.items() if value is not None}
    return StepPoint(step=version, committed_at=committed_at, loss=loss, metrics=finite)


def _judged(history: History, role: Role) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        RolloutRow.run_id == history.run_id,
        RolloutRow.role == role,
        RolloutRow.purpose != Purpose.SEED,
        RolloutRow.judgement.is_not(None),
    )


def _per_window(
    history: History, column: InstrumentedAttribute[Any], start: float, window_seconds: float
) -> dict[int, tuple[int, int]]:
    """(rollouts, tokens) by window index."""
    since = (column - start) / window_seconds
    window: sa.ColumnElement[int] = sa.cast(sa.func.floor(since), sa.Integer)
    query = (
        sa.select(window, sa.func.count(), sa.func.sum(RolloutRow.num_tokens))
        .where(RolloutRow.run_id == history.run_id, column.is_not(None))
        .group_by(window)
    )
    return {row[0]: (row[1], row[2]) for row in history.connection.execute(query)}
