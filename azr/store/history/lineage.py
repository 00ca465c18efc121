"""From a task, a rollout or a learner step back to what it was made from.

A proposal descends from the references it was shown, an attempt from its task, a
learner step from the rows it trained on. The graph has no cycles: references exist
before what is proposed from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from azr.errors import StoreError
from azr.seeding import IDENTITY_PROGRAM
from azr.store.history import History
from azr.store.models import (
    BatchMemberRow,
    LearnerStepRow,
    ProposalReferenceRow,
    RolloutRow,
    TaskRow,
)
from azr.store.states import LineageState, Origin
from azr.types import PolicyVersion, Role, TaskType

IDS_PER_QUERY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A task of a family tree."""

    task_id: int
    task_type: TaskType
    origin: Origin
    version: PolicyVersion | None
    """Of the policy that proposed it; None for seeds."""
    proposal_id: int | None
    program: str
    parents: tuple[int, ...]
    """The references of its proposal, in order; none for seeds."""

    @property
    def is_identity(self) -> bool:
        """The triplet that everything began from."""
        return self.origin is Origin.SEED and self.program == IDENTITY_PROGRAM


@dataclass(frozen=True, slots=True)
class Descent:
    """Some tasks and all their ancestors."""

    starts: tuple[int, ...]
    tasks: Mapping[int, Ancestor]

    def generations(self) -> dict[int, int]:
        """Fewest steps from a start to each task."""
        found = dict.fromkeys(self.starts, 0)
        waiting = deque(self.starts)
        while waiting:
            task_id = waiting.popleft()
            for parent in self.tasks[task_id].parents:
                if parent not in found:
                    found[parent] = found[task_id] + 1
                    waiting.append(parent)
        return found

    def shortest_path_to_identity(self) -> list[int]:
        """Task ids from a start to the identity triplet; empty if none descends from it."""
        child: dict[int, int | None] = dict.fromkeys(self.starts)
        waiting = deque(self.starts)
        while waiting:
            task_id = waiting.popleft()
            if self.tasks[task_id].is_identity:
                return _back(child, task_id)
            for parent in self.tasks[task_id].parents:
                if parent not in child:
                    child[parent] = task_id
                    waiting.append(parent)
        return []


def of_task(history: History, task_id: int) -> Descent:
    """A task and its ancestors. Raises StoreError if the run has no such task."""
    query = sa.select(TaskRow.task_id).where(
        TaskRow.run_id == history.run_id, TaskRow.task_id == task_id
    )
    if history.connection.execute(query).scalar() is None:
        raise StoreError(f"the run has no task {task_id}", hint="See `azr tasks list`.")
    return _descent(history, [task_id])


def of_rollout(history: History, rollout_id: int) -> Descent:
    """The task that a rollout attempted or made, or the references it was shown.

    Raises StoreError if the run has no such rollout.
    """
    query = sa.select(RolloutRow.rollout_id).where(
        RolloutRow.run_id == history.run_id, RolloutRow.rollout_id == rollout_id
    )
    if history.connection.execute(query).scalar() is None:
        raise StoreError(f"the run has no rollout {rollout_id}")
    return _descent(history, _tasks_of(history, [rollout_id]))


def of_step(history: History, step: PolicyVersion) -> Descent:
    """The tasks behind the rows that a surviving learner step trained on.

    Raises StoreError if there is no such step.
    """
    query = (
        sa.select(BatchMemberRow.rollout_id)
        .join(LearnerStepRow, LearnerStepRow.batch_id == BatchMemberRow.batch_id)
        .where(
            LearnerStepRow.run_id == history.run_id,
            LearnerStepRow.state == LineageState.LIVE,
            LearnerStepRow.version == step,
        )
        .order_by(BatchMemberRow.position)
    )
    trained = list(history.connection.execute(query).scalars())
    if not trained:
        raise StoreError(f"the run has no learner step {step}", hint="See `azr status`.")
    return _descent(history, _tasks_of(history, trained))


def _back(child: Mapping[int, int | None], task_id: int) -> list[int]:
    path = [task_id]
    while (below := child[path[-1]]) is not None:
        path.append(below)
    return path[::-1]


def _tasks_of(history: History, rollout_ids: Sequence[int]) -> list[int]:
    """The tasks that rollouts are about, in their order, each once."""
    found: dict[int, None] = {}
    attempted = sa.select(RolloutRow.rollout_id, RolloutRow.role, RolloutRow.task_id)
    made = sa.select(TaskRow.proposal_id, TaskRow.task_id)
    shown = sa.select(RolloutRow.rollout_id, ProposalReferenceRow.task_id).join(
        ProposalReferenceRow, ProposalReferenceRow.admission_id == RolloutRow.admission_id
    )
    for ids in _chunks(rollout_ids):
        created = history.connection.execute(made.where(TaskRow.proposal_id.in_(ids)))
        became = {proposal_id: task_id for proposal_id, task_id in created}  # noqa: C416
        references: dict[int, list[int]] = {}
        of_these = shown.where(RolloutRow.rollout_id.in_(ids))
        for rollout_id, task_id in history.connection.execute(
            of_these.order_by(ProposalReferenceRow.position)
        ):
            references.setdefault(rollout_id, []).append(task_id)
        about = {
            row.rollout_id: row
            for row in history.connection.execute(attempted.where(RolloutRow.rollout_id.in_(ids)))
        }
        for row in (about[i] for i in ids):
            if row.role is Role.SOLVE:
                found[row.task_id] = None
            elif row.rollout_id in became:
                found[became[row.rollout_id]] = None
            else:
                found.update(dict.fromkeys(references.get(row.rollout_id, ())))
    return list(found)


def _descent(history: History, starts: Sequence[int]) -> Descent:
    """Level by level: one pair of queries for each generation."""
    tasks: dict[int, Ancestor] = {}
    level = list(starts)
    while level:
        loaded = {task.task_id: task for task in _load(history, level)}
        tasks |= loaded
        above = {parent for task in loaded.values() for parent in task.parents}
        level = sorted(above - tasks.keys())
    return Descent(tuple(starts), tasks)


def _load(history: History, task_ids: Sequence[int]) -> Iterable[Ancestor]:
    query = sa.select(
        TaskRow.task_id,
        TaskRow.task_type,
        TaskRow.origin,
        RolloutRow.oldest_version.label("version"),
        TaskRow.proposal_id,
        TaskRow.program,
    ).outerjoin(RolloutRow, RolloutRow.rollout_id == TaskRow.proposal_id)
    shown = (
        sa.select(TaskRow.task_id, ProposalReferenceRow.task_id.label("parent_id"))
        .join(RolloutRow, RolloutRow.rollout_id == TaskRow.proposal_id)
        .join(ProposalReferenceRow, ProposalReferenceRow.admission_id == RolloutRow.admission_id)
        .order_by(ProposalReferenceRow.position)
    )
    for ids in _chunks(task_ids):
        parents: dict[int, list[int]] = {}
        for task_id, parent in history.connection.execute(shown.where(TaskRow.task_id.in_(ids))):
            parents.setdefault(task_id, []).append(parent)
        for row in history.connection.execute(query.where(TaskRow.task_id.in_(ids))).mappings():
            yield Ancestor(**row, parents=tuple(parents.get(row["task_id"], ())))


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[at : at + IDS_PER_QUERY] for at in range(0, len(ids), IDS_PER_QUERY))
