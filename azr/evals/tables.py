"""Reports in words and in JSON. Shares are printed in percent with their 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from azr.evals.estimates import Estimate
from azr.evals.held_out import Attempt, Decoding, Report
from azr.evals.overlap import Overlap
from azr.evals.problems import Split
from azr.types import PolicyVersion, TaskType

type Column = tuple[str, Decoding, int]
"""Heading, decoding, k."""


def columns(report: Report) -> list[Column]:
    """What there is to show: greedy, and pass@1, pass@N/2 and pass@N at temperature 1."""
    shown: list[Column] = []
    if Decoding.GREEDY in report.decodings():
        shown.append(("greedy", Decoding.GREEDY, 1))
    ks = sorted({1, report.samples // 2, report.samples} - {0}) if report.samples else []
    return shown + [(f"T=1 pass@{k}", Decoding.SAMPLED, k) for k in ks]


def score_table(report: Report) -> str:
    """Per split, a row for each task type and their mean."""
    shown = columns(report)
    lines: list[str] = []
    for split in report.splits:
        rows = [["", *(heading for heading, _, _ in shown)]]
        for task_type in (*_task_types(report, split), None):
            scores = [
                report.score(split, task_type, decoding=decoding, k=k) for _, decoding, k in shown
            ]
            rows.append([task_type or "mean", *map(_percent, scores)])
        count = sum(problem.split is split for problem in report.problems)
        lines += [f"{split} ({count} problems)", *_aligned(rows), ""]
    return "\n".join(lines[:-1])


def structure_table(report: Report) -> str:
    """Share solved by structure of program, all task types together."""
    shown = columns(report)
    rows = [["", "problems", *(heading for heading, _, _ in shown)]]
    structures = sorted({(item.split, item.structure) for item in report.problems}, reverse=True)
    for split, structure in structures:
        part = report.part(lambda p, key=(split, structure): (p.split, p.structure) == key)
        shares = [
            f"{100 * fmean(chain(*part.values(decoding=decoding, k=k))):5.1f}"
            for _, decoding, k in shown
        ]
        rows.append([f"{split}: {structure}", str(len(part.problems)), *shares])
    return "\n".join(_aligned(rows))


def curve_table(curve: Mapping[PolicyVersion, Report]) -> str:
    """Per split, a row for each checkpoint; the gain is over the first, problem by problem."""
    start, first = next(iter(curve.items()))
    shown = columns(first)
    heading, decoding, _ = next((c for c in shown if c[1] is Decoding.SAMPLED), shown[0])
    lines: list[str] = []
    for split in first.splits:
        types = _task_types(first, split)
        rows = [["step", *types, "mean", "gain"]]
        for version, report in curve.items():
            by_type = [
                f"{100 * report.score(split, kind, decoding=decoding).mean:5.1f}" for kind in types
            ]
            gain = report.gain_over(first, split, decoding=decoding)
            rows.append(
                [
                    str(version),
                    *by_type,
                    _percent(report.score(split, decoding=decoding)),
                    "" if version == start else _percent(gain, signed=True),
                ]
            )
        lines += [f"{split}, {heading}", *_aligned(rows), ""]
    return "\n".join(lines[:-1])


def before_and_after(before: Report, after: Report, *, decoding: Decoding) -> str:
    """A line for each split: mean pass@1 of two policies on the same problems, and the gain."""
    rows = [["held-out", "before", "after", "gain"]]
    for split in before.splits:
        scores_of_both = (report.score(split, decoding=decoding) for report in (before, after))
        gain = after.gain_over(before, split, decoding=decoding)
        rows.append([split, *map(_percent, scores_of_both), _percent(gain, signed=True)])
    return "\n".join(_aligned(rows))


def overlap_line(overlap: Overlap) -> str:
    """What self-play met of the suite, in one sentence."""
    met = ", ".join(
        f"{overlap.tasks.get(split, 0):,} on {overlap.problems.get(split, 0):,} {split} problems"
        for split in Split
    )
    return (
        f"overlap: of the run's {overlap.num_tasks:,} tasks, these repeat the program of a"
        f" problem up to renaming: {met}"
    )


def scores(report: Report) -> list[dict[str, Any]]:
    """Every figure of a report, as JSON rows; `task_type` "mean" weighs the types alike."""
    ks = [k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k < report.samples]
    shown = [(Decoding.GREEDY, 1)] if Decoding.GREEDY in report.decodings() else []
    shown += [(Decoding.SAMPLED, k) for k in [*ks, report.samples] if k]
    return [
        {
            "split": split,
            "task_type": task_type or "mean",
            "decoding": decoding,
            "k": k,
            "num_problems": sum(map(len, report.values(split, task_type, decoding=decoding))),
            **_fields(report.score(split, task_type, decoding=decoding, k=k)),
        }
        for split in report.splits
        for task_type in (*_task_types(report, split), None)
        for decoding, k in shown
    ]


def attempt_row(attempt: Attempt, version: PolicyVersion) -> dict[str, Any]:
    """A response and its verdict, as one JSON row."""
    problem, completion, grade = attempt.problem, attempt.completion, attempt.grade
    return {
        "version": version,
        "problem": problem.problem_id,
        "structure": problem.structure,
        "decoding": attempt.decoding,
        "sample": attempt.sample,
        "solved": grade.solved,
        "judgement": grade.judgement,
        "verdict": grade.verdict,
        "num_tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "response": completion.text,
    }


def _task_types(report: Report, split: Split) -> list[TaskType]:
    held = {problem.task.task_type for problem in report.problems if problem.split is split}
    return [task_type for task_type in TaskType if task_type in held]


def _fields(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}


def _percent(estimate: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return (
        f"{100 * estimate.mean:{sign}5.1f} [{100 * estimate.low:{sign}.1f}"
        f" to {100 * estimate.high:{sign}.1f}]"
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
