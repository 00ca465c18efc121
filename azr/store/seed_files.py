"""Seed files of the reference implementation: JSON lines, a task in each.

Deduction and abduction share a form, {snippet, input, output, imports, ...}; an
induction row is {snippet, inputs, outputs, message, imports, ...}. Programs and
recorded outputs are other people's text: programs run in the jail only, and the
outputs that enter the buffers are the jail's own. A recorded output that differs is
counted, not trusted: the reference cuts outputs at 400 characters and writes values
that are no literals as their repr.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from azr.errors import ConfigError
from azr.judging import Fits
from azr.ports import Sandbox
from azr.prompts import FAMILIES
from azr.store.history import History
from azr.store.models import TaskRow
from azr.store.states import Origin
from azr.types import Proposal, Rejection, TaskDraft, TaskType, Value
from azr.validation import task_from
from azr.values import equal, literal

PAIR_TYPES = (TaskType.DEDUCTION, TaskType.ABDUCTION)
ROWS_PER_FETCH = 500


@dataclass(frozen=True, slots=True)
class SeedRow:
    """A row that has the right form."""

    line: int
    """From 1."""
    proposal: Proposal
    outputs: tuple[str, ...]
    """As recorded in the file."""
    is_induction: bool


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
    agrees: bool
    """Whether the recorded outputs are the jail's."""


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


async def validate(
    row: SeedRow, task_types: Sequence[TaskType], *, sandbox: Sandbox, fits: Fits, family: str
) -> Validated | Refusal:
    """What is asked of any proposal: it runs, and solvers can be given its prompt."""
    wanted = [TaskType.INDUCTION] if row.is_induction else list(task_types)
    outcomes = await sandbox.validate(row.proposal.program, row.proposal.arguments)
    drafts: list[TaskDraft] = []
    for task_type in wanted:
        draft = task_from(task_type, row.proposal, outcomes)
        if isinstance(draft, Rejection):
            detail = f" ({draft.detail})" if draft.detail else ""
            return Refusal(row.line, f"{draft.verdict}{detail}")
        if not fits(FAMILIES[family].solve(draft)):
            return Refusal(row.line, f"its {task_type} prompt would be too long for this run")
        drafts.append(draft)
    agrees = await _agrees(row, [example.output for example in drafts[0].examples], sandbox)
    return Validated(tuple(drafts), agrees)


def export_rows(history: History, task_type: TaskType, *, seeds_only: bool) -> Iterator[str]:
    """A run's tasks of one type as lines of a seed file, in buffer order."""
    query = (
        sa.select(TaskRow.program, TaskRow.examples, TaskRow.message)
        .where(TaskRow.run_id == history.run_id, TaskRow.task_type == task_type)
        .order_by(TaskRow.ordinal)
        .execution_options(yield_per=ROWS_PER_FETCH)
    )
    if seeds_only:
        query = query.where(TaskRow.origin == Origin.SEED)
    for program, examples, message in history.connection.execute(query):
        row = _as_row(program, examples, message, is_induction=task_type is TaskType.INDUCTION)
        yield json.dumps(row, ensure_ascii=False)


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
    inputs = fields.get("inputs") if is_induction else [fields.get("input")]
    outputs = fields.get("outputs") if is_induction else [fields.get("output")]
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
    )


def _problem(program: Any, inputs: Any, outputs: Any, message: Any) -> str | None:  # noqa: ANN401
    """What is wrong with the form of a row, if anything."""
    if not isinstance(program, str) or not program.strip():
        return "no program: `snippet` must be text"
    if not _are_texts(inputs) or not _are_texts(outputs):
        return "no values: `input` and `output` (or lists `inputs` and `outputs`) must be text"
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


def _as_row(
    program: str, examples: Iterable[Sequence[str]], message: str, *, is_induction: bool
) -> dict[str, Any]:
    pairs = [(arguments, _literal(canonical)) for arguments, canonical in examples]
    imports = [line for line in program.splitlines() if line.startswith(("import ", "from "))]
    if is_induction:
        return {
            "snippet": program,
            "inputs": [arguments for arguments, _ in pairs],
            "outputs": [output for _, output in pairs],
            "message": message,
            "imports": imports,
        }
    [(arguments, output)] = pairs
    return {
        "snippet": program,
        "input": arguments,
        "output": output,
        "imports": imports,
        "original_snippet": program,
        "composite_functions": [],
    }


def _literal(canonical: str) -> str:
    """The Python literal of a stored value; its canonical text where it has none."""
    try:
        return literal(Value(canonical))
    except ValueError:
        return canonical
