"""`report.md` with its plots: from the results in a folder, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from azr.evals.estimates import Estimate
from azr.evals.problems import Split
from azr.experiments import sentences, statistics
from azr.experiments.arms import ARMS
from azr.experiments.comparison import Comparison, Seeds, compare
from azr.experiments.figures import DPI, PLOTS
from azr.experiments.results import Failure, TrialResult, read_all, read_failures
from azr.experiments.statistics import View
from azr.task_types import MAIN_TYPES

REPORT = "report.md"
HOW = """\
Every trial starts from the same weights and is measured on the same problems with the same
decoding. Scores weigh the three task types and the two splits alike. The unit of chance is
the problem on one side, the seed on the other; every interval is 95 %:

- **over the problems**: paired, problem by problem, of the mean over the seeds at hand; how
  far another draw of problems could lead.
- **over the seeds**: a t interval of the seeds' own gains; how far other seeds could lead.
- **over both** (what is shown unless it says otherwise): the half-widths of the two added as
  squares, which is rather too wide than too narrow. With one seed only the problems count.

Self-play and an arm are compared by their scores at the end, seeds unpaired, with one spread
over seeds for both; a difference is called one only if its interval leaves out zero and
covers seeds."""
LIMITS = """\
- Intervals are not corrected for their number: of twenty comparisons of equal arms, one is
  expected to look like a difference.
