"""How many solver attempts a judged proposal brings: credits, so that cells stay level.

A batch holds B rows of each cell, so every judged proposal, valid or not, is a
credit for one training row of its type's solve cell. A valid task spends the
credits at hand, up to its attempts; credits that no task could spend (all of a
batch's proposals invalid, say) are spent on older tasks as soon as a batch's worth
of proposals is judged. Training rows thus never outrun the batches that consume
them, and none is dropped for being surplus (spec: replay when fresh tasks are short).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from azr.config import RunConfig
from azr.types import CELLS, Cell, TaskType


def played_types(config: RunConfig) -> tuple[TaskType, ...]:
    """The task types of a run, in the order of the cells."""
    return tuple(kind for kind in TaskType if kind in config.selfplay.task_types)


def batch_rows(config: RunConfig) -> dict[Cell, int]:
    """Rows of each cell in one batch, cells in the order in which it lists them."""
    size = config.learner.batch_rollouts
    return {cell: size for cell in CELLS if cell.task_type in config.selfplay.task_types}


@dataclass(frozen=True, slots=True)
class AttemptPlan:
    """Solver admissions that follow one judgement, within one task type."""

    train: int
    """Attempts at the new task that are trained on; they also measure if `reuse` is "all"."""
    measure: int
    """Attempts at the new task that only measure its solve rate."""
    replay: int
    """Training attempts at older tasks."""


def plan_attempts(
    *,
    valid: bool,
    judged: int,
    on_order: int,
    attempts: int,
    batch_rollouts: int,
    reuse: Literal["all", "one"],
) -> AttemptPlan:
    """Plan the solver attempts that a proposal's judgement calls for.

    Args:
        valid: whether the proposal became a task.
        judged: unclaimed proposals of the type that are judged, this one included.
        on_order: unclaimed training rows of the type's solve cell, sampled or not.
        attempts: G, attempts that measure one task.
        batch_rollouts: B.
        reuse: "all" trains on measuring attempts, "one" on one more attempt a task.
    """
    credit = max(0, judged - on_order)
    train = measure = 0
    if valid and reuse == "all":
        train = min(attempts, credit)
        measure = attempts - train
    elif valid:
        train = min(1, credit)
        measure = attempts
    due = judged // batch_rollouts * batch_rollouts
    replay = max(0, due - on_order - train)
    return AttemptPlan(train=train, measure=measure, replay=replay)
