"""The first error tasks: programs of other tasks, with inputs on which they fail.

A base model may propose no error at all, and solvers of an empty buffer would wait for
ever. So this needs no model: an argument of a task is exchanged for an awkward one, and the
jail says what comes of it. Classes that are rare so far are taken first, because most
programs raise a TypeError for most wrong arguments.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Sequence

from azr.config import SelfPlaySection
from azr.gates import refusal
from azr.ports import Sandbox
from azr.program_measures import parsed
from azr.prompts import PromptFamily
from azr.raised import class_name
from azr.types import Example, Proposal, TaskDraft, TaskType
from azr.validation import task_from
from azr.values import from_python

ZERO_ERROR = TaskDraft(
    task_type=TaskType.ERROR,
    program="def f(a):\n    return 1 / a",
    examples=(Example("0", from_python("ZeroDivisionError")),),
)
"""Hand-written, for the identity triplet raises nothing."""
AWKWARD = ("[]", "0", "''", "None", "-1", "'a'", "[None]", "{}")
"""Arguments that few functions are made for; each is tried once on a program."""
SOURCES_EACH = 4
"""Programs that are tried for each task that is wanted, at most."""


async def error_seeds(
    sources: Sequence[TaskDraft],
    *,
    count: int,
    sandbox: Sandbox,
    family: PromptFamily,
    fits: Callable[[str], bool],
    play: SelfPlaySection,
) -> list[TaskDraft]:
    """Up to `count` error tasks from programs that run; at least the hand-written one.

    One task of each program first, then second ones. The same for the same sources.
    """
    chosen = [ZERO_ERROR]
    others: list[list[TaskDraft]] = []
    seen: set[tuple[str, str]] = set()
    for source in sources[: SOURCES_EACH * count]:
        if len(chosen) >= count:
            return chosen
        failing = [
            draft
            for draft in await _failing(source, sandbox)
            if _key(draft) not in seen
            and fits(family.solve(draft))
            and refusal(draft, (), play) is None
        ]
        seen.update(map(_key, failing))
        if failing:
            chosen.append(_take_rarest(failing, chosen))
            others.append(failing)
    while len(chosen) < count and any(others):
        for failing in filter(None, others):
            chosen.append(_take_rarest(failing, chosen))
    return chosen[:count]


async def _failing(source: TaskDraft, sandbox: Sandbox) -> list[TaskDraft]:
    calls = awkward_calls(source.examples[0].arguments)
    outcomes = await sandbox.validate(source.program, calls, failing=True)
    drafts = [
        task_from(TaskType.ERROR, Proposal(program=source.program, arguments=(call,)), (outcome,))
        for call, outcome in zip(calls, outcomes, strict=True)
    ]
    return [draft for draft in drafts if isinstance(draft, TaskDraft)]


def awkward_calls(arguments: str) -> list[str]:
    """Argument texts with one argument, another each time, exchanged for an awkward one."""
    own = _positional(arguments) or [arguments]
    calls: list[str] = []
    for index, awkward in enumerate(AWKWARD):
        place = index % len(own)
        calls.append(", ".join([*own[:place], awkward, *own[place + 1 :]]))
    return [call for call in dict.fromkeys(calls) if call != arguments]


def _positional(arguments: str) -> list[str] | None:
    """The texts of the single arguments; None if some are given by name."""
    source = f"f({arguments}\n)"
    tree = parsed(source)
    match tree and tree.body:
        case [ast.Expr(value=ast.Call(args=values, keywords=[]))]:
            return [ast.get_source_segment(source, value) or "" for value in values]
        case _:
            return None


def _take_rarest(failing: list[TaskDraft], chosen: Sequence[TaskDraft]) -> TaskDraft:
    """Remove and return the first draft of the class that was chosen least often."""
    counts = Counter(_name(draft) for draft in chosen)
    place = min(range(len(failing)), key=lambda index: counts[_name(failing[index])])
    return failing.pop(place)


def _name(draft: TaskDraft) -> str:
    return class_name(draft.examples[0].output)


def _key(draft: TaskDraft) -> tuple[str, str]:
    return draft.program, draft.examples[0].arguments
