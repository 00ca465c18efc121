"""The plots of the experiment's report, drawn from results alone.

An arm keeps its colour in all of them. A line is the mean over seeds, on the range that
all of them reach, and the band goes from the lowest seed to the highest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from azr.experiments import statistics
from azr.experiments.arms import ARMS, SELFPLAY, Group
from azr.experiments.comparison import Comparison, Seeds
from azr.experiments.results import CurvePoint, TrialResult
from azr.experiments.statistics import View
from azr.report.figures import COLOURS, smoothed
from azr.task_types import MAIN_TYPES
from azr.types import Role, TaskType

DPI = 90
GRID_POINTS = 60
PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8B7500")
"""Okabe and Ito's, with black for self-play; told apart with any kind of colour vision."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What a curve is drawn against."""

    label: str
    of: Callable[[CurvePoint], float]


STEPS = Axis("learner steps", lambda point: float(point.step))
TOKENS = Axis("million tokens sampled", lambda point: point.tokens / 1e6)
MINUTES = Axis("minutes played", lambda point: point.played_seconds / 60)


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure, or none where there is nothing to draw."""

    file_name: str
    title: str
    caption: str
    draw: Callable[[Comparison], Figure | None]


def curves(comparison: Comparison, arms: Sequence[Seeds], axes: Sequence[Axis]) -> Figure | None:
    """Held-out accuracy of arms, a panel for each axis."""
    drawn = [arm for arm in arms if all(len(result.curve) > 1 for result in arm.results)]
    if not drawn:
        return None
    figure = Figure(figsize=(4.2 * len(axes), 3.8), layout="constrained")
    panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    for panel, axis in zip(panels, axes, strict=True):
        for arm, colour in zip(drawn, _colours(drawn), strict=True):
            if axis is STEPS and arm.results[0].steps == 0:
                continue  # pretraining counts tokens, not learner steps
            _band(panel, arm, axis, colour)
        panel.set_xlabel(axis.label)
        panel.grid(axis="y", color="0.92")
        panel.set_axisbelow(True)
        panel.set_xlim(left=0)
    panels[0].set_ylabel(f"greedy accuracy, {_num_problems(comparison)} problems")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panels[-1].legend(frameon=False, fontsize=8)
    return figure


def gains(comparison: Comparison) -> Figure | None:
    """Every arm's gain over the base with its interval."""
    if not comparison.arms:
        return None
    arms = comparison.arms[::-1]
    figure = Figure(figsize=(7.5, 1.2 + 0.32 * len(arms)), layout="constrained")
    axes = figure.subplots()
    for row, arm in enumerate(arms):
        gain = comparison.gain(arm)
        low, high = gain.interval.low, gain.interval.high
        colour = "0.5" if arm.arm == SELFPLAY else PALETTE[1]
        axes.barh(row, gain.mean, color=colour, alpha=0.75 if gain.covers_seeds else 0.35)
        axes.errorbar(
            gain.mean, row, xerr=[[gain.mean - low], [high - gain.mean]], color="0.2", capsize=3
        )
    names = [f"{arm.arm} ({len(arm.results)})" for arm in arms]
    axes.set_yticks(range(len(arms)), names)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_xlabel("points gained over the base (seeds in brackets; pale: problems only)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.0f}"))
    return figure


def task_types(comparison: Comparison) -> Figure | None:
    """The gain of each task type, for self-play and what stands beside it."""
    arms = comparison.of_groups(Group.MAIN, Group.BASELINES, Group.PAPER)
    if not arms:
        return None
    figure = Figure(figsize=(2.2 + 1.1 * len(arms), 3.8), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(MAIN_TYPES)
    for place, task_type in enumerate(MAIN_TYPES):
        found = [comparison.gain(arm, View(task_type=task_type)) for arm in arms]
        errors = [
            [gain.mean - gain.interval.low for gain in found],
            [gain.interval.high - gain.mean for gain in found],
        ]
        at = np.arange(len(arms)) + (place - 1) * width
        axes.bar(
            at,
            [gain.mean for gain in found],
            width,
            yerr=errors,
            capsize=2,
            color=COLOURS[task_type],
            label=str(task_type),
            error_kw={"linewidth": 0.9},
        )
    axes.set_xticks(range(len(arms)), [arm.arm for arm in arms], rotation=20, ha="right")
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_ylabel("points gained")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.0f}"))
    axes.legend(frameon=False, fontsize=8)
    return figure


