"""The lag-0 canary: learner and replica score the same tokens with the same weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from azr.ports import Engine
from azr.types import SamplingRequest

_PROMPTS = ("def f(", "def f(x):\n    return", "```python\n", "```input\n")


async def sample_canary(engine: Engine, *, length_tokens: int = 64) -> list[list[int]]:
    """Token sequences to compare on for the rest of a run, sampled with fixed seeds.

    The policy's own words, because rounding grows with a token's surprise: in
    bfloat16 an untouched replica of the tiny model differs by 0.007 nats on what it
    samples, but by 0.026 on random tokens, more than some real faults do.
    """
    requests = [
        SamplingRequest(prompt=prompt, max_tokens=length_tokens, seed=seed)
        for seed, prompt in enumerate(_PROMPTS)
    ]
    completions = await engine.sample(requests)
    return [[*c.prompt_token_ids, *c.token_ids] for c in completions]


def mean_difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Mean |a - b| over all tokens, in nats; infinite if a value is not finite."""
    pairs = [
        abs(a - b)
        for row, other in zip(ours, theirs, strict=True)
        for a, b in zip(row, other, strict=True)
    ]
    mean = sum(pairs) / len(pairs)
    return mean if math.isfinite(mean) else math.inf
