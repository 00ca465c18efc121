"""Looks at a run that cost the same however long it is: for whoever looks every two seconds.

Nothing here reads a rollout, step or event that an earlier look, or the end of its life, has
settled. As in `azr.store.queries`, everything is about the run of the `History`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from azr.store.history import History
from azr.store.models import (
    EventRow,
    LearnerStepRow,
    MetricRow,
    PolicyVersionRow,
    RolloutRow,
    RunRow,
    TaskRow,
)
from azr.store.points import EventPoint, MetricPoint, StepPoint
from azr.store.states import LineageState, RolloutState
from azr.task_types import types_shown
from azr.types import DropReason, TaskType

COMMIT_SECONDS = 60.0
"""Ids are given before their transactions end. What is older than the newest row by this is
complete: no lower id appears any more."""
_OPEN = (
    RolloutState.GENERATED,
    RolloutState.JUDGED,
    RolloutState.READY,
    RolloutState.CLAIMED,
)


def newest_step_id(history: History) -> int | None:
    """The surviving step that was committed last."""
    query = (
        sa.select(LearnerStepRow.step_id)
        .where(LearnerStepRow.run_id == history.run_id, LearnerStepRow.state == LineageState.LIVE)
        .order_by(LearnerStepRow.step_id.desc())
        .limit(1)
    )
    return history.connection.execute(query).scalar()


def newest_steps(history: History, count: int) -> list[StepPoint]:
    """The last so many surviving steps, oldest first."""
    query = (
        sa.select(
            LearnerStepRow.version,
            LearnerStepRow.committed_at,
            LearnerStepRow.loss,
            LearnerStepRow.metrics,
        )
        .where(LearnerStepRow.run_id == history.run_id, LearnerStepRow.state == LineageState.LIVE)
        .order_by(LearnerStepRow.step_id.desc())
        .limit(count)
    )
    return [
        StepPoint(
            step=version,
            committed_at=committed_at,
            loss=loss,
            metrics={name: value for name, value in metrics.items() if value is not None},
        )
        for version, committed_at, loss, metrics in reversed(
            history.connection.execute(query).all()
        )
    ]


def durable_version(history: History) -> int:
    """The newest surviving version that has a checkpoint; 0 for none."""
    query = sa.select(sa.func.max(PolicyVersionRow.version)).where(
        PolicyVersionRow.run_id == history.run_id,
        PolicyVersionRow.durable,
        PolicyVersionRow.state == LineageState.LIVE,
    )
    return history.connection.execute(query).scalar() or 0


def buffer_sizes(history: History) -> dict[TaskType, int]:
    """Tasks per type, seeds included: the tasks of a buffer are numbered without gaps."""
    newest = sa.select(sa.func.max(TaskRow.ordinal)).where(
        TaskRow.run_id == history.run_id, TaskRow.task_type == sa.bindparam("type")
    )
    found: dict[TaskType, int] = {}
    for task_type in TaskType:
        last = history.connection.execute(newest, {"type": task_type}).scalar()
        if last is not None:
            found[task_type] = last + 1
    return {task_type: found.get(task_type, 0) for task_type in types_shown(found)}


def newest_rollout_at(history: History) -> float | None:
    """When the last rollout was sampled."""
    newest = sa.select(sa.func.max(RolloutRow.generated_at))
    return history.connection.execute(newest.where(RolloutRow.run_id == history.run_id)).scalar()


def sampled_tokens(history: History, *, since: float, until: float) -> dict[str, int]:
    """Response tokens by the node that sampled them, empty for unknown, in [since, until)."""
    query = (
        sa.select(RolloutRow.sampled_by, sa.func.sum(RolloutRow.num_tokens))
        .where(
            RolloutRow.run_id == history.run_id,
            RolloutRow.generated_at >= since,
            RolloutRow.generated_at < until,
        )
        .group_by(RolloutRow.sampled_by)
    )
    return {owner or "": int(tokens) for owner, tokens in history.connection.execute(query)}


def newest_metrics(
    history: History, names: Sequence[str], *, count: int | None
) -> dict[str, list[MetricPoint]]:
    """The last so many numbers of each metric, or all, undone steps included, oldest first."""
    found: dict[str, list[MetricPoint]] = {}
    for name in names:
        query = (
            sa.select(MetricRow.step, MetricRow.value, MetricRow.created_at)
            .where(MetricRow.run_id == history.run_id, MetricRow.name == name)
            .order_by(MetricRow.step.desc(), MetricRow.metric_id.desc())
            .limit(count)
        )
        rows = history.connection.execute(query).all()
        found[name] = sorted((MetricPoint(*row) for row in rows), key=lambda at: at.recorded_at)
    return found


@dataclass(eq=False)
class DropCounts:
    """Dropped rollouts by reason: rows whose fate is sealed are counted once.

    A return to a checkpoint opens trained rows again, so each lineage counts anew.
    """

    _lineage: int = -1
    _settled: int = 0
    """Every rollout up to this id has its fate."""
    _counts: dict[DropReason, int] = field(default_factory=dict)
    """Of these."""

    def read(self, history: History) -> dict[DropReason, int]:
        """As of now."""
        lineage = _lineage(history)
        if lineage != self._lineage:
            self._lineage, self._settled, self._counts = lineage, 0, {}
        settled = max(self._settled, _first_unsettled(history) - 1)
        _add(self._counts, _drops(history, above=self._settled, up_to=settled))
        self._settled = settled
        now = dict(self._counts)
        _add(now, _drops(history, above=settled, up_to=None))
        return now


@dataclass(eq=False)
class EventTail:
    """Events that were not given out before, each once, oldest first."""

    _floor: int = 0
    """Every event up to this id was given out."""
    _given: set[int] = field(default_factory=set)
    """Beyond that."""

    def read(self, history: History) -> list[EventPoint]:
        """What has come since the last call, though it may be older than what was given."""
        query = (
            sa.select(EventRow.event_id, EventRow.kind, EventRow.facts, EventRow.created_at)
            .where(_unindexed(EventRow.run_id, history), EventRow.event_id > self._floor)
            .order_by(EventRow.event_id)
        )
        rows = history.connection.execute(query).all()
        new = [EventPoint(*row[1:]) for row in rows if row.event_id not in self._given]
        self._given |= {row.event_id for row in rows}
        newest = max((row.created_at for row in rows), default=0.0)
        complete = [row.event_id for row in rows if row.created_at < newest - COMMIT_SECONDS]
        if complete:
            self._floor = complete[-1]
            self._given = {event_id for event_id in self._given if event_id > self._floor}
        return new


def _lineage(history: History) -> int:
    query = sa.select(RunRow.lineage).where(RunRow.run_id == history.run_id)
    return history.connection.execute(query).scalar() or 0


def _first_unsettled(history: History) -> int:
    """The lowest id of a rollout that is still on its way, or may have older ones beside it
    that are not committed yet."""
    of_run = sa.select(sa.func.min(RolloutRow.rollout_id)).where(
        RolloutRow.run_id == history.run_id
    )
    newest = newest_rollout_at(history)
    if newest is None:
        return 0
    young = of_run.where(RolloutRow.generated_at > newest - COMMIT_SECONDS)
    found = [
        history.connection.execute(query).scalar()
        for query in (of_run.where(RolloutRow.state.in_(_OPEN)), young)
    ]
    return min(rollout_id for rollout_id in found if rollout_id is not None)


def _drops(history: History, *, above: int, up_to: int | None) -> dict[DropReason, int]:
    """Dropped rollouts with ids in (above, up_to]."""
    query = (
        sa.select(RolloutRow.drop_reason, sa.func.count())
        .where(
            _unindexed(RolloutRow.run_id, history),
            RolloutRow.rollout_id > above,
            RolloutRow.state == RolloutState.DROPPED,
        )
        .group_by(RolloutRow.drop_reason)
    )
    if up_to is not None:
        query = query.where(RolloutRow.rollout_id <= up_to)
    return {DropReason(reason): count for reason, count in history.connection.execute(query)}


def _unindexed(column: InstrumentedAttribute[int], history: History) -> sa.ColumnElement[bool]:
    """`column` is the run's, said so that no index on it is used: SQLite, which keeps no
    statistics here, would prefer one to the few newest ids."""
    return column + 0 == history.run_id


def _add(counts: dict[DropReason, int], more: dict[DropReason, int]) -> None:
    for reason, count in more.items():
        counts[reason] = counts.get(reason, 0) + count
