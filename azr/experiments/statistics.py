"""Gains and differences with their intervals, from results alone.

Two things are left to chance: which problems are in the suite, and how a training run
happens to go. Every interval is 95 % and says which of them it covers.

* *over problems*: paired by problem, of means over the seeds at hand (normal).
* *over seeds*: t interval of the seeds' gains on these very problems.
* *over both*: the half-widths of the two added as squares. Chance that belongs to a
  pair of seed and problem is in both, so this is rather too wide than too narrow.

With one seed there is no interval over seeds; the one over problems then stands alone,
and `covers_seeds` is False. Scores weigh the task types and the splits alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

from azr.evals.estimates import Estimate, mean_of_groups, paired_gain
from azr.evals.problems import Problem, Split, held_out_suite
from azr.experiments.results import DIGITS, Outcomes
from azr.types import TaskType

T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom."""

type Groups = list[list[float]]
"""A score in [0, 1] for each problem, grouped by split and task type."""


@dataclass(frozen=True, slots=True)
class View:
    """Which answers are looked at."""

    split: Split | None = None
    task_type: TaskType | None = None
    greedy: bool = True
    """Else the share of responses at temperature 1 that are right."""


WHOLE = View()
"""The main figure: greedy, both splits and all task types alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much higher one side scores than the other, 0.1 being ten points."""

    mean: float
    over_problems: Estimate
    over_seeds: Estimate | None
    """None with too few seeds to know."""
    seeds: str
    """How many: `3`, or `3 and 1` of two sides."""

    @property
    def covers_seeds(self) -> bool:
        return self.over_seeds is not None

    @property
    def interval(self) -> Estimate:
        """Over both seeds and problems, or over problems alone with one seed."""
        if self.over_seeds is None:
            return self.over_problems
        half = math.hypot(
            self.over_problems.high - self.over_problems.mean,
            self.over_seeds.high - self.over_seeds.mean,
        )
        return Estimate(self.mean, self.mean - half, self.mean + half)

    @property
    def is_told(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval.low > 0 or self.interval.high < 0


def groups(outcomes: Outcomes, view: View = WHOLE) -> Groups:
    """The scores of an evaluation, aligned with every other one of the same problems."""
    found: dict[tuple[Split, TaskType], list[float]] = {}
    for index, problem in enumerate(_problems(outcomes.per_type)):
        key = (problem.split, problem.task.task_type)
        if view.split in (None, key[0]) and view.task_type in (None, key[1]):
            found.setdefault(key, []).append(_score(outcomes, index, greedy=view.greedy))
    return list(found.values())


def score(outcomes: Outcomes, view: View = WHOLE) -> Estimate:
    """Mean accuracy with its interval over problems."""
    return mean_of_groups(groups(outcomes, view))


def gain(base: Outcomes, finals: Sequence[Outcomes], view: View = WHOLE) -> Difference:
    """How much the seeds' weights gained over the base."""
    before = groups(base, view)
    afters = [groups(final, view) for final in finals]
    gains = [_mean(after) - _mean(before) for after in afters]
    over_seeds = None
    if len(gains) > 1:
        half = _t(len(gains) - 1) * stdev(gains) / math.sqrt(len(gains))
        over_seeds = _around(fmean(gains), half)
    over_problems = paired_gain(before, _mean_over_seeds(afters))
    return Difference(
        mean=over_problems.mean,
        over_problems=over_problems,
        over_seeds=over_seeds,
        seeds=str(len(gains)),
    )


def difference(
    ours: Sequence[Outcomes], theirs: Sequence[Outcomes], view: View = WHOLE
) -> Difference:
    """How much higher one arm ends than another; seeds are not paired.

    The spread over seeds is taken to be the same on both sides, so that one side may
    have a single seed; with one on each it stays unknown.
    """
    first, second = ([groups(item, view) for item in side] for side in (ours, theirs))
    over_problems = paired_gain(_mean_over_seeds(second), _mean_over_seeds(first))
    scores = [[_mean(item) for item in side] for side in (first, second)]
    freedom = sum(map(len, scores)) - 2
    over_seeds = None
    if freedom > 0:
        squares = sum((x - fmean(side)) ** 2 for side in scores for x in side)
        spread = squares / freedom * sum(1 / len(side) for side in scores)
        over_seeds = _around(over_problems.mean, _t(freedom) * math.sqrt(spread))
    return Difference(
        mean=over_problems.mean,
        over_problems=over_problems,
        over_seeds=over_seeds,
        seeds=f"{len(first)} and {len(second)}",
    )


@cache
def _problems(per_type: int | None) -> tuple[Problem, ...]:
    return held_out_suite().select(per_type=per_type)


def _score(outcomes: Outcomes, index: int, *, greedy: bool) -> float:
    if greedy:
        return float(outcomes.greedy[index] == "1")
    return DIGITS.index(outcomes.solved[index]) / outcomes.samples


def _mean_over_seeds(seeds: Sequence[Groups]) -> Groups:
    """Per problem, the mean of its scores over the seeds."""
    return [
        [fmean(values) for values in zip(*parts, strict=True)] for parts in zip(*seeds, strict=True)
    ]


def _mean(scores: Groups) -> float:
    return fmean(map(fmean, scores))


def _t(freedom: int) -> float:
    return T_975[min(freedom, len(T_975)) - 1]


def _around(mean: float, half: float) -> Estimate:
    return Estimate(mean, mean - half, mean + half)
