"""Tasks as clients write them: JSON in, a `Task` whose values the jail has seen out."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, Field

from azr.ports import Sandbox
from azr.raised import named, raised, shown_output
from azr.serve.refusal import RefusedError
from azr.types import Example, Outcome, Rejection, Task, TaskDraft, TaskType, Value
from azr.values import from_python

type Text = Annotated[str, Field(max_length=32768)]
MAX_PAIRS = 32


class Pair(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """One call of the program."""

    input: Text
    """The arguments of `f`, as between its parentheses: literals only."""
    output: Text | None = None
    """A literal; of an error task, the name of a class. Left out, the program is run to
    know it."""


class TaskBody(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """A task of any type."""

    type: TaskType
    program: Text | None = None
    """Defines `f`. Induction: needed only where a pair has no output."""
    examples: Annotated[list[Pair], Field(min_length=1, max_length=MAX_PAIRS)]
    """One pair; for induction two or more, of which the first half is shown."""
    message: Text = ""
    """Induction: the hint that the solver is shown."""


async def as_task(body: TaskBody, sandbox: Sandbox) -> Task:
    """The task, with every value from the jail. Raises RefusedError for what is no task."""
    if body.type is TaskType.INDUCTION:
        if len(body.examples) < 2:
            raise _invalid("an induction task needs two or more examples", "examples")
    elif len(body.examples) != 1:
        raise _invalid(f"a task of type {body.type} has one example", "examples")
    if body.program is None and body.type is not TaskType.INDUCTION:
        raise _invalid(f"a task of type {body.type} needs its program", "program")
    if body.type is TaskType.ERROR:
        outputs = [await _error(body, sandbox)]
    else:
        outputs = await _outputs(body, sandbox)
    return Task(
        task_id=0,
        task_type=body.type,
        program=body.program or "",
        examples=tuple(
            Example(pair.input, value) for pair, value in zip(body.examples, outputs, strict=True)
        ),
        message=body.message,
    )


async def _outputs(body: TaskBody, sandbox: Sandbox) -> list[Value]:
    """Given ones are parsed in the jail, the others computed there."""
    given = [pair.output for pair in body.examples if pair.output is not None]
    asked = [pair.input for pair in body.examples if pair.output is None]
    if asked and body.program is None:
        raise _invalid("give a program, or the output of every example", "program")
    parsed = _values(await sandbox.parse_literals(given), "output") if given else []
    ran = _values(await sandbox.run(body.program or "", asked), "program") if asked else []
    return [ran.pop(0) if pair.output is None else parsed.pop(0) for pair in body.examples]


async def _error(body: TaskBody, sandbox: Sandbox) -> Value:
    """The class that the body names, or that its one call raises in the jail."""
    [pair] = body.examples
    if pair.output is not None:
        name = named(pair.output)
        if name is None:
            raise _invalid("its output: no name of a class", "output")
        return from_python(name)
    [outcome] = await sandbox.run(body.program or "", [pair.input])
    found = raised(outcome)
    if isinstance(found, Rejection):
        raise _invalid(f"its program: {found.verdict} {found.detail}".strip(), "program")
    return found


def _values(outcomes: Sequence[Outcome], what: str) -> list[Value]:
    values: list[Value] = []
    for outcome in outcomes:
        if outcome.value is None:
            raise _invalid(f"its {what}: {outcome.verdict} {outcome.detail}".strip(), what)
        values.append(outcome.value)
    return values


def _invalid(message: str, param: str) -> RefusedError:
    return RefusedError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"this is no task: {message}",
        code="invalid_task",
        param=f"task.{param}",
    )


def task_document(task: TaskDraft) -> dict[str, Any]:
    """A task as JSON, in the words of `TaskBody`."""
    return {
        "type": task.task_type,
        "program": task.program,
        "message": task.message,
        "examples": [
            {"input": example.arguments, "output": shown_output(task.task_type, example.output)}
            for example in task.examples
        ],
    }
