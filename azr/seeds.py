"""Random choices that do not depend on who makes them, or when.

Every draw is keyed by what it is for (`"references", "deduction", slot 17`), so
the synchronous telling and the asynchronous actors draw the same, and a retried
admission repeats its prompt.
"""

from __future__ import annotations

import hashlib
import random


def derive_seed(root: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose under the run's root seed."""
    text = "\x1f".join(str(part) for part in (root, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def draw_without_replacement(population: int, count: int, seed: int) -> list[int]:
    """`min(count, population)` distinct indices below `population`, uniform, in drawn order."""
    return random.Random(seed).sample(range(population), min(count, population))  # noqa: S311


def draw_for_replay(population: int, count: int, seed: int) -> list[int]:
    """`count` indices below `population`: distinct while they last, then repeated."""
    rng = random.Random(seed)  # noqa: S311
    indices: list[int] = []
    while population and len(indices) < count:
        indices += rng.sample(range(population), min(count - len(indices), population))
    return indices
