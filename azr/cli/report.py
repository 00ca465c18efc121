"""`azr report`: rebuild a run's report from its database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from azr.run_directory import RunDirectory

if TYPE_CHECKING:
    from azr.report.analysis import Sampling
    from azr.report.build import Report


def _show_behaviours(wanted: bool) -> None:  # noqa: FBT001 -- Typer calls it
    if wanted:
        from azr.report.behaviours import SHIPPED

        typer.echo(SHIPPED.read_text(encoding="utf-8"), nl=False)
        raise typer.Exit


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's directory.")],
    sample: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Responses of each role and type to read for each point of a curve (20).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which responses are read.")] = 0,
    behaviours: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Patterns of behaviours, instead of the shipped ones."),
    ] = None,
    show_behaviours: Annotated[  # noqa: ARG001, FBT002 -- its callback answers
        bool,
        typer.Option(
            "--show-behaviours",
            help="Print the shipped patterns, to begin a file with, and exit.",
            callback=_show_behaviours,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Rebuild index.html, report.md, the plots and their data, also while the run plays.

    \b
    Examples:
      azr report runs/tiny-cpu-20260102-030405
      azr report runs/tiny-cpu-20260102-030405 --sample 100
      azr report --show-behaviours > mine.toml
      azr report runs/tiny-cpu-20260102-030405 --behaviours mine.toml
    """
    from azr.report.analysis import PER_CELL, Sampling
    from azr.report.behaviours import SHIPPED, load
    from azr.report.build import terminal_summary

    sampling = Sampling(
        per_cell=PER_CELL if sample is None else sample,
        seed=seed,
        behaviours=load(behaviours or SHIPPED),
    )
    typer.echo(terminal_summary(written(RunDirectory(run_dir), sampling)))


def written(directory: RunDirectory, sampling: Sampling | None = None) -> Report:
    """Write a run's report, with a bar while responses are read."""
    from azr.report.build import build

    console = Console(stderr=True)
    # Where nobody looks, an ended bar would leave an empty line before an error.
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("report", total=None)

        def count(done: int, total: int) -> None:
            progress.update(bar, description="reading responses", completed=done, total=total)

        return build(directory, sampling, count)
