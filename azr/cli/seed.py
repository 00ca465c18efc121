"""`azr seed`: a model's own seed file, made as a run would make its first tasks."""

from __future__ import annotations

import json
import logging
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from azr import config_files
from azr.cli.errors import EXIT_INTERRUPTED
from azr.cli.output import note
from azr.cli.seed_inspect import inspected, report
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.types import Rejection, TaskDraft, TaskType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from azr.ports import Engine, Sandbox
    from azr.seeding import SeedResult
    from azr.types import Admission, Completion

_VALID = "valid"


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
    from azr.engine.environment import require_environment
    from azr.prompts import family_of
    from azr.seed_files import read_rows

    if file.exists():
        raise ConfigError(f"{file} exists already", hint="Name a new file.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {file.absolute().parent}", hint="Make it first.")
    settings = config_files.load(config, [*(overrides or []), f"run.model={json.dumps(model)}"])
    family_of(settings.prompts)
    require_environment(settings)  # before anything imports torch
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # vLLM's and torch's own
            drafts = anyio.run(_propose, settings)
    except KeyboardInterrupt:
        note(f"aborted: {file} was not written")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    text = "".join(f"{line}\n" for line in seed_lines(drafts))
    file.write_text(text, encoding="utf-8")
    rows = list(read_rows(file))
    typer.echo(f"{file}: {_by_type(drafts)}")
    report(anyio.run(inspected, rows, settings.sandbox), num_rows=len(rows), as_json=False)
    typer.echo(f"azr run --set selfplay.seed_file={file} begins with them")


async def _propose(config: RunConfig) -> list[TaskDraft]:
    """Open the model and the jail, and seed."""
    from azr.engine.replica import VllmReplica
    from azr.model_path import model_folder
    from azr.sandbox import SandboxPool

    folder = model_folder(config.run)
    note(f"opening {folder} ...")
    async with (
        SandboxPool.open(config.sandbox) as sandbox,
        VllmReplica.open(str(folder), config, name="seed", version=0) as replica,
    ):
        return await proposed_seeds(replica, sandbox, config)


async def proposed_seeds(engine: Engine, sandbox: Sandbox, config: RunConfig) -> list[TaskDraft]:
    """The drafts that a run would begin with. Raises ModelError if the model gives too few."""
    from azr.seeding import Seeder

    limit = config.prompts.max_prompt_tokens
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[told]}"), TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        pools = _Pools(progress)
        seeder = Seeder(
            engine=engine,
            sandbox=sandbox,
            config=config,
            fits=lambda prompt: engine.count_tokens(prompt) <= limit,
            on_rollout=pools.count,
        )
        pools.target = seeder.target
        try:
            drafts = await seeder.seed()
        finally:  # what was refused explains why there are too few
            note(pools.summary())
    return drafts


@dataclass(eq=False)
class _Pools:
    """What became of the proposals, shown while they come: a bar for each pool."""

    progress: Progress
    target: int = 0
    """Tasks of a pool, the identity included."""
    outcomes: Counter[str] = field(default_factory=Counter)
    tasks: dict[str, set[TaskDraft]] = field(default_factory=dict)
    """Valid ones that differ, by pool."""
    bars: dict[str, TaskID] = field(default_factory=dict)

    async def count(self, admission: Admission, _: Completion, result: SeedResult) -> None:
        self.outcomes[_outcome(result)] += 1
        pool = _pool(admission.cell.task_type)
        tasks = self.tasks.setdefault(pool, set())
        if pool not in self.bars:
            self.bars[pool] = self.progress.add_task(pool, total=self.target, told="")
        if isinstance(result, TaskDraft):
            tasks.add(replace(result, task_type=TaskType.DEDUCTION))  # a pool's types are one
        told = f"of {self.outcomes.total():,} proposals"
        done = min(len(tasks) + 1, self.target)
        self.progress.update(self.bars[pool], completed=done, told=told)

    def summary(self) -> str:
        """Valid ones, and why the others were not, the most frequent reason first."""
        reasons = [f"{n:,} {why}" for why, n in self.outcomes.most_common() if why != _VALID]
        words = f"{self.outcomes[_VALID]:,} of {self.outcomes.total():,} proposals were valid tasks"
        return f"{words}; not valid: {', '.join(reasons)}" if reasons else words


def _pool(task_type: TaskType) -> str:
    """Deduction and abduction share theirs."""
    return "induction" if task_type is TaskType.INDUCTION else "deduction, abduction"


def _outcome(result: SeedResult) -> str:
    if isinstance(result, TaskDraft):
        return _VALID
    return str(result.verdict) if isinstance(result, Rejection) else "bad_format"


def _by_type(drafts: Sequence[TaskDraft]) -> str:
    counts = Counter(draft.task_type for draft in drafts)
    told = ", ".join(f"{count:,} {task_type}" for task_type, count in counts.items())
    return f"tasks for the buffers: {told}"


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
