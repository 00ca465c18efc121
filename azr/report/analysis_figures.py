"""The part of a report about how a policy writes: plots over policy versions, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from azr.report.analysis import Analysis, ProgramPoint
from azr.report.behaviours import Behaviour
from azr.report.figures import COLOURS, ROLE_TITLES, Plot, smoothed, type_lines
from azr.report.summary import Table
from azr.types import CELLS, Cell, Role, TaskType

PANEL_INCHES = (4.2, 3.4)
SMALL_INCHES = (3.2, 2.4)
"""Of a panel where there are many."""
COLUMNS = 3
COMPARED_SHARE = 0.2
"""Tables compare the first fifth of a curve's points with the last."""
ROLE_STYLES = {Role.PROPOSE: ":", Role.SOLVE: "-"}


@dataclass(frozen=True, slots=True)
class _Measure:
    """A column of `ProgramPoint` and how it is shown."""

    label: str
    value: Callable[[ProgramPoint], float | None]
    form: str
    is_share: bool = False


COMPLEXITY = (
    _Measure("cyclomatic complexity", lambda point: point.cyclomatic, ".1f"),
    _Measure("Halstead volume (bits)", lambda point: point.halstead_volume, ".0f"),
    _Measure("lines of a program", lambda point: point.program_lines, ".1f"),
)
DIVERSITY = (
    _Measure("distance to references", lambda point: point.reference_distance, ".2f"),
    _Measure("two programs differ", lambda point: point.programs_differ, ".0%", is_share=True),
    _Measure("two answers differ", lambda point: point.answers_differ, ".0%", is_share=True),
)


