"""Seed files of the reference implementation: JSON lines, a task in each.

Deduction and abduction share a form, {snippet, input, output, imports, ...}; an
induction row is {snippet, inputs, outputs, message, imports, ...}, and an error row
{snippet, input, error, imports, ...}, with the name of a class. Programs and
recorded outputs are other people's text: programs run in the jail only, and the
outputs that enter the buffers are the jail's own. A recorded output that differs is
counted, not trusted: the reference cuts outputs at 400 characters and writes values
that are no literals as their repr.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.errors import ConfigError
from azr.judging import Fits
from azr.ports import Sandbox
from azr.prompts import PromptFamily
from azr.task_types import PAIR_TYPES
from azr.types import Proposal, Rejection, TaskDraft, TaskType, Value
from azr.validation import task_from
from azr.values import equal


@dataclass(frozen=True, slots=True)
class SeedRow:
    """A row that has the right form."""

    line: int
    """From 1."""
    proposal: Proposal
    outputs: tuple[str, ...]
    """As recorded in the file; of an error row, the name as a literal."""
    is_induction: bool
    is_error: bool = False

    @property
    def task_type(self) -> TaskType:
        """Its own, or deduction for one that serves deduction and abduction alike."""
        if self.is_error:
            return TaskType.ERROR
        return TaskType.INDUCTION if self.is_induction else TaskType.DEDUCTION

    def may_become(self, task_types: Sequence[TaskType]) -> bool:
        """Whether it has the form of a task of one of these types.

        Error tasks can also be made of the programs of deduction and abduction rows.
        """
        if self.is_induction or self.is_error:
            return self.task_type in task_types
        return bool(_pair_types(task_types)) or TaskType.ERROR in task_types


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that did not become a task."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Validated:
    """What one row became."""

    drafts: tuple[TaskDraft, ...]
    """One for each of the wanted types."""
    agrees: bool | None
    """Whether the recorded outputs are the jail's; None if they were not compared."""


def read_rows(path: Path) -> Iterator[SeedRow | Refusal]:
    """The rows of a file, in order; empty lines are skipped.

    Raises ConfigError if the file cannot be read as text.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row(number, line)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"{path} cannot be read: {reason}", hint="Give a JSON-lines seed file."
        ) from error


def read_seeds(path: Path, task_types: Sequence[TaskType]) -> list[SeedRow]:
    """The rows of a file that could become tasks of these types.

    Raises ConfigError if it cannot be read, or has none for one of the types.
    """
    rows = list(read_rows(path))
    refusals = [row for row in rows if isinstance(row, Refusal)]
    useful = [row for row in rows if isinstance(row, SeedRow) and row.may_become(task_types)]
    for task_type in task_types:
        if not any(row.may_become([task_type]) for row in useful):
            field = "inputs" if task_type is TaskType.INDUCTION else "input"
            first = f"; line {refusals[0].line}: {refusals[0].reason}" if refusals else ""
            raise ConfigError(
                f"{path} has no row for {task_type} tasks, one with `{field}`{first}",
                hint="Add such rows (`azr tasks generate` makes some), or leave the type out"
                " of selfplay.task_types.",
            )
    return useful


def file_row(proposal: Proposal, outputs: Sequence[str], task_type: TaskType) -> dict[str, Any]:
    """A task in the form of a file's row; `outputs` as by `azr.raised.shown_output`."""
    program = proposal.program
    imports = [line for line in program.splitlines() if line.startswith(("import ", "from "))]
    if task_type is TaskType.INDUCTION:
        return {
            "snippet": program,
            "inputs": list(proposal.arguments),
            "outputs": list(outputs),
            "message": proposal.message,
            "imports": imports,
        }
    [arguments], [output] = proposal.arguments, outputs
    if task_type is TaskType.ERROR:
        return {"snippet": program, "input": arguments, "error": output, "imports": imports}
    return {
        "snippet": program,
        "input": arguments,
        "output": output,
        "imports": imports,
        "original_snippet": program,
        "composite_functions": [],
    }


