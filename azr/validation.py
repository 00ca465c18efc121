"""From a parsed proposal and what the jail saw of it to a task, or a rejection.

Integrity (every call returns a value or, for an error task, raises), safety (the jail's
policy) and determinism (equal outcomes within a process and across hash seeds) arrive as
outcomes; this module only decides (paper section 3.3.3, spec/azr.md 1.5).
"""

from __future__ import annotations

from collections.abc import Sequence

from azr.raised import raised
from azr.types import (
    Example,
    Outcome,
    Proposal,
    Rejection,
    TaskDraft,
    TaskType,
    Value,
    Verdict,
)


def task_from(
    task_type: TaskType, proposal: Proposal, outcomes: Sequence[Outcome]
) -> TaskDraft | Rejection:
    """A draft if every call gave what the type hides; else the first failure is the verdict."""
    examples: list[Example] = []
    for arguments, outcome in zip(proposal.arguments, outcomes, strict=True):
        output = raised(outcome) if task_type is TaskType.ERROR else _returned(outcome)
        if isinstance(output, Rejection):
            return output
        examples.append(Example(arguments, output))
    return TaskDraft(
        task_type=task_type,
        program=proposal.program,
        examples=tuple(examples),
        message=proposal.message,
    )


def _returned(outcome: Outcome) -> Value | Rejection:
    if outcome.verdict is not Verdict.OK or outcome.value is None:
        return Rejection(outcome.verdict, outcome.detail)
    return outcome.value
