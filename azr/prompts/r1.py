"""The instructed family: what a model that nobody pretrained on this has to be told.

A conversation in plain text, without chat tokens: the outer template says how to think
and to answer, and the six role prompts say what to do. All wording is in templates
(`azr.prompts.templates`); their ingredients are those of the paper's prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azr.prompts.contract import THINK_OPEN
from azr.prompts.templates import Templates
from azr.raised import shown_output
from azr.types import Example, Task, TaskDraft, TaskType
from azr.values import literal


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MODULES = _words(
    "abc array bisect cmath collections collections.abc copy dataclasses decimal enum fractions"
    " functools heapq itertools json json.decoder json.encoder math numbers operator queue re"
    " statistics string textwrap typing unicodedata"
)
"""What the jail's task policy lets a program import; a test holds the two equal."""
REFUSED = _words(
    "__import__ compile datetime eval exec globals hash id input locals logging multiprocessing"
    " open os random secrets socket subprocess sys threading time uuid vars"
)
"""Words that proposers are warned of: the task policy refuses what they are used for."""

_OTHER = {TaskType.DEDUCTION: TaskType.ABDUCTION, TaskType.ABDUCTION: TaskType.DEDUCTION}
_COMMON = {"modules": ", ".join(MODULES), "refused": ", ".join(REFUSED)}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructedPrompts:
    """A role prompt inside the outer template."""

    templates: Templates
    framed: bool = True
    """Off: no outer template; the prompt is the role prompt and an opened think part."""
    swapped_criteria: bool = False
    """Deduction and abduction ask for each other's difficulty, as the official prompts do."""

    def propose(
        self,
        task_type: TaskType,
        references: Sequence[Task],
        *,
        num_pairs: int,
        composites: Sequence[str] = (),
    ) -> str:
        if task_type is TaskType.INDUCTION:
            (described,) = references
            return self._role_prompt(
                "propose_induction", program=described.program, num_inputs=str(num_pairs)
            )
        shown = self._composites(composites) + self._references(references)
        if task_type is TaskType.ERROR:
            return self._role_prompt("propose_error", references=shown)
        aimed_at = _OTHER[task_type] if self.swapped_criteria else task_type
        return self._role_prompt(
            f"propose_{task_type}",
            difficulty=self.templates.fill(f"difficulty_{aimed_at}"),
            references=shown,
        )

    def solve(self, task: TaskDraft) -> str:
        first = task.examples[0]
        parts = {
            TaskType.DEDUCTION: lambda: {"program": task.program, "input": first.arguments},
            TaskType.ABDUCTION: lambda: {"program": task.program, "output": literal(first.output)},
            TaskType.INDUCTION: lambda: {"pairs": self._pairs(task.shown), "message": task.message},
            TaskType.ERROR: lambda: {"program": task.program, "input": first.arguments},
        }[task.task_type]()
        return self._role_prompt(f"solve_{task.task_type}", **parts)

    def ask(self, question: str) -> str:
        """Any question in the outer template, ending inside the opened think part."""
        if not self.framed:
            return f"{question}\n{THINK_OPEN}"
        return self.templates.fill("outer", question=question)

    def _role_prompt(self, name: str, **parts: str) -> str:
        return self.ask(self.templates.fill(name, **_COMMON, **parts).strip())

    def _composites(self, sources: Sequence[str]) -> str:
        """The section with the functions to build on; empty without any."""
        if not sources:
            return ""
        return self.templates.fill("composites", functions="\n\n".join(sources)) + "\n"

    def _references(self, references: Sequence[Task]) -> str:
        """The section with the tasks that were given; empty without any."""
        if not references:
            return ""
        shown = [
            self.templates.fill(
                "reference_error" if task.task_type is TaskType.ERROR else "reference",
                number=str(number),
                program=task.program,
                input=task.examples[0].arguments,
                output=shown_output(task.task_type, task.examples[0].output),
            )
            for number, task in enumerate(references, start=1)
        ]
        return self.templates.fill("references", references="\n\n".join(shown))

    def _pairs(self, examples: Sequence[Example]) -> str:
        shown = [
            self.templates.fill(
                "pair",
                number=str(number),
                input=example.arguments,
                output=literal(example.output),
            )
            for number, example in enumerate(examples, start=1)
        ]
        return "\n".join(shown)
