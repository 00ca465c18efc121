"""The lag-0 canary: learner and replica score the same tokens with the same weights."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


def canary_sequences(
    vocab_size: int, *, count: int = 4, length: int = 48, seed: int = 0
) -> list[list[int]]:
    """Fixed random token sequences: every row of the embedding may show up, and the
    log-probs are large, so that an error anywhere in the model shows."""
    rng = random.Random(seed)  # noqa: S311
    return [[rng.randrange(vocab_size) for _ in range(length)] for _ in range(count)]


def mean_difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Mean |a - b| over all tokens, in nats; infinite if a value is not finite."""
    pairs = [
        abs(a - b)
        for row, other in zip(ours, theirs, strict=True)
        for a, b in zip(row, other, strict=True)
    ]
    mean = sum(pairs) / len(pairs)
    return mean if math.isfinite(mean) else math.inf
