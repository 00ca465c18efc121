"""Whether self-play met the suite: tasks of a run whose program is one of its problems'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from azr.evals.problems import Problem, Split
from azr.normal_form import program_form
from azr.store import queries
from azr.store.history import open_history
from azr.store.locate import locate
from azr.types import TaskType


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Tasks of a run whose program, up to renaming, is a problem's. Nothing is left out of
    a score because of it: a policy may well invent the same program."""

    num_tasks: int
    """All tasks of the run, seeds included."""
    tasks: Mapping[Split, int] = field(default_factory=dict)
    """Tasks that repeat a problem's program, whatever their type and inputs."""
    problems: Mapping[Split, int] = field(default_factory=dict)
    """Problems whose program occurs."""


def overlap_of_run(run: Path | str, problems: Sequence[Problem]) -> Overlap:
    """Read the tasks of a run directory or a database, also while it plays.

    Raises StoreError or RunDirectoryError if there is nothing to read.
    """
    with open_history(locate(str(run))) as history:
        return overlap(queries.task_programs(history), problems)


def overlap(tasks: Iterable[tuple[TaskType, str]], problems: Sequence[Problem]) -> Overlap:
    """Compare (type, program) rows with a suite, up to renaming."""
    by_form = {program_form(item.task.program, "renamed"): item for item in problems}
    counted = Counter(program for _, program in tasks)
    met = {
        program: by_form[form]
        for program in counted
        if (form := program_form(program, "renamed")) in by_form
    }
    repeated: Counter[Split] = Counter()
    for program, problem in met.items():
        repeated[problem.split] += counted[program]
    distinct = {problem.problem_id: problem.split for problem in met.values()}
    return Overlap(num_tasks=counted.total(), tasks=repeated, problems=Counter(distinct.values()))