- Minutes depend on the machine and on what else it does; tokens and steps do not.
- Arms with one seed say little about the arm: two seeds of one arm differ as well.
- The suite has 600 problems in the pretraining generator's style and around it. A gain there
  is no claim about other kinds of problems, or about larger models."""


def build(folder: Path) -> Path:
    """Draw and write the report of the results in `folder`. Raises InputError."""
    comparison = compare(read_all(folder))
    drawn: list[str] = []
    for plot in PLOTS:
        figure = plot.draw(comparison)
        path = folder / plot.file_name
        if figure is None:
            path.unlink(missing_ok=True)
            continue
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
        drawn.append(f"### {plot.title}\n\n{plot.caption}\n\n![{plot.title}]({plot.file_name})")
    text = markdown(comparison, read_failures(folder), drawn)
    (folder / REPORT).write_text(text, encoding="utf-8")
    return folder / REPORT


def markdown(
    comparison: Comparison, failures: Sequence[Failure] = (), plots: Sequence[str] = ()
) -> str:
    """The report's text."""
    parts = [
        "# Does self-play learn?",
        "Written by `azr experiment report` from the JSON files beside it; `azr experiment"
        " learning` makes those.",
        "## What can be said",
        "\n".join(f"- {said}" for said in sentences.conclusions(comparison)),
        "## The arms",
        _arms_table(comparison),
        *_failed(failures),
        "## Before and after, self-play",
        *_before_and_after(comparison),
        *_asynchrony(comparison),
        *_findings(comparison),
        *(["## Plots", *plots] if plots else []),
        "## How it was measured",
        HOW,
        _machines([comparison.base, *(r for arm in comparison.arms for r in arm.results)]),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _arms_table(comparison: Comparison) -> str:
    base = statistics.score(comparison.base.final)
    rows: list[tuple[str, ...]] = [
        ("arm", "question", "seeds", "minutes", "steps", "M tokens", "CPU min", "after, %",
         "gain, points", "self-play minus it"),
        ("base", ARMS["base"].question, "", "", "", "", "", _percent(base), "", ""),
    ]  # fmt: skip
    rows += [_arm_row(comparison, arm) for arm in comparison.arms]
    return _table(rows)


def _arm_row(comparison: Comparison, arm: Seeds) -> tuple[str, ...]:
    gain, behind = comparison.gain(arm), comparison.behind_selfplay(arm)
    mean_after = gain.mean + statistics.score(comparison.base.final).mean
    cpu = [result.cpu_seconds / 60 for result in arm.results if result.cpu_seconds is not None]
    note = "" if gain.covers_seeds else " (problems only)"
    return (
        arm.arm,
        ARMS[arm.arm].question,
        ", ".join(str(result.seed) for result in arm.results),
        _range([result.played_seconds / 60 for result in arm.results]),
        _range([float(result.steps) for result in arm.results]) if arm.results[0].steps else "",
        _range([result.tokens / 1e6 for result in arm.results], 1),
        _range(cpu) if cpu else "",
        f"{100 * mean_after:.1f}",
        f"{sentences.points(gain.mean)} {sentences.interval(gain.interval)}{note}",
        f"{sentences.points(behind.mean)} {sentences.interval(behind.interval)}" if behind else "",
    )


def _before_and_after(comparison: Comparison) -> list[str]:
    arm = comparison.selfplay
    if arm is None:
        return ["There is no result yet."]
    per_seed: list[tuple[str, ...]] = [
        ("seed", "before, %", "after, %", "gain over the problems, points")
    ]
    for result in arm.results:
        own = statistics.gain(comparison.base.final, [result.final])
        before, after = (
            statistics.score(outcomes) for outcomes in (comparison.base.final, result.final)
        )
        gain = f"{sentences.points(own.mean)} {sentences.interval(own.over_problems)}"
        per_seed.append((str(result.seed), _percent(before), _percent(after), gain))
    rows: list[tuple[str, ...]] = [("", "decoding", "before, %", "after, %", "gain, points")]
    for greedy in (True, False) if comparison.base.final.samples else (True,):
        views = [View(greedy=greedy)]
        views += [View(task_type=task_type, greedy=greedy) for task_type in MAIN_TYPES]
        views += [View(split=split, greedy=greedy) for split in Split]
        rows += [_view_row(comparison, arm, view) for view in views]
    return [_table(per_seed), _table(rows)]


def _view_row(comparison: Comparison, arm: Seeds, view: View) -> tuple[str, ...]:
    before, gain = statistics.score(comparison.base.final, view), comparison.gain(arm, view)
    return (
        str(view.task_type or view.split or "all"),
        "greedy" if view.greedy else "temperature 1",
        f"{100 * before.mean:.1f}",
        f"{100 * (before.mean + gain.mean):.1f}",
        f"{sentences.points(gain.mean)} {sentences.interval(gain.interval)}",
    )


def _asynchrony(comparison: Comparison) -> list[str]:
    said = sentences.asynchrony(comparison)
    return [] if said is None else ["## Asynchronous against synchronous", said]


def _findings(comparison: Comparison) -> list[str]:
    """What went wrong inside runs: every one of self-play's, and how many of other arms."""
    lines = [
        f"- `{arm.arm}`, seed {result.seed}: {said}"
        for arm in comparison.arms
        if arm is comparison.selfplay
        for result in arm.results
        for said in result.findings or ("nothing was found",)
    ]
    lines += [
        f"- `{arm.arm}`, findings by seed: "
        + ", ".join(str(len(result.findings)) for result in arm.results)
        for arm in comparison.arms
        if arm is not comparison.selfplay and any(result.findings for result in arm.results)
    ]
    said = (
        "Collapse, drift and reward hacking, as `azr diagnose` sees them (docs/failure-modes.md):"
    )
    return ["## What the detectors found", said, "\n".join(lines)] if lines else []


def _failed(failures: Sequence[Failure]) -> list[str]:
    if not failures:
        return []
    lines = [f"- `{each.arm}`, seed {each.seed}: {each.reason}" for each in failures]
    return ["Trials that failed, and are left out:", "\n".join(lines)]


def _machines(results: Sequence[TrialResult]) -> str:
    found = dict.fromkeys(
        ", ".join(
            [
                f"{result.machine.cores} cores of {result.machine.cpu}",
                *filter(None, [result.machine.gpu]),
                *(f"{name} {version}" for name, version in result.machine.versions.items()),
            ]
        )
        for result in results
    )
    presets = dict.fromkeys(
        f"preset `{result.preset}`, model `{result.config['run']['model']}`, {result.suite}"
        for result in results
    )
    return "\n".join(f"- {line}" for line in (*found, *presets))


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *body])


def _percent(estimate: Estimate) -> str:
    mean, low, high = (100 * end for end in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def _range(values: Sequence[float], digits: int = 0) -> str:
    """`12` or `12 to 15`."""
    low, high = (f"{end:,.{digits}f}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