def training(comparison: Comparison) -> Figure | None:
    """What self-play's own batches looked like, all seeds."""
    if comparison.selfplay is None or not any(r.trace for r in comparison.selfplay.results):
        return None
    panels: list[tuple[str, Callable[[TaskType | None], str]]] = [
        ("solver reward", lambda kind: f"{Role.SOLVE}/{kind}/reward"),
        ("proposer reward", lambda kind: f"{Role.PROPOSE}/{kind}/reward"),
        ("proposals valid", lambda kind: f"{Role.PROPOSE}/{kind}/valid"),
        ("solve rate of new tasks", lambda kind: f"{Role.PROPOSE}/{kind}/solve_rate"),
        ("different programs in a step", lambda kind: f"{Role.PROPOSE}/{kind}/distinct"),
        ("distance to nearest reference", lambda kind: f"{Role.PROPOSE}/{kind}/nearest_reference"),
        ("solver response, tokens", lambda kind: f"{Role.SOLVE}/{kind}/tokens"),
        ("entropy, nats", lambda _: "entropy"),
    ]
    figure = Figure(figsize=(13, 6), layout="constrained")
    for axes, (title, column) in zip(figure.subplots(2, 4).flat, panels, strict=True):
        for result in comparison.selfplay.results:
            for task_type, colour in COLOURS.items():
                _trace(axes, result, column(task_type), colour)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("learner steps", fontsize=8)
        axes.grid(axis="y", color="0.92")
    first = figure.axes[0]
    for task_type, colour in COLOURS.items():
        first.plot([], [], color=colour, label=str(task_type))
    first.legend(frameon=False, fontsize=8)
    return figure


def _beside(comparison: Comparison, group: Group) -> list[Seeds]:
    """Self-play and the arms of a group; nothing where there are none to compare."""
    arms = comparison.of_groups(group)
    return arms if any(arm.group is group for arm in arms) else []


def _trace(axes: Axes, result: TrialResult, column: str, colour: str) -> None:
    found = [
        (step, value)
        for step, value in zip(
            result.trace.get("step", ()), result.trace.get(column, ()), strict=False
        )
        if step is not None and value is not None
    ]
    if found:
        xs, ys = zip(*found, strict=True)
        axes.plot(xs, smoothed(ys), color=colour, linewidth=1.2, alpha=0.8)


def _band(axes: Axes, arm: Seeds, axis: Axis, colour: str) -> None:
    lines = [
        (
            [axis.of(point) for point in result.curve],
            [statistics.score(point.outcomes).mean for point in result.curve],
        )
        for result in arm.results
    ]
    reach = min(xs[-1] for xs, _ in lines)
    knots = sorted({x for xs, _ in lines for x in xs if x <= reach})
    grid = np.array(knots) if len(lines) == 1 else np.linspace(0, reach, GRID_POINTS)
    values = np.array([np.interp(grid, xs, ys) for xs, ys in lines])
    bold = arm.arm == SELFPLAY
    axes.plot(
        grid,
        values.mean(axis=0),
        color=colour,
        linewidth=2.4 if bold else 1.5,
        marker="o" if len(lines) == 1 else "",
        markersize=3,
        label=_label(arm),
        zorder=3 if bold else 2,
    )
    if len(lines) > 1:
        axes.fill_between(grid, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15)


def _label(arm: Seeds) -> str:
    if arm.group is Group.STALENESS or arm.max_staleness is None:
        return arm.arm
    return f"{arm.arm} (bound {arm.max_staleness})" if arm.arm == SELFPLAY else arm.arm


def _colours(arms: Sequence[Seeds]) -> list[str]:
    """Black for self-play, the others in the order of `ARMS` within their group."""
    chosen: list[str] = []
    for arm in arms:
        peers = [name for name, other in ARMS.items() if other.group is arm.group]
        place = peers.index(arm.arm) % (len(PALETTE) - 1)
        chosen.append(PALETTE[0] if arm.arm == SELFPLAY else PALETTE[1 + place])
    return chosen


def _num_problems(comparison: Comparison) -> int:
    return len(comparison.base.curve[0].outcomes.greedy)


ALL_AXES = (STEPS, TOKENS, MINUTES)
PLOTS = (
    Plot(
        "gains.png",
        "Gains",
        "Greedy accuracy on the whole suite, after minus before, with 95 % intervals.",
        gains,
    ),
    Plot(
        "baselines.png",
        "Learning curves: self-play and the same time without it",
        "Points are checkpoints, measured on a part of the suite. Pretraining counts the tokens"
        " that it trained on, not sampled ones.",
        lambda c: curves(c, c.of_groups(Group.MAIN, Group.BASELINES), ALL_AXES),
    ),
    Plot(
        "ablations.png",
        "Learning curves: ablations of the paper",
        "As above.",
        lambda c: curves(c, _beside(c, Group.PAPER), ALL_AXES),
    ),
    Plot(
        "staleness.png",
        "Staleness bounds",
        "How many policy versions a trained token may be old; 0 is synchronous. Against tokens the"
        " bounds compare by what a token teaches, against minutes by what the machine gets done.",
        lambda c: curves(c, _beside(c, Group.STALENESS), (TOKENS, MINUTES)),
    ),
    Plot(
        "variants.png",
        "Learning curves: variants of the objective",
        "Other losses, one training attempt a task, and whitening over tokens.",
        lambda c: curves(c, _beside(c, Group.VARIANTS), ALL_AXES),
    ),
    Plot("task-types.png", "Gain by task type", "Greedy, both splits alike.", task_types),
    Plot(
        "training.png",
        "Inside self-play",
        "What the learner's own batches looked like, every seed a line. Where proposals become"
        " alike or trivial, or where rewards rise and held-out accuracy does not, it shows here.",
        training,
    ),
)