async def validate(
    row: SeedRow,
    task_types: Sequence[TaskType],
    *,
    sandbox: Sandbox,
    fits: Fits,
    family: PromptFamily,
    compare: bool,
) -> Validated | Refusal:
    """What is asked of any proposal: it runs, and solvers can be given its prompt.

    A row with one pair becomes a task of each of the types; one with several, an
    induction task, and one with an error, an error task. `compare` asks the jail for the
    recorded outputs' values, too.
    """
    is_pair = row.task_type in PAIR_TYPES
    wanted = _pair_types(task_types) if is_pair else [row.task_type]
    outcomes = await sandbox.validate(
        row.proposal.program, row.proposal.arguments, failing=row.is_error
    )
    drafts: list[TaskDraft] = []
    for task_type in wanted:
        draft = task_from(task_type, row.proposal, outcomes)
        if isinstance(draft, Rejection):
            detail = f" ({draft.detail})" if draft.detail else ""
            return Refusal(row.line, f"{draft.verdict}{detail}")
        if not fits(family.solve(draft)):
            return Refusal(row.line, f"its {task_type} prompt would be too long for this run")
        drafts.append(draft)
    if not compare:
        return Validated(tuple(drafts), agrees=None)
    agrees = await _agrees(row, [example.output for example in drafts[0].examples], sandbox)
    return Validated(tuple(drafts), agrees)


def _pair_types(task_types: Sequence[TaskType]) -> list[TaskType]:
    return [kind for kind in task_types if kind in PAIR_TYPES]


async def _agrees(row: SeedRow, outputs: Sequence[Value], sandbox: Sandbox) -> bool:
    recorded = await sandbox.parse_literals(row.outputs)
    return all(
        found.value is not None and equal(found.value, output)
        for found, output in zip(recorded, outputs, strict=True)
    )


def _row(number: int, line: str) -> SeedRow | Refusal:
    try:
        fields = json.loads(line)
    except ValueError as error:
        return Refusal(number, f"not JSON: {error}")
    if not isinstance(fields, dict):
        return Refusal(number, "not a JSON object")
    is_induction = "inputs" in fields
    is_error = "error" in fields and not is_induction
    inputs = fields.get("inputs") if is_induction else [fields.get("input")]
    outputs = fields.get("outputs") if is_induction else [fields.get("output")]
    if is_error:
        name = fields.get("error")
        outputs = [repr(name) if isinstance(name, str) else name]
    program, message = fields.get("snippet"), fields.get("message", "")
    problem = _problem(program, inputs, outputs, message)
    if problem is not None:
        return Refusal(number, problem)
    return SeedRow(
        line=number,
        proposal=Proposal(
            program=_with_imports(program, fields.get("imports")),
            arguments=tuple(inputs or ()),
            message=message if is_induction else "",
        ),
        outputs=tuple(outputs or ()),
        is_induction=is_induction,
        is_error=is_error,
    )


def _problem(program: Any, inputs: Any, outputs: Any, message: Any) -> str | None:  # noqa: ANN401
    """What is wrong with the form of a row, if anything."""
    if not isinstance(program, str) or not program.strip():
        return "no program: `snippet` must be text"
    if not _are_texts(inputs) or not _are_texts(outputs):
        return (
            "no values: `input` and `output` or `error` (or lists `inputs` and `outputs`)"
            " must be text"
        )
    if len(inputs) != len(outputs):
        return f"{len(inputs)} inputs but {len(outputs)} outputs"
    if len(inputs) == 0:
        return "no input/output pairs"
    return None if isinstance(message, str) else "`message` must be text"


def _are_texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(text, str) for text in found)


def _with_imports(program: str, imports: object) -> str:
    """The program with the import lines that its row lists and it lacks."""
    lines = [line for line in imports if isinstance(line, str)] if isinstance(imports, list) else []
    missing = [line for line in lines if line.strip() and line.strip() not in program]
    return "\n".join([*missing, program])
