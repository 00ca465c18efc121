"""The plots of a report. Each function draws one figure from a `History`.

Task types keep one colour everywhere; proposer and solver stand side by side on the
same scale. Thin lines are measured values, thick ones their mean over the last
`SMOOTHING_STEPS` points, which is what to read at this batch size.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from azr.report.history import History
from azr.store.points import CellStepPoint
from azr.task_types import types_shown
from azr.types import DropReason, Role, TaskType

SMOOTHING_STEPS = 5
COLOURS = {
    TaskType.DEDUCTION: "#0072B2",
    TaskType.ABDUCTION: "#D55E00",
    TaskType.INDUCTION: "#009E73",
    TaskType.ERROR: "#E69F00",
}
"""From the Okabe-Ito palette: told apart with any kind of colour vision."""
ROLE_TITLES = {Role.PROPOSE: "proposer", Role.SOLVE: "solver"}

type Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot[T]:
    """One figure of the report and what it shows; drawn from a `T`."""

    file_name: str
    title: str
    caption: str
    draw: Callable[[T], Figure]

    def save(self, source: T, folder: Path) -> Path:
        path = folder / self.file_name
        self.draw(source).savefig(path, dpi=110)
        return path


def reward(history: History) -> Figure:
    figure = _by_role(
        history, lambda cell: cell.mean_reward, "mean reward of the batch's rows", (-1.05, 1.05)
    )
    for axes in figure.axes:
        axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    return figure


def response_length(history: History) -> Figure:
    return _by_role(
        history, lambda cell: cell.mean_tokens, "mean response length (tokens)", (0, None)
    )


def solve_rate(history: History) -> Figure:
    points = _per_type(
        (row.task_type, row.version, row.mean_solve_rate)
        for row in history.proposals
        if row.mean_solve_rate is not None
    )
    return _shares(points, "mean solve rate of valid proposals")


def validity(history: History) -> Figure:
    points = _per_type(
        (row.task_type, row.version, row.num_valid / row.num_judged)
        for row in history.proposals
        if row.num_judged
    )
    return _shares(points, "share of proposals that became tasks")


def staleness(history: History) -> Figure:
    figure, axes = _single()
    total = sum(history.staleness.values())
    lags = range(max((*history.staleness, history.max_staleness)) + 1)
    shares = [history.staleness.get(lag, 0) / total if total else 0.0 for lag in lags]
    bars = axes.bar(list(lags), shares, color="#0072B2", width=0.8)
    axes.bar_label(bars, [f"{share:.0%}" if share else "" for share in shares], padding=2)
    axes.axvline(
        history.max_staleness + 0.5, color="#D55E00", linestyle="--", label="learner.max_staleness"
    )
    axes.set_xlabel("staleness at the claim (policy versions)")
    axes.set_ylabel("share of trained rows")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, max((*shares, 0.01)) * 1.15)
    axes.legend(frameon=False)
    return figure


def throughput(history: History) -> Figure:
    figure, axes = _single()
    windows = history.throughput[:-1]  # the last one may not be over
    sampled = [window.generated_tokens / history.window_seconds for window in windows]
    starts = [window.start for window in windows]
    axes.step(starts, sampled, where="post", color="#0072B2", label="sampled by the engine")
    ends, trained = zip(*trained_rates(history), strict=True) if history.steps else ((), ())
    axes.step(ends, trained, where="pre", color="#D55E00", label="trained on, since the last step")
    for step in history.steps:
        axes.axvline(history.seconds_into_run(step), color="0.85", linewidth=0.7, zorder=0)
    axes.set_xlabel("seconds since the first rollout (grey: a learner step)")
    axes.set_ylabel("response tokens per second")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def drops(history: History) -> Figure:
    figure, axes = _single()
    present = [r for r in DropReason if any(reason is r for reason, _ in history.drops)]
    left = [0] * len(present)
    for role, colour in ((Role.PROPOSE, "#56B4E9"), (Role.SOLVE, "#E69F00")):
        counts = [
            sum(n for (why, cell), n in history.drops.items() if why is r and cell.role is role)
            for r in present
        ]
        axes.barh([str(r) for r in present], counts, left=left, color=colour, label=str(role))
        left = [below + count for below, count in zip(left, counts, strict=True)]
    for index, total in enumerate(left):
        axes.annotate(f" {total:,}", (total, index), va="center")
    axes.set_xlabel(f"rollouts never trained on, of {history.num_generated:,} generated")
    axes.set_xlim(0, max((*left, 1)) * 1.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if present:
        axes.legend(frameon=False)
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing was dropped", ha="center", transform=axes.transAxes)
    return figure


PLOTS: tuple[Plot[History], ...] = (
    Plot(
        "reward.png",
        "Reward per cell",
        "What each of the six cells earned in the batch of each learner step. A solver's row earns"
        " 1 (right), -0.5 (wrong) or -1 (bad format); a valid proposal earns 1 - its solve rate"
        " (selfplay.boundary_reward if always or never solved), a rejected one -1.",
        reward,
    ),
    Plot(
        "solve_rate.png",
        "Solve rate",
        "How often the solver succeeds on freshly proposed valid tasks, by the policy version that"
        " finished the proposal. Tasks near 0 % or 100 % teach little.",
        solve_rate,
    ),
    Plot(
        "validity.png",
        "Proposal validity",
        "The share of proposals that ran in the jail, were deterministic and new, and so became"
        " tasks; by the policy version that finished the proposal.",
        validity,
    ),
    Plot(
        "staleness.png",
        "Staleness",
        "How many optimizer steps lie between a row's oldest token and the step that trained on"
        " it. Nothing is trained on beyond the dashed bound.",
        staleness,
    ),
    Plot(
        "throughput.png",
        "Throughput",
        "Response tokens per second of wall-clock time: what the engine finished sampling, and"
        " what optimizer steps used. Seeding comes before the first step.",
        throughput,
    ),
    Plot(
        "response_length.png",
        "Response length per cell",
        "Mean number of sampled tokens in the rows of each cell, thinking included.",
        response_length,
    ),
    Plot(
        "drops.png",
        "Dropped rollouts",
        "Why rollouts were never trained on. `seeding` filled the buffers before the first step,"
        " `measured_only` measured a solve rate, `stale` waited too long.",
        drops,
    ),
)


def smoothed(values: Sequence[float], window: int = SMOOTHING_STEPS) -> list[float]:
    """Trailing mean: entry i is the mean of the last `window` values up to i."""
    means: list[float] = []
    for index in range(len(values)):
        recent = values[max(0, index + 1 - window) : index + 1]
        means.append(sum(recent) / len(recent))
    return means


def trained_rates(history: History) -> Points:
    """(seconds into the run, tokens per second since the step before) of each step."""
    rates: list[tuple[float, float]] = []
    previous: float | None = None
    for step in history.steps:
        at = history.seconds_into_run(step)
        tokens = sum(
            row.num_rollouts * row.mean_tokens for row in history.cells if row.step == step.step
        )
        rates.append((at, tokens / (at - previous) if previous is not None else math.nan))
        previous = at
    return rates


def _by_role(
    history: History,
    value: Callable[[CellStepPoint], float],
    label: str,
    limits: tuple[float | None, float | None],
) -> Figure:
    """Proposer left, solver right, one line a task type over learner steps."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, role in zip(panels, Role, strict=True):
        rows = [row for row in history.cells if row.cell.role is role]
        type_lines(axes, _per_type((row.cell.task_type, row.step, value(row)) for row in rows))
        axes.set_title(ROLE_TITLES[role])
        axes.set_xlabel("learner step")
    panels[0].set_ylabel(label)
    panels[0].set_ylim(*limits)
    panels[1].legend(frameon=False)
    return figure


def _shares(points: Mapping[TaskType, Points], label: str) -> Figure:
    figure, axes = _single()
    type_lines(axes, points)
    axes.set_xlabel("policy version")
    axes.set_ylabel(label)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(frameon=False)
    return figure


def type_lines(axes: Axes, points: Mapping[TaskType, Points]) -> None:
    """One line a task type: thin as measured, thick its trailing mean."""
    for task_type in types_shown(points):
        colour = COLOURS[task_type]
        xs = [x for x, _ in points.get(task_type, ())]
        ys = [y for _, y in points.get(task_type, ())]
        axes.plot(xs, ys, color=colour, linewidth=0.8, alpha=0.45, marker=".", markersize=3)
        axes.plot(xs, smoothed(ys), color=colour, linewidth=2, label=str(task_type))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)


def _per_type(
    rows: Iterable[tuple[TaskType, int, float]],
) -> dict[TaskType, list[tuple[float, float]]]:
    points: dict[TaskType, list[tuple[float, float]]] = defaultdict(list)
    for task_type, x, y in rows:
        points[task_type].append((x, y))
    return {task_type: sorted(found) for task_type, found in points.items()}


def _single() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
