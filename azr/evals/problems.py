"""The held-out suite as data: fixed problems in the package, one JSON line each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any

from azr.types import Example, Task, TaskType, Value

SUITE_FILE = "held-out-v1.jsonl"
QUICK_PER_TYPE = 10
"""For `Suite.select`: 60 problems, enough to see a collapse, too few to prove a gain."""


class Split(StrEnum):
    """How far a problem lies from pretraining."""

    IN_DISTRIBUTION = "in-distribution"
    """The pretraining generator's programs, but none that it showed."""
    HARDER = "harder"
    """Structures that pretraining does not contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One task of a suite. Its task id is its place in the suite."""

    problem_id: str
    split: Split
    structure: str
    """What kind of program it is, for breakdowns."""
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """All problems of one version, and how they were made."""

    name: str
    version: int
    provenance: Mapping[str, Any]
    """The builder's settings and counts; see `docs/evaluation.md`."""
    problems: tuple[Problem, ...]

    def select(
        self, splits: Sequence[Split] = tuple(Split), *, per_type: int | None = None
    ) -> tuple[Problem, ...]:
        """The problems of these splits; only the first `per_type` of each split and type."""
        taken: Counter[tuple[Split, TaskType]] = Counter()
        chosen: list[Problem] = []
        for problem in self.problems:
            group = (problem.split, problem.task.task_type)
            if problem.split in splits and (per_type is None or taken[group] < per_type):
                taken[group] += 1
                chosen.append(problem)
        return tuple(chosen)


def held_out_suite() -> Suite:
    """The suite that ships with azr."""
    return from_lines(resources.files("azr.evals").joinpath(SUITE_FILE).read_text("utf-8"))


def from_lines(text: str) -> Suite:
    """Read what `to_lines` wrote."""
    head, *rows = map(json.loads, text.splitlines())
    return Suite(
        name=head["suite"],
        version=head["version"],
        provenance=head["provenance"],
        problems=tuple(_problem(index, row) for index, row in enumerate(rows)),
    )


def to_lines(suite: Suite) -> str:
    """A line about the suite, then one for each problem."""
    head = {"suite": suite.name, "version": suite.version, "provenance": dict(suite.provenance)}
    rows = [head, *map(_row, suite.problems)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _problem(index: int, row: Mapping[str, Any]) -> Problem:
    task = Task(
        task_id=index,
        task_type=TaskType(row["task_type"]),
        program=row["program"],
        examples=tuple(Example(arguments, Value(output)) for arguments, output in row["examples"]),
        message=row["message"],
    )
    return Problem(
        problem_id=row["id"], split=Split(row["split"]), structure=row["structure"], task=task
    )


def _row(problem: Problem) -> dict[str, object]:
    task = problem.task
    return {
        "id": problem.problem_id,
        "split": problem.split,
        "task_type": task.task_type,
        "structure": problem.structure,
        "program": task.program,
        "examples": [[pair.arguments, pair.output.canonical] for pair in task.examples],
        "message": task.message,
    }
