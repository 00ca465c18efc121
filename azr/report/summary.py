"""A run in a few numbers: the tables of the report and of the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from azr.evals.estimates import Estimate
from azr.progress import BUSY_SECONDS_METRIC
from azr.report.history import History
from azr.store.points import StepPoint
from azr.task_types import MAIN_TYPES, types_shown
from azr.types import CELLS, Cell, Role, TaskType

COMPARED_STEPS = 5
"""Begin and end of a run are means over this many steps: single ones are noise."""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of text; the first column is left-aligned, the others right."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(history: History) -> list[Table]:
    """What the run learned, then how it ran."""
    accuracy = [_accuracy(history)] if history.held_out else []
    engines = [_engines(history)] if len(history.engines) > 1 else []
    return [*accuracy, _learning(history), _running(history), *engines]


def busy_share(steps: Sequence[StepPoint]) -> float | None:
    """Share of the time between first and last step with a request in flight in vLLM.

    The metric is a total of its process, so a value below the one before it comes
    after a restart; that pair is left out.
    """
    totals = [
        (step.committed_at, step.metrics[BUSY_SECONDS_METRIC])
        for step in steps
        if BUSY_SECONDS_METRIC in step.metrics
    ]
    gains = [
        (after[0] - before[0], after[1] - before[1])
        for before, after in pairwise(totals)
        if after[1] >= before[1]
    ]
    elapsed = sum(seconds for seconds, _ in gains)
    return sum(busy for _, busy in gains) / elapsed if elapsed > 0 else None


def seconds_per_step(steps: Sequence[StepPoint]) -> float | None:
    """Mean wall-clock time between the given steps' commits."""
    if len(steps) < 2:
        return None
    return (steps[-1].committed_at - steps[0].committed_at) / (len(steps) - 1)


def _accuracy(history: History) -> Table:
    """The first and the last measurement."""
    points = history.held_out
    shown = [points[0], points[-1]] if len(points) > 1 else [points[0]]
    return Table(
        f"Accuracy on {shown[0].num_problems} problems that training never shows (greedy,"
        " 95 % interval)",
        ("", "mean", *map(str, MAIN_TYPES)),
        tuple(
            (
                "base model" if point.version == 0 else f"policy v{point.version}",
                _interval(point.mean),
                *(_interval(point.by_type[task_type]) for task_type in MAIN_TYPES),
            )
            for point in shown
        ),
    )


def _interval(estimate: Estimate) -> str:
    mean, low, high = (100 * end for end in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def _learning(history: History) -> Table:
    """Each cell at the beginning of the run and at its end."""
    num_steps = len(history.steps)
    compared = min(COMPARED_STEPS, num_steps // 2)
    first = {step.step for step in history.steps[:compared]}
    last = {step.step for step in history.steps[num_steps - compared :]} if compared else set()
    rows: list[tuple[str, ...]] = []
    shown = types_shown({row.cell.task_type for row in history.cells})
    for cell in (each for each in CELLS if each.task_type in shown):
        begin, end = (_moment(history, cell, steps) for steps in (first, last))
        pairs = zip(begin, end, strict=True)
        rows.append((str(cell), *(_change(before, after) for before, after in pairs)))
    return Table(
        f"What it learned: mean over the first {compared} learner steps \u2192 over the last"
        f" {compared}",
        ("", "reward", "response tokens", "proposals valid", "solve rate of valid ones"),
        tuple(rows),
    )


def _moment(history: History, cell: Cell, steps: set[int]) -> tuple[str, str, str, str]:
    """Reward, response length, validity and solve rate of a cell over some steps."""
    own = [row for row in history.cells if row.cell == cell and row.step in steps]
    validity, solve_rate = (
        _proposing(history, cell.task_type, steps) if cell.role is Role.PROPOSE else ("", "")
    )
    return (
        _text(_mean(row.mean_reward for row in own), "+.2f"),
        _text(_mean(row.mean_tokens for row in own), ".0f"),
        validity,
        solve_rate,
    )


def _proposing(history: History, task_type: TaskType, steps: set[int]) -> tuple[str, str]:
    """Validity and solve rate of one type, each proposal counting once."""
    own = [
        row
        for row in history.proposals
        # Step k trains version k - 1 into version k, so that one proposed beside it.
        if row.task_type is task_type and row.version + 1 in steps
    ]
    judged = sum(row.num_judged for row in own)
    valid = sum(row.num_valid for row in own)
    settled = sum(row.num_settled for row in own)
    solved = sum(row.num_settled * (row.mean_solve_rate or 0.0) for row in own)
    return (
        _text(valid / judged if judged else None, ".0%"),
        _text(solved / settled if settled else None, ".0%"),
    )


def _change(before: str, after: str) -> str:
    return f"{before} \u2192 {after}" if before or after else ""


def _running(history: History) -> Table:
    """Steps, rollouts, staleness and speed."""
    steps = history.steps
    states = ", ".join(f"{count:,} {state}" for state, count in history.states.items())
    drops: dict[str, int] = {}
    for (reason, _), count in history.drops.items():
        drops[str(reason)] = drops.get(str(reason), 0) + count
    trained_rows = sum(history.staleness.values())
    lag = sum(lag * rows for lag, rows in history.staleness.items())
    mean_lag = lag / trained_rows if trained_rows else None
    rows = (
        ("learner steps", f"{len(steps)} of {history.total_steps}"),
        ("seconds per step, mean", _text(seconds_per_step(steps), ".1f")),
        ("engine busy between first and last step", _text(_engine_busy(history), ".1%")),
        ("tokens sampled per second, mean", _text(_mean_rate(history), ",.0f")),
        ("staleness, mean", _text(mean_lag, ".2f")),
        (
            "staleness, largest / bound",
            f"{max(history.staleness, default=0)} / {history.max_staleness}",
        ),
        ("rollouts generated", f"{history.num_generated:,} ({states})"),
        ("dropped, by reason", ", ".join(f"{n:,} {why}" for why, n in drops.items()) or "none"),
        ("tasks in the buffers", ", ".join(f"{n:,} {t}" for t, n in history.buffer_sizes.items())),
    )
    return Table("How it ran", ("", "value"), rows)


def _engine_busy(history: History) -> float | None:
    """Mean of all replicas; of the learner's node where no replica has reported."""
    shares = [each.busy_share for each in history.engines if each.busy_share is not None]
    return _mean(shares) if shares else busy_share(history.steps)


def _engines(history: History) -> Table:
    """What the replica of each node did between the first step and the last, and all of them."""
    elapsed = history.steps[-1].committed_at - history.steps[0].committed_at
    rows = [(each.replica, each.busy_share, each.tokens) for each in history.engines]
    total = ("all", _engine_busy(history), sum(each.tokens for each in history.engines))
    return Table(
        "Engines, between the first and the last learner step",
        ("", "busy", "tokens sampled", "tokens per second"),
        tuple(
            (
                name,
                _text(busy, ".1%"),
                f"{tokens:,}",
                _text(tokens / elapsed if elapsed > 0 else None, ",.0f"),
            )
            for name, busy, tokens in [*rows, total]
        ),
    )


def _mean_rate(history: History) -> float | None:
    """Tokens sampled per second since the first rollout."""
    whole = history.throughput[:-1]  # the last window may not be over
    return _mean(window.generated_tokens / history.window_seconds for window in whole)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
