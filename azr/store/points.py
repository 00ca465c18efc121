"""What `azr.store.queries` answers with: plain values, one per point of a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from azr.store.states import RolloutState
from azr.types import Cell, PolicyVersion, TaskType


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPoint:
    """One surviving optimizer step."""

    step: int
    committed_at: float
    loss: float | None
    metrics: Mapping[str, float]
    """Without those that were not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStepPoint:
    """The rows of one cell in one surviving step's batch."""

    step: int
    cell: Cell
    num_rollouts: int
    mean_reward: float
    mean_tokens: float
    truncated_share: float
    mean_staleness: float
    max_staleness: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalPoint:
    """The judged proposals of one type whose newest token one version sampled."""

    version: PolicyVersion
    task_type: TaskType
    num_judged: int
    num_valid: int
    num_settled: int
    mean_solve_rate: float | None
    """Over the settled ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvePoint:
    """The judged attempts at one task type whose newest token one version sampled."""

    version: PolicyVersion
    task_type: TaskType
    num_attempts: int
    num_solved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputPoint:
    """What was sampled and what was learned from in one window of wall-clock time."""

    start: float
    """Seconds since the run's first rollout."""
    generated_rollouts: int
    generated_tokens: int
    trained_rollouts: int
    trained_tokens: int


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One number of a metric; None if it was not finite."""

    step: int
    value: float | None
    recorded_at: float


@dataclass(frozen=True, slots=True)
class EventPoint:
    kind: str
    facts: Mapping[str, Any]
    recorded_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSummary:
    """Where everything is at this moment."""

    learner_version: PolicyVersion
    durable_version: PolicyVersion | None
    latest_step: StepPoint | None
    waiting: Mapping[Cell, int] = field(default_factory=dict)
    """Admissions that are not sampled yet, of any purpose."""
    rollouts: Mapping[tuple[Cell, RolloutState], int] = field(default_factory=dict)
    buffer_sizes: Mapping[TaskType, int] = field(default_factory=dict)

    def in_state(self, state: RolloutState) -> int:
        """Rollouts of all cells in a state; over all states, everything generated."""
        return sum(count for (_, at), count in self.rollouts.items() if at is state)
