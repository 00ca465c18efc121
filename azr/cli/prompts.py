"""`azr prompts`: what the model is asked, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from azr import config_files
from azr.cli.output import console, table
from azr.config import FamilyName
from azr.errors import ConfigError
from azr.prompts import PromptFamily, family_of
from azr.prompts.templates import SUFFIX, TEMPLATES, TEXTS
from azr.quota import played_types
from azr.types import Example, Role, Task, TaskDraft, TaskType
from azr.values import from_python

ABOUT = """Show the prompts of self-play, and the templates that they are made of.

\b
Examples:
  azr prompts show --family r1 --type deduction --role solve
  azr prompts templates --copy mine
"""

app = typer.Typer(help=ABOUT, no_args_is_help=True, rich_markup_mode=None)

R1: FamilyName = "r1"
PROGRAM = 'def f(word, n):\n    return "".join(c * n for c in word)'
PAIRS = (("'ab', 2", "aabb"), ("'x', 3", "xxx"), ("'', 5", ""), ("'no', 1", "no"))


@app.command("show")
def show(
    config: Annotated[
        str, typer.Argument(metavar="[CONFIG]", help="A preset or a TOML file.")
    ] = config_files.DEFAULT_PRESET,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    family: Annotated[
        FamilyName | None, typer.Option(help="Instead of the config's prompts.family.")
    ] = None,
    task_type: Annotated[
        TaskType | None,
        typer.Option("--type", help="Of one type.  [default: those that are played]"),
    ] = None,
    role: Annotated[Role | None, typer.Option(help="Of one role.  [default: both]")] = None,
    references: Annotated[int, typer.Option(min=0, help="Tasks that a proposer is shown.")] = 2,
) -> None:
    """Print prompts filled in with an example, exactly as the model would get them.

    \b
    Examples:
      azr prompts show
      azr prompts show --family r1 --type abduction --role propose
      azr prompts show base --set prompts.family=r1 --set prompts.templates=mine
    """
    chosen = [*(overrides or []), *([f"prompts.family={family}"] if family else [])]
    settings = config_files.load(config, chosen)
    wording = family_of(settings.prompts)
    roles = [role] if role else list(Role)
    types = [task_type] if task_type else played_types(settings)
    alone = len(roles) * len(types) == 1
    for each_role in roles:
        for each_type in types:
            if not alone:
                typer.echo(f"======== {each_role} {each_type} ========")
            pairs = settings.selfplay.induction_pairs
            typer.echo(_prompt(wording, each_role, each_type, references, pairs))


@app.command("templates")
def templates(
    copy: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the shipped files there, to be changed."),
    ] = None,
) -> None:
    """List the template files of the r1 family and the placeholders that each may have.

    Files in the folder that prompts.templates names replace the shipped ones of the same
    name; the others stay as they are. A dollar sign is written $$.

    \b
    Examples:
      azr prompts templates
      azr prompts templates --copy mine && azr prompts show --family r1 --set prompts.templates=mine
    """
    rows = [
        (
            f"{name}{SUFFIX}",
            " ".join(f"${part}" for part in sorted(parts.needed)),
            " ".join(f"${part}" for part in sorted(parts.optional)),
        )
        for name, parts in TEMPLATES.items()
    ]
    if copy is not None:
        _copy_texts(copy)
    console().print(table(("file", "must have", "may have"), rows))


def _copy_texts(folder: Path) -> None:
    """Write the shipped texts into a folder. Raises ConfigError rather than replace a file."""
    taken = [name for name in TEMPLATES if (folder / f"{name}{SUFFIX}").exists()]
    if taken:
        raise ConfigError(f"{folder / taken[0]}{SUFFIX} exists already", hint="Name a new folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in TEMPLATES:
            file = f"{name}{SUFFIX}"
            (folder / file).write_bytes((TEXTS / R1 / file).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}", hint="Name another folder."
        ) from error


def _prompt(
    family: PromptFamily, role: Role, task_type: TaskType, references: int, num_pairs: int
) -> str:
    task = _example(task_type, num_pairs)
    if role is Role.SOLVE:
        return family.solve(task)
    shown: list[Task] = [task.with_id(number) for number in range(references)]
    if task_type is TaskType.INDUCTION:
        shown = [task.with_id(0)]
    return family.propose(task_type, shown, num_pairs=num_pairs)


def _example(task_type: TaskType, num_pairs: int) -> TaskDraft:
    if task_type is TaskType.ERROR:
        failing = Example("'ab', '2'", from_python("TypeError"))
        return TaskDraft(task_type=task_type, program=PROGRAM, examples=(failing,))
    is_induction = task_type is TaskType.INDUCTION
    pairs = [PAIRS[number % len(PAIRS)] for number in range(num_pairs)] if is_induction else PAIRS
    examples = tuple(Example(arguments, from_python(value)) for arguments, value in pairs)
    return TaskDraft(
        task_type=task_type,
        program=PROGRAM,
        examples=examples if is_induction else examples[:1],
        message="A word is stretched." if is_induction else "",
    )
