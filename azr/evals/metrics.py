"""Held-out accuracy as metrics of a run, and read back from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azr.evals.estimates import Estimate
from azr.evals.held_out import Decoding, Report
from azr.task_types import MAIN_TYPES
from azr.types import PolicyVersion, TaskType

PREFIX = "held_out"
PROBLEMS = f"{PREFIX}/problems"
_ENDS = ("", "_low", "_high")


@dataclass(frozen=True, slots=True)
class HeldOutPoint:
    """Greedy accuracy of one policy version, over splits and task types alike."""

    version: PolicyVersion
    num_problems: int
    mean: Estimate
    by_type: Mapping[TaskType, Estimate]


def to_metrics(report: Report) -> dict[str, float]:
    """Names are `held_out/mean`, `held_out/deduction`, ... with `_low` and `_high`."""
    found = {PROBLEMS: float(len(report.problems))}
    for name, task_type in _columns().items():
        estimate = report.score(task_type=task_type, decoding=Decoding.GREEDY)
        ends = (estimate.mean, estimate.low, estimate.high)
        found |= {f"{PREFIX}/{name}{end}": value for end, value in zip(_ENDS, ends, strict=True)}
    return found


def from_metrics(version: PolicyVersion, values: Mapping[str, float]) -> HeldOutPoint:
    """The point that `to_metrics` recorded; `values` by metric name."""

    def estimate(name: str) -> Estimate:
        return Estimate(*(values[f"{PREFIX}/{name}{end}"] for end in _ENDS))

    return HeldOutPoint(
        version=version,
        num_problems=int(values[PROBLEMS]),
        mean=estimate("mean"),
        by_type={task_type: estimate(str(task_type)) for task_type in MAIN_TYPES},
    )


def _columns() -> dict[str, TaskType | None]:
    return {"mean": None, **{str(task_type): task_type for task_type in MAIN_TYPES}}
