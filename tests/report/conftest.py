"""Histories to draw: a run that learned, and one that has only begun."""

from __future__ import annotations

import math
import random

import pytest

from azr.progress import BUSY_SECONDS_METRIC
from azr.report.history import History
from azr.store.points import CellStepPoint, ProposalPoint, StepPoint, ThroughputPoint
from azr.task_types import MAIN_CELLS, MAIN_TYPES
from azr.types import Cell, DropReason, Role, TaskType


@pytest.fixture
def learned() -> History:
    """Rewards rise from about -0.4 to 0.3; the engine is busy 95 % of the time."""
    num_steps = 30
    rng = random.Random(1)  # noqa: S311 -- noise for a picture

    def rise(step: int, low: float, high: float) -> float:
        return low + (high - low) * (1 - math.exp(-step / 10)) + rng.gauss(0, 0.08)

    return History(
        model="tiny",
        total_steps=num_steps,
        max_staleness=4,
        started_at=1000.0,
        steps=tuple(
            StepPoint(
                step=step,
                committed_at=1020 + 8.0 * step,
                loss=0.1,
                metrics={BUSY_SECONDS_METRIC: 15 + 7.6 * step},
            )
            for step in range(1, num_steps + 1)
        ),
        cells=tuple(
            CellStepPoint(
                step=step,
                cell=cell,
                num_rollouts=16,
                mean_reward=rise(step, -0.4, 0.3),
                mean_tokens=rise(step, 60, 110 if cell.role is Role.SOLVE else 70),
                truncated_share=0.02,
                mean_staleness=1.5,
                max_staleness=3,
            )
            for step in range(1, num_steps + 1)
            for cell in MAIN_CELLS
        ),
        proposals=tuple(
            ProposalPoint(
                version=version,
                task_type=task_type,
                num_judged=20,
                num_valid=round(20 * min(1, max(0, rise(version, 0.5, 0.8)))),
                num_settled=8,
                mean_solve_rate=min(1, max(0, rise(version, 0.3, 0.6))),
            )
            for version in range(num_steps)
            for task_type in MAIN_TYPES
        ),
        staleness={0: 200, 1: 900, 2: 1300, 3: 400, 4: 80},
        window_seconds=10.0,
        throughput=tuple(
            ThroughputPoint(
                start=10.0 * window,
                generated_rollouts=100,
                generated_tokens=round(9000 + rng.gauss(0, 600)),
                trained_rollouts=80,
                trained_tokens=0 if window < 3 else round(7500 + rng.gauss(0, 1200)),
            )
            for window in range(26)
        ),
        drops={
            (DropReason.SEEDING, Cell(Role.PROPOSE, TaskType.DEDUCTION)): 120,
            (DropReason.MEASURED_ONLY, Cell(Role.SOLVE, TaskType.ABDUCTION)): 340,
            (DropReason.STALE, Cell(Role.SOLVE, TaskType.INDUCTION)): 3,
            (DropReason.STALE, Cell(Role.PROPOSE, TaskType.INDUCTION)): 9,
        },
        states={"trained": 2880, "ready": 140, "dropped": 472, "generated": 11},
        buffer_sizes=dict.fromkeys(MAIN_TYPES, 210),
    )


@pytest.fixture
def begun() -> History:
    """Seeding: nothing trained yet."""
    return History(
        model="tiny",
        total_steps=30,
        max_staleness=4,
        started_at=1000.0,
        steps=(),
        cells=(),
        proposals=(),
        staleness={},
        window_seconds=10.0,
        throughput=(),
        drops={},
        states={},
        buffer_sizes={},
    )
