"""The part of a report about what goes wrong: findings, and plots of what they rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from azr.diagnosis.measures import MEASURES, RUN, StepMeasures, cell_name
from azr.diagnosis.watch import Finding, findings
from azr.report.figures import COLOURS, Plot, smoothed
from azr.report.history import History
from azr.report.summary import Table
from azr.task_types import types_shown
from azr.types import Role, TaskType

PANEL_INCHES = (4.2, 3.4)
FOUND_COLOUR = "#CC79A7"
"""Behind the steps in which a measure of this panel was a finding."""

type Panel = tuple[str, Role | None]
"""A measure, and whose: one line a task type, or one line for the run."""


def watch_table(history: History) -> Table:
    """Every finding of the run; one row that says so if there was none."""
    found = findings(history.watch)
    rows = [
        (
            f"{finding.severity}: {finding.name}",
            finding.scope,
            str(finding.since_step),
            "lasts" if finding.until_step is None else str(finding.until_step),
            finding.figures,
            finding.rule.meaning,
        )
        for finding in found
    ] or [("nothing", "", "", "", "", f"{len(history.watch)} steps looked at")]
    headings = ("", "where", "since step", "until", "figures", "what it means")
    return Table("Watch: signs of collapse, drift and reward hacking", headings, tuple(rows))


def _draw(panels: Sequence[Panel], history: History) -> Figure:
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(panels), height), layout="constrained")
    found = findings(history.watch)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, role) in zip(row, panels, strict=True):
        _panel(axes, history.watch, name, role)
        _shade(axes, [each for each in found if each.rule.measure == name], history.watch)
    row[0].legend(frameon=False, fontsize="small")
    return figure


def _panel(axes: Axes, steps: Sequence[StepMeasures], name: str, role: Role | None) -> None:
    """One measure over learner steps: thin as measured, thick its trailing mean."""
    measure = MEASURES[name]
    if role is None:
        lines = [(RUN, "black", RUN)]
    else:
        found = {
            kind
            for kind in TaskType
            if any((cell_name(role, kind), name) in step.values for step in steps)
        }
        lines = [
            (cell_name(role, task_type), COLOURS[task_type], str(task_type))
            for task_type in types_shown(found)
        ]
    for scope, colour, label in lines:
        points = [(s.step, s.values[scope, name]) for s in steps if (scope, name) in s.values]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.plot(xs, ys, color=colour, linewidth=0.7, alpha=0.4)
        axes.plot(xs, smoothed(ys), color=colour, linewidth=2, label=label)
    axes.set_title(name if role is None else f"{name} ({role})", fontsize="medium")
    axes.set_xlabel("learner step")
    axes.set_ylabel(measure.unit if measure.unit != "1" else name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="0.92")
    if measure.unit == "share":
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    else:
        axes.set_ylim(bottom=0)


def _shade(axes: Axes, found: Sequence[Finding], steps: Sequence[StepMeasures]) -> None:
    for finding in found:
        end = finding.until_step or steps[-1].step
        axes.axvspan(finding.since_step, end, color=FOUND_COLOUR, alpha=0.15, linewidth=0)


def _plot(name: str, title: str, caption: str, *panels: Panel) -> Plot[History]:
    draw: Callable[[History], Figure] = partial(_draw, panels)
    return Plot(f"watch_{name}.png", f"Watch: {title}", caption, draw)


PROPOSER, SOLVER = Role.PROPOSE, Role.SOLVE
WATCH_PLOTS = (
    _plot(
        "diversity",
        "diversity of proposals",
        "Different programs within a step (for induction: messages), programs that an earlier step"
        " or a seed had, and programs equal to a reference that was shown; all up to names,"
        " comments and layout. Shaded here and below: steps in which a finding lasted.",
        ("distinct", PROPOSER), ("repeats_older", PROPOSER), ("repeats_reference", PROPOSER),
    ),
    _plot(
        "difficulty",
        "solve rates of proposed tasks",
        "Tasks that no attempt solved and tasks that every attempt solved teach nothing; what is"
        " between them carries the signal.",
        ("solved_by_none", PROPOSER), ("solved_by_all", PROPOSER), ("solve_rate", PROPOSER),
    ),
    _plot(
        "programs",
        "shape of programs",
        "Syntax distance to the nearest reference (0: the same shape), Halstead volume and"
        " cyclomatic complexity of the proposed programs.",
        ("nearest_reference", PROPOSER), ("halstead_volume", PROPOSER), ("cyclomatic", PROPOSER),
    ),
    _plot(
        "hacking",
        "reward without reasoning",
        "Tasks whose comments or message hold the answer, programs that need no reasoning, and"
        " different tasks solved by one answer.",
        ("gives_away", PROPOSER), ("trivial_program", PROPOSER), ("same_answer", SOLVER),
    ),
    _plot(
        "policy",
        "the policy itself",
        "Entropy of the next token, responses that break the format, and the spread of rewards"
        " that advantages are made of.",
        ("entropy", None), ("bad_format", SOLVER), ("reward_std", SOLVER),
    ),
)  # fmt: skip
"""Drawn after the plots of `azr.report.figures`."""
