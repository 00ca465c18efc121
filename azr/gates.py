"""Gates on valid proposals: novelty and leaks, which the paper asks for but does not enforce.

Each is a switch in `[selfplay]`; a refused proposal is invalid with a verdict of its
own, so the store counts what each gate does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from azr.config import SelfPlaySection
from azr.normal_form import arguments_form, logical_lines, program_form
from azr.types import Rejection, Task, TaskDraft, TaskType, Verdict
from azr.values import equal

SHORTEST_LEAK_CHARS = 6
"""Of a statement without its spaces; shorter ones ("x=a") also occur in prose."""
RAISING = frozenset({"raise", "assert", "try", "except"})
"""Words by which a program writes or hides its error (`reject_written_errors`)."""
_CODE = re.compile(r"\bdef\s+\w+\s*\(|\blambda\b[^.\n]*:|```")


def refusal(
    draft: TaskDraft, references: Sequence[Task], play: SelfPlaySection
) -> Rejection | None:
    """Why a gate refuses the draft, or None. `references` are what its proposer was shown."""
    if draft.task_type is TaskType.ERROR and play.reject_written_errors:
        words = {word for line in logical_lines(draft.program) or () for word in line}
        if found := sorted(words & RAISING):
            return Rejection(Verdict.BANNED_CONSTRUCT, found[0])
    if draft.task_type is not TaskType.INDUCTION:
        if play.reject_reference_programs and _repeats_one(draft, references, play):
            return Rejection(Verdict.NOT_NOVEL, "the program of a reference")
        return None
    if play.reject_message_code and (leak := leaked_code(draft)):
        return Rejection(Verdict.LEAKED_MESSAGE, leak[:80])
    if play.reject_repeated_inputs and _hidden_among_shown(draft):
        return Rejection(Verdict.REPEATED_INPUT)
    if play.reject_constant_outputs and is_constant(draft):
        return Rejection(Verdict.CONSTANT_OUTPUT)
    return None


def _repeats_one(draft: TaskDraft, references: Sequence[Task], play: SelfPlaySection) -> bool:
    form = program_form(draft.program, play.same_program)
    return any(program_form(task.program, play.same_program) == form for task in references)


def leaked_code(draft: TaskDraft) -> str:
    """The code in the message: a definition, or a statement of the program; else empty."""
    if found := _CODE.search(draft.message):
        return found[0]
    message = "".join(draft.message.split())
    for line in logical_lines(draft.program) or ():
        words = [word for word in line if word.isprintable()]
        statement = "".join(words).removeprefix("return")
        is_definition = words[:1] == ["def"]
        if not is_definition and len(statement) >= SHORTEST_LEAK_CHARS and statement in message:
            return statement
    return ""


def _hidden_among_shown(draft: TaskDraft) -> bool:
    shown = {arguments_form(example.arguments) for example in draft.shown}
    return any(arguments_form(example.arguments) in shown for example in draft.hidden)


def is_constant(draft: TaskDraft) -> bool:
    """Whether all outputs are equal."""
    first, *others = draft.examples
    return all(equal(first.output, example.output) for example in others)
