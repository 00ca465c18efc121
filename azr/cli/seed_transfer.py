"""`azr tasks import` and `export`: tasks in the reference implementation's seed files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress

from azr.cli.history_options import DatabaseOption, RunOption
from azr.cli.output import console, note, table
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.ports import Sandbox
from azr.types import TaskDraft, TaskType

if TYPE_CHECKING:
    from azr.store.seed_files import Refusal, SeedRow, Validated

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
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Add tasks from a seed file; every program is validated in the jail first.

    A row with `input` becomes a deduction and an abduction task, a row with `inputs`
    an induction task. Tasks the buffers know are skipped, so importing twice adds
    nothing. A run that plays sees the new tasks at its next draw; one that has no
    tasks yet starts from these instead of proposing its own seeds.

    \b
    Examples:
      azr tasks import seeds.jsonl --db runs/NAME
      azr tasks import seeds.jsonl --type deduction --json
    """
    from azr.store import queries
    from azr.store.history import open_history
    from azr.store.locate import locate
    from azr.store.seed_files import Refusal, SeedRow, read_rows

    if task_type is TaskType.INDUCTION:
        raise ConfigError(
            "--type induction is not a choice: a row with `inputs` is one, others cannot be",
            hint="Leave --type out, or choose deduction or abduction.",
        )
    found = locate(database)
    with open_history(found) as history:
        config = queries.run_config(history)
    rows = list(read_rows(file))
    counts = ImportCounts(rows=len(rows), refused=[r for r in rows if isinstance(r, Refusal)])
    good = [row for row in rows if isinstance(row, SeedRow)]
    types = [task_type] if task_type is not None else [TaskType.DEDUCTION, TaskType.ABDUCTION]
    anyio.run(_import, good, types, found.url, config, counts)
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
    from azr.store.seed_files import export_rows

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
    url: str,
    config: RunConfig,
    counts: ImportCounts,
) -> None:
    """Validate as many rows at once as there are jails; add the tasks in row order."""
    from azr.sandbox import SandboxPool
    from azr.store import SqlStore
    from azr.store.seed_files import Validated

    with _progress(len(rows)) as advance:
        async with (
            SandboxPool.open(config.sandbox) as sandbox,
            SqlStore.open(url, run=config) as store,
        ):
            for start in range(0, len(rows), DRAFTS_PER_COMMIT):
                drafts: list[TaskDraft] = []
                part = rows[start : start + DRAFTS_PER_COMMIT]
                for result in await _validated(part, task_types, sandbox, advance):
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
    task_types: Sequence[TaskType],
    sandbox: Sandbox,
    advance: Callable[[], None],
) -> list[Validated | Refusal]:
    from azr.store.seed_files import validate

    found: dict[int, Validated | Refusal] = {}

    async def one(row: SeedRow) -> None:
        found[row.line] = await validate(row, task_types, sandbox=sandbox)
        advance()

    async with anyio.create_task_group() as jobs:
        for row in rows:
            jobs.start_soon(one, row)
    return [found[row.line] for row in rows]


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
