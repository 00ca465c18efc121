"""What is wrong with the rows of a seed file that have the right form.

A poisoned seed is worse than a missing one: it is attempted and shown as a reference for
the whole run. Everything here is decided on what the jail saw of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from azr.gates import is_constant, leaked_code
from azr.normal_form import arguments_form, task_key
from azr.seed_files import SeedRow
from azr.types import Example, Outcome, Rejection, TaskDraft, Value, Verdict
from azr.validation import task_from
from azr.values import equal


class Poison(StrEnum):
    """A reason to leave a row out."""

    MALFORMED = "malformed"
    """Not a row of a seed file."""
    NONDETERMINISTIC = "nondeterministic"
    OVERSIZED = "oversized"
    """It returns more than `sandbox.max_output_chars`."""
    FAILING = "failing"
    """It does not run, breaks the task policy, or returns what is no value; or it was
    recorded as one that raises, and does not."""
    OTHER_OUTPUT = "other output"
    """The file records another output than the jail saw: cut, stale, or no literal."""
    CONSTANT = "constant"
    """An induction task all of whose outputs are equal."""
    REPEATED_INPUT = "repeated input"
    """A hidden input of an induction task is among the shown ones."""
    LEAKED_MESSAGE = "leaked message"
    """An induction message has code of its program."""
    DUPLICATE = "duplicate"
    """It repeats an earlier row, up to comments and layout."""


OF_VERDICT = {
    Verdict.NONDETERMINISTIC: Poison.NONDETERMINISTIC,
    Verdict.OUTPUT_TOO_LARGE: Poison.OVERSIZED,
}


def poisons(
    row: SeedRow, outcomes: Sequence[Outcome], recorded: Sequence[Outcome]
) -> dict[Poison, str]:
    """What is wrong with a row by itself, with a detail each; empty if all is well.

    Args:
        row: of the right form.
        outcomes: of validating its program on its inputs.
        recorded: of reading its recorded outputs as literals.
    """
    draft = task_from(row.task_type, row.proposal, outcomes)
    if isinstance(draft, Rejection):
        kind = OF_VERDICT.get(draft.verdict, Poison.FAILING)
        return {kind: f"{draft.verdict} {draft.detail}".strip()}
    found: dict[Poison, str] = {}
    for example, read in zip(draft.examples, recorded, strict=True):
        if read.value is None or not equal(read.value, example.output):
            found.setdefault(Poison.OTHER_OUTPUT, f"for f({example.arguments})")
    return found | (_of_pairs(draft) if row.is_induction else {})


def _of_pairs(draft: TaskDraft) -> dict[Poison, str]:
    found: dict[Poison, str] = {}
    if len(draft.examples) > 1 and is_constant(draft):
        found[Poison.CONSTANT] = ""
    shown = {arguments_form(example.arguments) for example in draft.shown}
    again = [pair.arguments for pair in draft.hidden if arguments_form(pair.arguments) in shown]
    if again:
        found[Poison.REPEATED_INPUT] = again[0]
    if leak := leaked_code(draft):
        found[Poison.LEAKED_MESSAGE] = leak
    return found


def duplicates(rows: Sequence[SeedRow]) -> dict[int, int]:
    """Lines of rows that repeat an earlier one, with the line of that one."""
    first: dict[tuple[str, ...], int] = {}
    found: dict[int, int] = {}
    for row in rows:
        key = (row.task_type, *task_key(_draft(row), "tokens"))
        if key in first:
            found[row.line] = first[key]
        else:
            first[key] = row.line
    return found


def _draft(row: SeedRow) -> TaskDraft:
    """Only what makes it a repetition: program and inputs."""
    from_nothing = [Example(text, Value("")) for text in row.proposal.arguments]
    return TaskDraft(
        task_type=row.task_type,
        program=row.proposal.program,
        examples=tuple(from_nothing),
    )
