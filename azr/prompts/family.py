"""The one interface of all wordings, and what is done with any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from azr.types import Task, TaskDraft, TaskType


class PromptFamily(Protocol):
    """The wording of the prompts, two for each task type."""

    def propose(
        self,
        task_type: TaskType,
        references: Sequence[Task],
        *,
        num_pairs: int,
        composites: Sequence[str] = (),
    ) -> str:
        """Ask for a new task. Induction shows its one program in `references[0]`.

        `composites` are sources of functions g_0, g_1, ... that the new program must call,
        each of them, and may not define again (`azr.composition`).
        """
        ...

    def solve(self, task: TaskDraft) -> str:
        """Pose a task, hiding what its type hides."""
        ...


def propose_within(
    family: PromptFamily,
    task_type: TaskType,
    references: Sequence[Task],
    *,
    num_pairs: int,
    fits: Callable[[str], bool],
    composites: Sequence[str] = (),
) -> str:
    """A proposal prompt with as many of the references, first ones first, as fit.

    Induction needs its one program and is returned as it is; `composites` all stay.
    """
    kept = list(references)
    while True:
        prompt = family.propose(task_type, kept, num_pairs=num_pairs, composites=composites)
        if fits(prompt) or not kept or task_type is TaskType.INDUCTION:
            return prompt
        kept.pop()
