"""What a report is drawn from: a run's history as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from azr.benchmarks.metrics import PREFIX as BENCHMARK_PREFIX
from azr.benchmarks.metrics import BenchmarkPoint
from azr.benchmarks.metrics import from_metrics as from_benchmark_metrics
from azr.diagnosis.measures import StepMeasures
from azr.diagnosis.series import read_series
from azr.evals.metrics import PREFIX, HeldOutPoint, from_metrics
from azr.report.standing import EngineFigures, read_engines
from azr.store import queries
from azr.store.history import open_history
from azr.store.locate import Located
from azr.store.points import CellStepPoint, ProposalPoint, StepPoint, ThroughputPoint
from azr.types import Cell, DropReason, PolicyVersion, TaskType

NUM_WINDOWS = 60
"""Into how many windows the throughput plot divides a run, at most."""
SHORTEST_WINDOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run so far. Step k made policy version k; rolled-back steps are left out."""

    model: str
    total_steps: int
    max_staleness: int
    """The bound, `learner.max_staleness`."""
    started_at: float
    """The first rollout, in seconds since the epoch."""
    steps: tuple[StepPoint, ...]
    cells: tuple[CellStepPoint, ...]
    proposals: tuple[ProposalPoint, ...]
    staleness: Mapping[int, int]
    """Rows trained on, by staleness at the claim."""
    window_seconds: float
    throughput: tuple[ThroughputPoint, ...]
    """Windows of `window_seconds`; the last one may not be over."""
    drops: Mapping[tuple[DropReason, Cell], int]
    states: Mapping[str, int]
    """Rollouts by state; together they are all that was generated."""
    buffer_sizes: Mapping[TaskType, int]
    held_out: tuple[HeldOutPoint, ...] = ()
    benchmarks: tuple[BenchmarkPoint, ...] = ()
    """What was measured while the run went on."""
    """Accuracy on problems that training never shows, by policy version."""
    watch: tuple[StepMeasures, ...] = ()
    """What `azr.diagnosis` measured of each step."""

    engines: tuple[EngineFigures, ...] = ()
    """Of every replica, between the first step and the last."""

    @property
    def num_generated(self) -> int:
        return sum(self.states.values())

    def seconds_into_run(self, step: StepPoint) -> float:
        """From the first rollout to a step's commit."""
        return step.committed_at - self.started_at


def read_history(database: Path | Located) -> History:
    """Read a run's database, also while it plays. Raises StoreError."""
    with open_history(database) as connection:
        config = queries.run_config(connection)
        started_at = queries.first_rollout_at(connection) or 0.0
        steps = tuple(queries.steps(connection))
        elapsed = steps[-1].committed_at - started_at if steps else 0.0
        window_seconds = max(SHORTEST_WINDOW_SECONDS, elapsed / NUM_WINDOWS)
        engines = (
            read_engines(connection, since=steps[0].committed_at, until=steps[-1].committed_at)
            if steps
            else ()
        )
        return History(
            engines=engines,
            model=config.run.model,
            total_steps=config.run.steps,
            max_staleness=config.learner.max_staleness,
            started_at=started_at,
            steps=steps,
            cells=tuple(queries.cell_steps(connection)),
            proposals=tuple(queries.proposals(connection)),
            staleness=queries.staleness_counts(connection),
            window_seconds=window_seconds,
            throughput=tuple(queries.throughput(connection, window_seconds=window_seconds)),
            drops=queries.drops(connection),
            states={str(state): n for state, n in queries.state_counts(connection).items() if n},
            buffer_sizes=queries.buffer_sizes(connection),
            held_out=_held_out(connection),
            benchmarks=_benchmarks(connection),
            watch=tuple(read_series(connection)),
        )


def _benchmarks(history: queries.History) -> tuple[BenchmarkPoint, ...]:
    names = [name for name in queries.metric_names(history) if name.startswith(BENCHMARK_PREFIX)]
    return from_benchmark_metrics(
        {
            name: {
                point.step: point.value
                for point in queries.metric_series(history, name)
                if point.value is not None
            }
            for name in names
        }
    )


def _held_out(history: queries.History) -> tuple[HeldOutPoint, ...]:
    """Every evaluation that was recorded whole; the last one of each version."""
    names = [name for name in queries.metric_names(history) if name.startswith(f"{PREFIX}/")]
    by_version: dict[PolicyVersion, dict[str, float]] = {}
    for name in names:
        for point in queries.metric_series(history, name):
            if point.value is not None:
                by_version.setdefault(point.step, {})[name] = point.value
    return tuple(from_metrics(version, found) for version, found in sorted(by_version.items()))
