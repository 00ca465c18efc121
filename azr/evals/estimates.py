"""How certain a measured share is: pass@k, 95 % intervals, paired gains.

Problems are the unit of chance: attempts at one problem are not independent, so every
interval is over problems, and a mean over task types weighs each type alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance, variance

Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def pass_at_k(num_attempts: int, num_solved: int, k: int) -> float:
    """Chance that k attempts drawn without replacement include a solved one.

    The unbiased estimator of Chen et al. 2021 (arXiv:2107.03374), 1 - C(n-c, k) / C(n, k).
    """
    if not 1 <= k <= num_attempts:
        message = f"pass@{k} needs at least {k} attempts, not {num_attempts}"
        raise ValueError(message)
    return 1.0 - math.comb(num_attempts - num_solved, k) / math.comb(num_attempts, k)


def wilson(share: float, trials: float) -> Estimate:
    """Wilson's score interval of a share; `trials` may be an effective number."""
    centre = (share + Z_95**2 / (2 * trials)) / (1 + Z_95**2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + Z_95**2 / (4 * trials**2))
    half = Z_95 / (1 + Z_95**2 / trials) * spread
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def mean_of_groups(groups: Sequence[Sequence[float]]) -> Estimate:
    """The mean of the groups' means; each group holds one value in [0, 1] per problem.

    Wilson's interval on the effective number of trials, share * (1 - share) / variance,
    with the variance over problems within their groups. For one group of zeros and ones
    it is Wilson's own; unlike a bootstrap it does not shrink to nothing at 0 or 1.
    """
    share = fmean(map(fmean, groups))
    spread = sum(pvariance(group) / len(group) for group in groups) / len(groups) ** 2
    trials = share * (1 - share) / spread if spread > 0 else float(sum(map(len, groups)))
    return wilson(share, trials)


def paired_gain(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> Estimate:
    """By how much the mean of the groups' means rose, problem by problem (normal interval)."""
    changes = [
        [new - old for old, new in zip(*pair, strict=True)]
        for pair in zip(before, after, strict=True)
    ]
    gain = fmean(map(fmean, changes))
    spread = sum(variance(group) / len(group) for group in changes if len(group) > 1)
    half = Z_95 * math.sqrt(spread) / len(changes)
    return Estimate(gain, gain - half, gain + half)
