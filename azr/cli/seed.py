"""`azr seed`: a model's own seed file, made as a run would make its first tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress

from azr import config_files
from azr.cli.output import note
from azr.cli.seed_inspect import inspected, report
from azr.config import RunConfig
from azr.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from azr.ports import Engine, Sandbox
    from azr.seeding import SeedResult
    from azr.types import Admission, Completion, TaskDraft


def seed(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="`tiny`, or a Hugging Face folder.")
    ],
    file: Annotated[Path, typer.Argument(metavar="OUT", help="A new file.")],
    config: Annotated[
        str, typer.Option(metavar="CONFIG", help="A preset or a TOML file.")
    ] = config_files.DEFAULT_PRESET,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
) -> None:
    """Let a model propose the tasks that start a run, and keep them in a seed file.

    As at the beginning of a run: from the identity triplet on, until each buffer would have
    selfplay.seed_batches x learner.batch_rollouts tasks. The file is then inspected for
    rows that would poison a buffer.

    \b
    Examples:
      azr seed tiny seeds.jsonl --set selfplay.seed_batches=1
      azr seed /models/Qwen2.5-Coder-3B seeds.jsonl --config base --set prompts.family=r1
      azr run --set selfplay.seed_file=seeds.jsonl
    """
    from azr.prompts import family_of
    from azr.seed_files import read_rows

    if file.exists():
        raise ConfigError(f"{file} exists already", hint="Name a new file.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {file.absolute().parent}", hint="Make it first.")
    settings = config_files.load(config, [*(overrides or []), f"run.model={json.dumps(model)}"])
    family_of(settings.prompts)
    drafts = anyio.run(_propose, settings)
    text = "".join(f"{line}\n" for line in seed_lines(drafts))
    file.write_text(text, encoding="utf-8")
    rows = list(read_rows(file))
    typer.echo(f"{len(rows):,} rows in {file}")
    report(anyio.run(inspected, rows, settings.sandbox), num_rows=len(rows), as_json=False)


async def _propose(config: RunConfig) -> list[TaskDraft]:
    """Open the model and the jail, and seed."""
    from azr.engine.replica import VllmReplica
    from azr.model_path import model_folder
    from azr.sandbox import SandboxPool

    folder = model_folder(config.run)
    async with (
        SandboxPool.open(config.sandbox) as sandbox,
        VllmReplica.open(str(folder), config, name="seed", version=0) as replica,
    ):
        return await proposed_seeds(replica, sandbox, config)


async def proposed_seeds(engine: Engine, sandbox: Sandbox, config: RunConfig) -> list[TaskDraft]:
    """The drafts that a run would begin with. Raises ModelError if the model gives too few."""
    from azr.seeding import Seeder
    from azr.types import TaskDraft

    limit = config.prompts.max_prompt_tokens
    counts = {"responses": 0, "valid": 0}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("proposing", total=None)

        async def count(_: Admission, __: Completion, result: SeedResult) -> None:
            counts["responses"] += 1
            counts["valid"] += isinstance(result, TaskDraft)
            told = f"{counts['valid']:,} valid tasks of {counts['responses']:,} proposals"
            progress.update(bar, description=told)

        seeder = Seeder(
            engine=engine,
            sandbox=sandbox,
            config=config,
            fits=lambda prompt: engine.count_tokens(prompt) <= limit,
            on_rollout=count,
        )
        drafts = await seeder.seed()
    note(f"{counts['valid']:,} of {counts['responses']:,} proposals were valid tasks")
    return drafts


def seed_lines(drafts: Sequence[TaskDraft]) -> Iterator[str]:
    """Rows of a seed file; what serves deduction and abduction alike is written once."""
    from azr.raised import shown_output
    from azr.seed_files import file_row
    from azr.types import Proposal

    seen: set[tuple[str, tuple[str, ...]]] = set()
    for draft in drafts:
        arguments = tuple(example.arguments for example in draft.examples)
        task = Proposal(program=draft.program, arguments=arguments, message=draft.message)
        key = (draft.program, arguments)
        if key in seen:
            continue
        seen.add(key)
        outputs = [shown_output(draft.task_type, example.output) for example in draft.examples]
        yield json.dumps(file_row(task, outputs, draft.task_type), ensure_ascii=False)
