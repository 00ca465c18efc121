"""A run's history in about a hundred rows: what is worth a plot after the database is gone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from azr.diagnosis.measures import RUN, StepMeasures
from azr.diagnosis.series import read_series
from azr.diagnosis.watch import findings
from azr.play_time import PLAYED_SECONDS_METRIC
from azr.store import queries
from azr.store.history import open_history
from azr.store.locate import Located
from azr.store.points import StepPoint, ThroughputPoint
from azr.types import CELLS, Role

MAX_ROWS = 100
DIGITS = 4
"""Significant ones of a traced number."""
TOKEN_WINDOW_SECONDS = 1.0
"""How finely sampled tokens are told apart in time."""
STEP_METRICS = ("staleness_mean", "gradient_norm", "kl_k3", "masked_share", "logprob_gap", "loss")
PROPOSER_MEASURES = (
    "reward", "valid", "distinct", "nearest_reference", "halstead_volume", "solve_rate",
    "solved_by_none", "solved_by_all",
)  # fmt: skip
SOLVER_MEASURES = ("reward", "correct", "bad_format", "tokens")
LAST = ("step", "played_seconds", "tokens")
"""Columns that grow: a row has their last value; of all others it has the mean."""

type Row = Mapping[str, float]
type Columns = dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How far a run was when it committed a step."""

    step: int
    tokens: int
    """Response tokens sampled until then, seeding and undone work included."""
    played_seconds: float


@dataclass(frozen=True, slots=True)
class Played:
    """A run's course."""

    moments: tuple[Moment, ...]
    """Of each surviving step."""
    trace: Columns
    findings: tuple[str, ...]
    """Failures that `azr.diagnosis` sees in it, in words."""

    def at(self, step: int) -> Moment:
        """The moment of a step; the beginning if it is not among them."""
        found = (moment for moment in self.moments if moment.step == step)
        return next(found, Moment(step=0, tokens=0, played_seconds=0.0))


def read_played(database: Path | Located) -> Played:
    """Read a run's database. Raises StoreError."""
    with open_history(database) as history:
        steps = queries.steps(history)
        series = read_series(history)
        windows = queries.throughput(history, window_seconds=TOKEN_WINDOW_SECONDS)
        started_at = queries.first_rollout_at(history) or 0.0
    measures = {found.step: found for found in series}
    moments = tuple(_moments(steps, windows, started_at))
    rows = [
        _row(moment, step, measures.get(step.step))
        for moment, step in zip(moments, steps, strict=True)
    ]
    return Played(moments, thinned(_with_rates(rows)), tuple(map(str, findings(series))))


def thinned(rows: Sequence[Row], max_rows: int = MAX_ROWS) -> Columns:
    """Columns of at most `max_rows` rows, each over equally many of the given ones.

    A column is there if any row has it; a gap is None.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    size = max(1, math.ceil(len(rows) / max_rows))
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return {name: tuple(_summary(name, part) for part in parts) for name in names}


def _moments(
    steps: Sequence[StepPoint], windows: Sequence[ThroughputPoint], started_at: float
) -> list[Moment]:
    moments: list[Moment] = []
    tokens, index = 0, 0
    for step in steps:
        ended = step.committed_at - started_at - TOKEN_WINDOW_SECONDS
        while index < len(windows) and windows[index].start <= ended:
            tokens += windows[index].generated_tokens
            index += 1
        played = round(step.metrics.get(PLAYED_SECONDS_METRIC, 0.0), 1)
        moments.append(Moment(step=step.step, tokens=tokens, played_seconds=played))
    return moments


def _row(moment: Moment, step: StepPoint, measured: StepMeasures | None) -> dict[str, float]:
    row: dict[str, float] = {
        "step": moment.step,
        "played_seconds": moment.played_seconds,
        "tokens": moment.tokens,
    }
    known = {"loss": step.loss, **step.metrics}
    row |= {name: value for name in STEP_METRICS if (value := known.get(name)) is not None}
    if measured is None:
        return row
    wanted = [(RUN, "entropy")]
    for cell in CELLS:
        names = PROPOSER_MEASURES if cell.role is Role.PROPOSE else SOLVER_MEASURES
        wanted += [(str(cell), name) for name in names]
    row |= {
        name if scope == RUN else f"{scope}/{name}": measured.values[scope, name]
        for scope, name in wanted
        if (scope, name) in measured.values
    }
    return row


def _with_rates(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Tokens per second since the step before, where self-play was not interrupted."""
    for before, row in pairwise(rows):
        seconds = row["played_seconds"] - before["played_seconds"]
        if seconds > 0:
            row["tokens_per_second"] = (row["tokens"] - before["tokens"]) / seconds
    return rows


def _summary(name: str, part: Sequence[Row]) -> float | None:
    values = [row[name] for row in part if name in row and math.isfinite(row[name])]
    if not values:
        return None
    if name in LAST:
        return round(values[-1], 1)
    return float(f"{sum(values) / len(values):.{DIGITS}g}")
