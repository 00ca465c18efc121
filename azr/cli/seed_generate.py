"""`azr tasks generate`: a seed file of tasks that no model had to propose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azr.errors import ConfigError
from azr.task_types import MAIN_TYPES
from azr.types import TaskType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEFAULT_PAIRS = 6
"""Input/output pairs of an induction task in the tiny-cpu preset."""


def generate_seeds(
    file: Annotated[Path, typer.Argument(metavar="OUT", help="A new file.")],
    count: Annotated[int, typer.Option(min=1, help="Different tasks of each type.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    task_types: Annotated[
        list[TaskType] | None,
        typer.Option("--types", help="Of these types; repeatable.  [default: all three]"),
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=2, help="Pairs of an induction task: selfplay.induction_pairs.")
    ] = DEFAULT_PAIRS,
) -> None:
    """Write tasks from the generator that the tiny model was pretrained on.

    They are for runs that are to learn from given tasks instead of proposing them:
    a baseline that shows what self-play adds. Programs kept for evaluation are left
    out. A task with one pair serves both deduction and abduction, so these two share
    their rows. Like any seed file, the jail validates it before a run uses it.

    \b
    Examples:
      azr tasks generate seeds.jsonl
      azr tasks generate pairs.jsonl --count 10000 --seed 7 --types deduction
      azr run --set selfplay.seed_file=seeds.jsonl --set selfplay.propose=false
      azr tasks import seeds.jsonl --db runs/NAME
    """
    if file.exists():
        raise ConfigError(f"{file} exists already", hint="Name a new file.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {file.absolute().parent}", hint="Make it first.")
    if TaskType.ERROR in (task_types or ()):
        raise ConfigError(
            "--types error is not a choice: what a program raises is for the jail to say",
            hint="Leave it out: a run makes error tasks of the programs of the other rows.",
        )
    lines = list(_lines(task_types or MAIN_TYPES, count, seed, pairs))
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    typer.echo(f"{len(lines):,} tasks in {file}")


def _lines(task_types: Sequence[TaskType], count: int, seed: int, pairs: int) -> Iterator[str]:
    """Rows of a seed file: those with one pair, then those with several."""
    from azr.seed_files import file_row
    from azr.tiny.seed_tasks import draw_seed_tasks

    forms = [TaskType.INDUCTION] if TaskType.INDUCTION in task_types else []
    if set(task_types) - {TaskType.INDUCTION}:
        forms.insert(0, TaskType.DEDUCTION)  # as good as abduction: the rows are the same
    for form in forms:
        for task, outputs in draw_seed_tasks(form, count=count, seed=seed, num_pairs=pairs):
            yield json.dumps(file_row(task, outputs, form), ensure_ascii=False)
