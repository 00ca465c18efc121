"""`azr report`: rebuild a run's report from its database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from azr.run_directory import RunDirectory


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's directory.")],
) -> None:
    """Rebuild index.html, report.md and the plots of a run, also while it plays.

    \b
    Examples:
      azr report runs/tiny-cpu-20260102-030405
    """
    from azr.report.build import build, terminal_summary

    typer.echo(terminal_summary(build(RunDirectory(run_dir))))
