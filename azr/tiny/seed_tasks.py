"""Tasks for runs that are given theirs: fresh draws of the pretraining generator."""

from __future__ import annotations

import random
from collections.abc import Iterator

from azr.seeds import derive_seed
from azr.tiny.reserved import is_reserved
from azr.tiny.samples import draw_worked_task
from azr.types import Proposal, TaskType


def draw_seed_tasks(
    task_type: TaskType, *, count: int, seed: int, num_pairs: int
) -> Iterator[tuple[Proposal, tuple[str, ...]]]:
    """`count` different tasks with their outputs as text; no program kept for evaluation.

    Deduction and abduction tasks are the same ones: a program with one pair.
    """
    one_pair = task_type is not TaskType.INDUCTION
    purpose = "one pair" if one_pair else "many pairs"
    rng = random.Random(derive_seed(seed, "seed tasks", purpose))  # noqa: S311
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while len(seen) < count:
        task, outputs = draw_worked_task(rng, task_type, num_pairs=num_pairs)
        key = (task.program, task.arguments)
        if key not in seen and not is_reserved(task.program):
            seen.add(key)
            yield task, outputs
