"""`azr tasks inspect`: the rows of a seed file that would poison a buffer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress

from azr.cli.output import console, table
from azr.config import SandboxSection
from azr.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from azr.sandbox import SandboxPool
    from azr.seed_files import Refusal, SeedRow

ROWS_AT_ONCE = 100
MAX_LINES = 40
"""Line numbers that the table lists of one kind."""

type Found = dict[int, dict[str, str]]
"""By line: what is wrong, with a detail each."""


def inspect_seeds(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines: snippet, input, ...")],
    clean: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the rows without a problem there.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print every problem as JSON.")] = False,
) -> None:
    """Run every row of a seed file in the jail and count what would poison a buffer.

    Nondeterministic, failing and oversized programs, recorded outputs that are not what
    the program returns, constant outputs, hidden inputs that are shown, messages that leak
    code, and duplicates; with the numbers of their lines.

    \b
    Examples:
      azr tasks inspect seeds.jsonl
      azr tasks inspect seeds.jsonl --clean good.jsonl
      azr tasks inspect seeds.jsonl --json
    """
    from azr.seed_files import read_rows

    if clean is not None and clean.exists():
        raise ConfigError(f"{clean} exists already", hint="Name a new file.")
    rows = list(read_rows(file))
    found = anyio.run(inspected, rows, SandboxSection())
    if clean is not None:
        _write_clean(file, clean, found)
    report(found, num_rows=len(rows), as_json=as_json)


async def inspected(rows: Sequence[SeedRow | Refusal], limits: SandboxSection) -> Found:
    """Everything that is wrong with the rows. Shows a bar on a terminal."""
    from azr.sandbox import SandboxPool
    from azr.seed_files import Refusal
    from azr.seed_inspection import Poison, duplicates

    good = [row for row in rows if not isinstance(row, Refusal)]
    found: Found = {
        row.line: {Poison.MALFORMED: row.reason} for row in rows if isinstance(row, Refusal)
    }
    with Progress(console=Console(stderr=True), transient=True) as progress:
        advance = partial(progress.advance, progress.add_task("inspecting", total=len(good)))
        async with SandboxPool.open(limits) as sandbox:
            for start in range(0, len(good), ROWS_AT_ONCE):
                async with anyio.create_task_group() as jobs:
                    for row in good[start : start + ROWS_AT_ONCE]:
                        jobs.start_soon(_inspect, row, sandbox, found, advance)
    for line, first in duplicates(good).items():
        found.setdefault(line, {})[Poison.DUPLICATE] = f"of line {first}"
    return found


async def _inspect(
    row: SeedRow, sandbox: SandboxPool, found: Found, advance: Callable[[], None]
) -> None:
    from azr.seed_inspection import poisons

    outcomes = await sandbox.validate(
        row.proposal.program, row.proposal.arguments, failing=row.is_error
    )
    recorded = await sandbox.parse_literals(row.outputs)
    wrong = poisons(row, outcomes, recorded)
    if wrong:
        found[row.line] = {str(kind): detail for kind, detail in wrong.items()}
    advance()


def report(found: Found, *, num_rows: int, as_json: bool) -> None:
    """Print the problems: counts with line numbers, or each of them as JSON."""
    if as_json:
        problems = [
            {"line": line, "problem": kind, "detail": detail}
            for line in sorted(found)
            for kind, detail in found[line].items()
        ]
        typer.echo(json.dumps({"rows": num_rows, "problems": problems}, indent=2))
        return
    typer.echo(f"{num_rows:,} rows, {len(found):,} with a problem")
    by_kind: dict[str, list[int]] = {}
    for line in sorted(found):
        for kind in found[line]:
            by_kind.setdefault(kind, []).append(line)
    if by_kind:
        largest_first = sorted(by_kind.items(), key=lambda item: -len(item[1]))
        rows = [(kind, len(lines), _numbers(lines)) for kind, lines in largest_first]
        console().print(table(("problem", "rows", "lines"), rows))


def _numbers(lines: Sequence[int]) -> str:
    listed = ", ".join(map(str, lines[:MAX_LINES]))
    return listed if len(lines) <= MAX_LINES else f"{listed}, ..."


def _write_clean(file: Path, clean: Path, found: Found) -> None:
    """The lines of a file that have no problem, as they are."""
    with file.open(encoding="utf-8") as rows, clean.open("w", encoding="utf-8") as out:
        out.writelines(
            row for line, row in enumerate(rows, start=1) if row.strip() and line not in found
        )
