"""TRR++: one advantage per trajectory, normalised within its (role, task type) cell.

A = (r - mean) / std over the cell's rows of the batch (arXiv 2505.03335, section 3.3.5).
The six cells never mix: a proposer's reward and a solver's have different scales, and
so have the three task types. The response's tokens share the one advantage. lambda, the
proposer's weight, is no part of it; it enters the loss (`azr.losses`).

With `baseline="task"` a solver's row i is compared with the other n - 1 rows of its task
in the batch, leaving itself out, on the scale of its cell:

    A_i = (r_i - mean_{j != i} r_j) / std = (n r_i - sum_j r_j) / ((n - 1) std)

which is exactly 0 where all attempts at a task earned the same. A row that is alone with
its task has nothing to be compared with but its cell; so has every proposal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from azr.types import Batch, Cell, Role, Trajectory

type Whitening = Literal["sequence", "token"]
type Baseline = Literal["cell", "task"]

VARIANCE_FLOOR = 1e-8
"""Added to the token-weighted variance, as the official code does."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and standard deviation of one cell's rewards."""

    mean: float
    std: float
    """0 when all rewards are equal."""


def normalise(batch: Batch, *, whitening: Whitening, baseline: Baseline = "cell") -> list[float]:
    """Advantages in the order of `batch.trajectories`.

    Args:
        batch: rows of any cells; a missing cell is no error.
        whitening: "sequence" counts every row once and divides by the population
            deviation (the paper's formula). "token" counts a row as often as its
            response has tokens and uses the sample variance over tokens, so long
            responses set the scale (the official code).
        baseline: "cell" subtracts the cell's mean; "task" subtracts from a solver's
            reward the mean of the other rows of its task, all counting once.
    """
    measure = _token_moments if whitening == "token" else _row_moments
    moments = {
        cell: measure([batch.trajectories[index] for index in members])
        for cell, members in _members(batch).items()
    }
    advantages = [_standardise(row.reward, moments[row.cell]) for row in batch.trajectories]
    if baseline == "task":
        for index, margin in _margins(batch).items():
            std = moments[batch.trajectories[index].cell].std
            advantages[index] = margin / std if std else 0.0
    return advantages


def reward_metrics(batch: Batch, advantages: Sequence[float]) -> dict[str, float]:
    """Both readings of every cell's mean, by row and by token, and response lengths.

    Names end in the cell, for example `reward/solve/deduction`, `reward_tokens/...`
    (length-weighted), `advantage_mean/...`, `advantage_mean_tokens/...` and
    `response_tokens/...`; `reward_std/...` is the population deviation over rows.
    """
    metrics: dict[str, float] = {}
    for cell, members in _members(batch).items():
        rows = [batch.trajectories[index] for index in members]
        own = [advantages[index] for index in members]
        by_row, by_token = _row_moments(rows), _token_moments(rows)
        lengths = [len(row.token_ids) for row in rows]
        metrics |= {
            f"reward/{cell}": by_row.mean,
            f"reward_tokens/{cell}": by_token.mean,
            f"reward_std/{cell}": by_row.std,
            f"advantage_mean/{cell}": sum(own) / len(own),
            f"advantage_mean_tokens/{cell}": _weighted_mean(own, lengths),
            f"response_tokens/{cell}": sum(lengths) / len(lengths),
        }
    return metrics


def _members(batch: Batch) -> dict[Cell, list[int]]:
    """Indices of each cell's rows, in batch order."""
    members: dict[Cell, list[int]] = {}
    for index, row in enumerate(batch.trajectories):
        members.setdefault(row.cell, []).append(index)
    return members


def _margins(batch: Batch) -> dict[int, float]:
    """Reward minus the mean of the task's other rows, for rows that have company."""
    groups: dict[tuple[Cell, int], list[int]] = {}
    for index, row in enumerate(batch.trajectories):
        if row.cell.role is Role.SOLVE:
            groups.setdefault((row.cell, row.group), []).append(index)
    margins: dict[int, float] = {}
    for members in groups.values():
        rewards = [batch.trajectories[index].reward for index in members]
        total, others = math.fsum(rewards), len(members) - 1
        for index, reward in zip(members, rewards, strict=True):
            if others:
                margins[index] = (len(members) * reward - total) / others
    return margins


def _row_moments(rows: Sequence[Trajectory]) -> Moments:
    rewards = [row.reward for row in rows]
    mean = math.fsum(rewards) / len(rewards)
    if min(rewards) == max(rewards):
        return Moments(mean=mean, std=0.0)
    variance = math.fsum((reward - mean) ** 2 for reward in rewards) / len(rewards)
    return Moments(mean=mean, std=math.sqrt(variance))


def _token_moments(rows: Sequence[Trajectory]) -> Moments:
    rewards = [row.reward for row in rows]
    lengths = [len(row.token_ids) for row in rows]
    mean = _weighted_mean(rewards, lengths)
    if min(rewards) == max(rewards) or sum(lengths) < 2:  # Bessel divides by n - 1
        return Moments(mean=mean, std=0.0)
    squares = math.fsum(
        length * (reward - mean) ** 2 for reward, length in zip(rewards, lengths, strict=True)
    )
    return Moments(mean=mean, std=math.sqrt(squares / (sum(lengths) - 1) + VARIANCE_FLOOR))


def _weighted_mean(values: Sequence[float], weights: Sequence[int]) -> float:
    total = sum(weights)
    if total == 0:
        return 0.0
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total


def _standardise(reward: float, moments: Moments) -> float:
    # Equal rewards carry no preference: zero, not 0/0.
    return 0.0 if moments.std == 0.0 else (reward - moments.mean) / moments.std
