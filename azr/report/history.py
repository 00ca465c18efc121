"""What a report is drawn from: a run's history as plain values.

`azr.report.load` reads them from the store; figures and pages only see these.
Steps count optimizer steps: step k made policy version k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azr.types import Cell, DropReason, PolicyVersion, TaskType


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStep:
    """The rows of one cell in one trained batch."""

    step: int
    cell: Cell
    num_rows: int
    mean_reward: float
    mean_response_tokens: float
    truncated_share: float
    """Responses cut at `prompts.max_response_tokens`, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalStep:
    """The judged proposals of one type that one policy version finished."""

    version: PolicyVersion
    task_type: TaskType
    num_judged: int
    num_valid: int
    num_settled: int
    """Valid ones whose solve rate is known."""
    mean_solve_rate: float | None
    """Over the settled ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Tokens per second over one window of wall-clock time."""

    start_seconds: float
    """Since the run's first rollout."""
    generated: float
    """Response tokens sampled."""
    trained: float
    """Response tokens that an optimizer step used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerStep:
    """One committed optimizer step."""

    step: int
    committed_seconds: float
    """Since the run's first rollout."""
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run so far. Rolled-back steps are left out."""

    model: str
    total_steps: int
    max_staleness: int
    """The bound, `learner.max_staleness`."""
    attempts: int
    """G, attempts that measure a solve rate."""
    steps: tuple[LearnerStep, ...]
    cells: tuple[CellStep, ...]
    proposals: tuple[ProposalStep, ...]
    staleness: Mapping[int, int]
    """Rows trained on, by staleness at the claim."""
    throughput: tuple[Throughput, ...]
    drops: Mapping[tuple[DropReason, Cell], int]
    states: Mapping[str, int]
    """Rollouts by state; together they are all that was generated."""
    buffer_sizes: Mapping[TaskType, int]

    @property
    def num_generated(self) -> int:
        return sum(self.states.values())
