"""`azr tasks import` and `export`: tasks in the reference implementation's seed files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress

from azr import config_files
from azr.cli.history_options import DatabaseOption, RunOption
from azr.cli.output import console, note, table
from azr.cli.run_tokenizer import prompt_limit
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.judging import Fits
from azr.prompts import family_of
from azr.run_directory import RunDirectory, check_usable, locked
from azr.task_types import PAIR_TYPES
from azr.types import TaskDraft, TaskType

if TYPE_CHECKING:
    from azr.seed_files import Refusal, SeedRow, Validated
    from azr.store.locate import Located

DRAFTS_PER_COMMIT = 100


@dataclass(slots=True)
class ImportCounts:
    """What became of a seed file."""

    rows: int = 0
    drafts: int = 0
    added: int = 0
    """Tasks that the buffers did not know."""
    disagreeing: int = 0
    """Rows whose recorded output is not the jail's."""
    refused: list[Refusal] = field(default_factory=list)


def import_seeds(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines: snippet, input, ...")],
    database: DatabaseOption = None,
    task_type: Annotated[
        TaskType | None,
        typer.Option("--type", help="Of a file with single pairs.  [default: both of them]"),
    ] = None,
    config_name: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="CONFIG", help="Begin a new run in --db with this preset or file."
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Add tasks from a seed file; every program is validated in the jail first.

    A row with `output` becomes a deduction and an abduction task, a row with `outputs`
    an induction task, a row with `error` an error task. Tasks the buffers know are
    skipped, so importing twice adds nothing. A run that plays sees the new tasks at its
    next draw; one that has no tasks yet starts from these instead of proposing its own
    seeds.

    \b
    Examples:
      azr tasks import seeds.jsonl --db runs/NAME
      azr tasks import seeds.jsonl --type deduction --json
      azr tasks import seeds.jsonl --db runs/new --config base && azr run --resume runs/new
    """
    from azr.seed_files import Refusal, SeedRow, read_rows
    from azr.store import queries
    from azr.store.history import open_history
    from azr.store.locate import locate

    if task_type is not None and task_type not in PAIR_TYPES:
        field = "inputs" if task_type is TaskType.INDUCTION else "error"
        raise ConfigError(
            f"--type {task_type} is not a choice: a row with `{field}` is one, others cannot be",
            hint="Leave --type out, or choose deduction or abduction.",
        )
    if config_name is not None:
        _begin_run(database, config_name)
    found = locate(database)
    if config_name is not None:
        config = config_files.load(config_name)
    else:
        with open_history(found) as history:
            config = queries.run_config(history)
    fits = prompt_limit(config)
    rows = list(read_rows(file))
    counts = ImportCounts(rows=len(rows), refused=[r for r in rows if isinstance(r, Refusal)])
    good = [row for row in rows if isinstance(row, SeedRow)]
    types = [task_type] if task_type is not None else list(PAIR_TYPES)
    anyio.run(_import, good, types, found, config, fits, counts)
    _report(counts, as_json=as_json)


def export_seeds(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    task_type: Annotated[TaskType, typer.Option("--type", help="One buffer makes one file.")],
    database: DatabaseOption = None,
    run: RunOption = None,
    *,
    seeds_only: Annotated[
        bool, typer.Option("--seeds-only", help="Without what was proposed while training.")
    ] = False,
) -> None:
    """Write the tasks of one type as a seed file.

    \b
    Examples:
      azr tasks export deduction.jsonl --type deduction
      azr tasks export induction.jsonl --type induction --db runs/NAME --seeds-only
    """
    from azr.store.history import open_history
    from azr.store.locate import locate
    from azr.store.seed_export import export_rows

    if file.exists():
        raise ConfigError(f"{file} exists already", hint="Name a new file.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {file.absolute().parent}", hint="Make it first.")
    with open_history(locate(database), run=run) as history:
        lines = export_rows(history, task_type, seeds_only=seeds_only)
        with file.open("w", encoding="utf-8") as output:
            count = sum(bool(output.write(f"{line}\n")) for line in lines)
    typer.echo(f"{count:,} {task_type} tasks in {file}")


async def _import(
    rows: Sequence[SeedRow],
    task_types: Sequence[TaskType],
    found: Located,
    config: RunConfig,
    fits: Fits,
    counts: ImportCounts,
) -> None:
    """Validate as many rows at once as there are jails; add the tasks in row order."""
    from azr.sandbox import SandboxPool
    from azr.seed_files import Validated, validate
    from azr.store import SqlStore

    with _progress(len(rows)) as advance:
        async with (
            SandboxPool.open(config.sandbox) as sandbox,
            SqlStore.open(found.url, run=config) as store,
        ):
            for start in range(0, len(rows), DRAFTS_PER_COMMIT):
                drafts: list[TaskDraft] = []
                part = rows[start : start + DRAFTS_PER_COMMIT]
                examine = partial(
                    validate,
                    task_types=task_types,
                    sandbox=sandbox,
                    fits=fits,
                    family=family_of(config.prompts),
                    compare=True,
                )
                for result in await _validated(part, examine, advance):
                    if isinstance(result, Validated):
                        drafts += result.drafts
                        counts.disagreeing += not result.agrees
                    else:
                        counts.refused.append(result)
                counts.drafts += len(drafts)
                counts.added += await store.add_seed_tasks(drafts)
            await store.record_event(
                "seeds_imported", tasks=counts.added, rows=counts.rows, refused=len(counts.refused)
            )


async def _validated(
    rows: Sequence[SeedRow],
    examine: Callable[[SeedRow], Awaitable[Validated | Refusal]],
    advance: Callable[[], None],
) -> list[Validated | Refusal]:
    """All rows at once: the jails take them as they are free."""
    found: dict[int, Validated | Refusal] = {}

    async def one(row: SeedRow) -> None:
        found[row.line] = await examine(row)
        advance()

    async with anyio.create_task_group() as jobs:
        for row in rows:
            jobs.start_soon(one, row)
    return [found[row.line] for row in rows]


def _begin_run(target: str | None, config_name: str) -> None:
    """Make a run directory that holds a config and nothing else yet."""
    if target is None or "://" in target:
        raise ConfigError(
            "--config begins a new run, which needs a directory",
            hint="Name a new one: --db runs/NAME",
        )
    directory = RunDirectory(Path(target))
    check_usable(directory, resume=False, needed_mib=0)
    with locked(directory):
        config_files.write(config_files.load(config_name), directory.config)


@contextmanager
def _progress(total: int) -> Generator[Callable[[], None]]:
    """A bar on standard error, where that is a terminal."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("validating", total=total)
        yield lambda: progress.advance(task)


def _report(counts: ImportCounts, *, as_json: bool) -> None:
    refused = sorted(counts.refused, key=lambda refusal: refusal.line)
    if as_json:
        facts = {
            "rows": counts.rows,
            "added": counts.added,
            "known": counts.drafts - counts.added,
            "recorded_output_differs": counts.disagreeing,
            "refused": [{"line": each.line, "reason": each.reason} for each in refused],
        }
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{counts.rows:,} rows: {counts.added:,} tasks added, {counts.drafts - counts.added:,}"
        f" known already, {len(refused):,} rows refused"
    )
    if counts.disagreeing:
        note(
            f"{counts.disagreeing:,} rows record another output than the jail saw;"
            " the jail's was taken"
        )
    if refused:
        reasons = Counter(each.reason for each in refused)
        lines = [
            (reason, count, ", ".join(str(r.line) for r in refused if r.reason == reason))
            for reason, count in reasons.most_common()
        ]
        console().print(table(("refused because", "rows", "lines"), lines))
