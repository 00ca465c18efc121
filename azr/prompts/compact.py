"""The compact family: the tiny model's own.

It has no instructions, only the role, the task type and fenced blocks, because a model
of a few million parameters learns the meaning of the role words in pretraining.
"""

from __future__ import annotations

from collections.abc import Sequence

from azr.prompts.contract import THINK_OPEN, fence
from azr.raised import class_name
from azr.types import Example, Role, Task, TaskDraft, TaskType
from azr.values import literal


class CompactPrompts:
    """Role, task type, blocks; nothing else."""

    def propose(
        self,
        task_type: TaskType,
        references: Sequence[Task],
        *,
        num_pairs: int,
        composites: Sequence[str] = (),
    ) -> str:
        head = f"{Role.PROPOSE} {task_type}"
        if task_type is TaskType.INDUCTION:
            (described,) = references
            return f"{head} {num_pairs}\n{fence('python', described.program)}{THINK_OPEN}"
        shown = "".join(fence("python", source) for source in composites)
        shown += "".join(self._reference(task) for task in references)
        return f"{head}\n{shown}{THINK_OPEN}"

    def solve(self, task: TaskDraft) -> str:
        blocks = {
            TaskType.DEDUCTION: self._deduction,
            TaskType.ABDUCTION: self._abduction,
            TaskType.INDUCTION: self._induction,
            TaskType.ERROR: self._deduction,
        }[task.task_type](task)
        return f"{Role.SOLVE} {task.task_type}\n{blocks}{THINK_OPEN}"

    def _reference(self, task: Task) -> str:
        example = task.examples[0]
        if task.task_type is TaskType.ERROR:
            pair = fence("input", example.arguments) + fence("error", class_name(example.output))
        else:
            pair = self._pair(example)
        return fence("python", task.program) + pair

    def _pair(self, example: Example) -> str:
        return fence("input", example.arguments) + fence("output", literal(example.output))

    def _deduction(self, task: TaskDraft) -> str:
        return fence("python", task.program) + fence("input", task.examples[0].arguments)

    def _abduction(self, task: TaskDraft) -> str:
        return fence("python", task.program) + fence("output", literal(task.examples[0].output))

    def _induction(self, task: TaskDraft) -> str:
        pairs = "".join(self._pair(example) for example in task.shown)
        return pairs + fence("message", task.message)