def lengths(analysis: Analysis) -> Figure:
    """Proposer left, solver right, one line a task type."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, role in zip(panels, ROLE_TITLES, strict=True):
        own = [point for point in analysis.lengths if point.cell.role is role]
        curves = {cell.task_type: list[tuple[float, float]]() for cell in cells(analysis)}
        for point in own:
            curves[point.cell.task_type].append((point.first_version, point.mean_tokens))
        type_lines(axes, curves)
        axes.set_title(ROLE_TITLES[role])
        axes.set_xlabel("policy version")
    panels[0].set_ylabel("mean response length (tokens)")
    panels[0].set_ylim(0, None)
    panels[1].legend(frameon=False)
    return figure


def complexity(analysis: Analysis) -> Figure:
    return _measures(analysis, COMPLEXITY)


def diversity(analysis: Analysis) -> Figure:
    return _measures(analysis, DIVERSITY)


def behaviours(analysis: Analysis) -> Figure:
    """A panel for each behaviour: solvers drawn through, proposers dotted."""
    width, height = SMALL_INCHES
    num_rows = max(1, math.ceil(len(analysis.kinds) / COLUMNS))
    figure = Figure(figsize=(width * COLUMNS, height * num_rows), layout="constrained")
    panels = list(figure.subplots(num_rows, COLUMNS, squeeze=False).flat)
    for axes in panels[len(analysis.kinds) :]:
        axes.remove()
    for axes, kind in zip(panels, analysis.kinds, strict=False):
        _behaviour(axes, analysis, kind)
    if analysis.kinds and analysis.lengths:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def cells(analysis: Analysis) -> list[Cell]:
    """Those of which there are rollouts, in their order."""
    found = {point.cell for point in analysis.lengths}
    return [cell for cell in CELLS if cell in found]


def types(analysis: Analysis) -> list[TaskType]:
    """Those of the cells."""
    return list(dict.fromkeys(cell.task_type for cell in cells(analysis)))


def analysis_tables(analysis: Analysis) -> list[Table]:
    """Proposals at the beginning and at the end, and behaviours by cell."""
    return [_programs_table(analysis), _behaviours_table(analysis)]


def _measures(analysis: Analysis, measures: Sequence[_Measure]) -> Figure:
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(measures), height), layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(measures)), measures, strict=True):
        type_lines(axes, {kind: _curve(analysis, kind, measure) for kind in types(analysis)})
        axes.set_title(measure.label, fontsize="medium")
        axes.set_xlabel("policy version")
        axes.set_ylabel(measure.label)
        axes.set_ylim(0, None)
        if measure.is_share:
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    figure.axes[0].legend(frameon=False, fontsize="small")
    return figure


def _curve(analysis: Analysis, task_type: TaskType, measure: _Measure) -> list[tuple[float, float]]:
    return [
        (point.first_version, value)
        for point in analysis.programs
        if point.task_type is task_type and (value := measure.value(point)) is not None
    ]


def _behaviour(axes: Axes, analysis: Analysis, kind: Behaviour) -> None:
    for cell in cells(analysis):
        points = [
            (point.first_version, point.num_showing / point.num_responses)
            for point in analysis.behaviours
            if point.behaviour == kind.name and point.cell == cell and point.num_responses
        ]
        axes.plot(
            [version for version, _ in points],
            smoothed([share for _, share in points]),
            color=COLOURS[cell.task_type],
            linestyle=ROLE_STYLES[cell.role],
            linewidth=1.6,
            label=f"{cell.task_type}, {ROLE_TITLES[cell.role]}",
        )
    axes.set_title(kind.name.replace("_", " "), fontsize="medium")
    axes.set_xlabel("policy version")
    axes.set_ylabel("share of responses", fontsize="small")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="0.92")


def _programs_table(analysis: Analysis) -> Table:
    measures = (*COMPLEXITY, *DIVERSITY)
    versions = sorted({point.first_version for point in analysis.programs})
    compared = math.ceil(len(versions) * COMPARED_SHARE) if len(versions) > 1 else 0
    ends = [set(versions[:compared]), set(versions[len(versions) - compared :])]
    rows = [
        (str(task_type), *(_change(analysis, task_type, measure, ends) for measure in measures))
        for task_type in types(analysis)
    ]
    sampled = sum(point.num_sampled for point in analysis.programs)
    proposed = sum(point.num_proposals for point in analysis.programs)
    return Table(
        f"Valid proposals: first fifth of the run \u2192 last fifth ({sampled:,} read of"
        f" {proposed:,}, seed {analysis.seed})",
        ("", *(measure.label for measure in measures)),
        tuple(rows),
    )


def _change(
    analysis: Analysis, task_type: TaskType, measure: _Measure, ends: Iterable[set[int]]
) -> str:
    means: list[str] = []
    for versions in ends:
        found = [
            (point.num_sampled, value)
            for point in analysis.programs
            if point.task_type is task_type
            and point.first_version in versions
            and (value := measure.value(point)) is not None
        ]
        total = sum(weight for weight, _ in found)
        mean = sum(weight * value for weight, value in found) / total if total else None
        means.append("-" if mean is None else format(mean, measure.form))
    return "" if all(mean == "-" for mean in means) else " \u2192 ".join(means)


def _behaviours_table(analysis: Analysis) -> Table:
    """Share and number of sampled responses that show each behaviour."""
    rows = [
        (
            kind.name.replace("_", " "),
            *(_shown(analysis, kind, cell) for cell in cells(analysis)),
            f"{kind.meaning} ({kind.part})",
        )
        for kind in analysis.kinds
    ]
    return Table(
        "Behaviours, by patterns of words: share (number) of sampled responses with a match;"
        f" seed {analysis.seed}",
        ("", *map(str, cells(analysis)), "what is looked for, and where"),
        tuple(rows),
    )


def _shown(analysis: Analysis, kind: Behaviour, cell: Cell) -> str:
    own = [p for p in analysis.behaviours if p.behaviour == kind.name and p.cell == cell]
    responses = sum(point.num_responses for point in own)
    if not responses:
        return "-"
    showing = sum(point.num_showing for point in own)
    return f"{showing / responses:.0%} ({showing:,})"


ANALYSIS_PLOTS: tuple[Plot[Analysis], ...] = (
    Plot(
        "lengths.png",
        "Response length over policy versions",
        "Mean number of tokens of every rollout of a cell, those that only measure a solve rate"
        " included, by the policy version that finished it. Points stand at the first version"
        " of their interval.",
        lengths,
    ),
    Plot(
        "complexity.png",
        "Complexity of proposals",
        "Of sampled valid proposals of deduction and abduction, by the version that finished"
        " them: decisions plus one (McCabe), Halstead's volume, lines that are not blank.",
        complexity,
    ),
    Plot(
        "diversity.png",
        "Diversity of proposals",
        "Syntax distance of a program to the references that its proposer was shown, and the"
        " chance that two sampled proposals of one interval have different programs (up to"
        " names, comments and layout) or different answers. Induction's programs are given.",
        diversity,
    ),
    Plot(
        "behaviours.png",
        "Behaviours in responses",
        "Share of sampled responses in which a pattern of words was found that goes with a"
        " behaviour; solvers drawn through, proposers dotted, trailing means. A match says what"
        " was written and not what was done. Responses without thoughts do not count.",
        behaviours,
    ),
)
