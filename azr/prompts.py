"""The six prompts: two roles times three task types, in one family of wording.

Every family keeps one contract, whatever its wording: the prompt ends inside an
opened `<think>`; the response thinks, closes it, and gives its answer in fenced
blocks between `<answer>` and `</answer>`. `azr.parsing` reads the contract, so a
family only has to word the question.

The compact family is the tiny model's own. It has no instructions, only the role,
the task type and fenced blocks, because a model of a few million parameters learns
the meaning of the role words in pretraining.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from azr.types import Example, Role, Task, TaskDraft, TaskType
from azr.values import literal

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"


def fence(tag: str, body: str) -> str:
    """One fenced block with its trailing newline."""
    return f"```{tag}\n{body}\n```\n"


class PromptFamily(Protocol):
    """The wording of the six prompts."""

    def propose(self, task_type: TaskType, references: Sequence[Task], *, num_pairs: int) -> str:
        """Ask for a new task. Induction shows its one program in `references[0]`."""
        ...

    def solve(self, task: TaskDraft) -> str:
        """Pose a task, hiding what its type hides."""
        ...


class CompactPrompts:
    """Role, task type, blocks; nothing else."""

    def propose(self, task_type: TaskType, references: Sequence[Task], *, num_pairs: int) -> str:
        head = f"{Role.PROPOSE} {task_type}"
        if task_type is TaskType.INDUCTION:
            (described,) = references
            return f"{head} {num_pairs}\n{fence('python', described.program)}{THINK_OPEN}"
        shown = "".join(self._reference(task) for task in references)
        return f"{head}\n{shown}{THINK_OPEN}"

    def solve(self, task: TaskDraft) -> str:
        blocks = {
            TaskType.DEDUCTION: self._deduction,
            TaskType.ABDUCTION: self._abduction,
            TaskType.INDUCTION: self._induction,
        }[task.task_type](task)
        return f"{Role.SOLVE} {task.task_type}\n{blocks}{THINK_OPEN}"

    def _reference(self, task: Task) -> str:
        return fence("python", task.program) + self._pair(task.examples[0])

    def _pair(self, example: Example) -> str:
        return fence("input", example.arguments) + fence("output", literal(example.output))

    def _deduction(self, task: TaskDraft) -> str:
        return fence("python", task.program) + fence("input", task.examples[0].arguments)

    def _abduction(self, task: TaskDraft) -> str:
        return fence("python", task.program) + fence("output", literal(task.examples[0].output))

    def _induction(self, task: TaskDraft) -> str:
        pairs = "".join(self._pair(example) for example in task.shown)
        return pairs + fence("message", task.message)


FAMILIES: dict[str, PromptFamily] = {"compact": CompactPrompts()}


def propose_within(
    family: PromptFamily,
    task_type: TaskType,
    references: Sequence[Task],
    *,
    num_pairs: int,
    fits: Callable[[str], bool],
) -> str:
    """A proposal prompt with as many of the references, first ones first, as fit.

    Induction needs its one program and is returned as it is.
    """
    kept = list(references)
    while True:
        prompt = family.propose(task_type, kept, num_pairs=num_pairs)
        if fits(prompt) or not kept or task_type is TaskType.INDUCTION:
            return prompt
        kept.pop()
