"""`azr db bench`: how fast the store is, and whether a long history slows it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from azr.cli.output import note
from azr.errors import ConfigError

if TYPE_CHECKING:
    from azr.store.bench import Figures

DEFAULT_SIZES = "10000,100000,1000000"
HEADINGS = {
    "puts_per_second": "puts/s",
    "leases_per_second": "leases/s",
    "sample_ms": "draw 6 references, ms",
    "admit_ms": "admit a proposal, ms",
    "lease_ms": "lease a rollout, ms",
    "claim_ms": "claim 6 x 64 rollouts, ms",
    "commit_ms": "commit a step, ms",
    "puts_beside_reader_per_second": "puts/s beside a reader",
    "reader_ms": "that reader's query, ms",
}


def bench(
    sizes: Annotated[
        str, typer.Option(metavar="N,N,...", help="Tasks of the history, ascending.")
    ] = DEFAULT_SIZES,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An empty database to fill.  [default: a new SQLite file, then a new server]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Time puts, leases, draws and claims on ever longer histories; minutes and gigabytes.

    Without --url it makes an SQLite file and a private PostgreSQL server in the
    temporary folder, and removes both.

    \b
    Examples:
      azr db bench
      azr db bench --sizes 10000,100000
      azr db bench --url postgresql://me@host/scratch
    """
    wanted = _sizes(sizes)
    with ExitStack() as stack:
        for name, where in _databases(url, stack):
            typer.echo(_rendered(name, _measured(where, wanted)))


def _measured(url: str, sizes: Sequence[int]) -> list[Figures]:
    from azr.store.bench import grow, measure, prepare
    from azr.store.engine import open_database

    database = open_database(url)
    run_id = prepare(url)
    found: list[Figures] = []
    for size in sizes:
        started = time.monotonic()
        grow(database, run_id, num_tasks=size)
        note(f"{database.name}: {size:,} tasks after {time.monotonic() - started:.0f} s")
        found.append(anyio.run(measure, database, url))
    return found


def _databases(url: str | None, stack: ExitStack) -> list[tuple[str, str]]:
    """Names and URLs of what is measured."""
    if url is not None:
        return [(url.partition(":")[0], url)]
    from azr.store.private_server import private_server

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="azr-bench-"))
    server = stack.enter_context(private_server(careful=True))
    return [
        ("SQLite", f"sqlite:///{Path(folder) / 'bench.sqlite'}"),
        ("PostgreSQL", server.create("bench")),
    ]


def _rendered(name: str, found: Sequence[Figures]) -> str:
    """A Markdown table: a row for each figure, with its growth over all sizes."""
    head = ["", *(f"{figures.num_tasks:,} tasks" for figures in found), "last / first"]
    lines = [f"### {name}", "", _row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for field, heading in HEADINGS.items():
        values = [getattr(figures, field) for figures in found]
        cells = [f"{value:,.0f}" if value >= 100 else f"{value:.2f}" for value in values]
        lines.append(_row([heading, *cells, f"{values[-1] / values[0]:.2f}"]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sizes(text: str) -> list[int]:
    """Ascending numbers. Raises ConfigError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isdigit()]
    if len(numbers) != len(parts) or numbers != sorted(set(numbers)) or min(numbers) < 100:
        raise ConfigError(
            f"--sizes {text} is not a list of ascending numbers from 100 on",
            hint=f"For example: --sizes {DEFAULT_SIZES}",
        )
    return numbers
