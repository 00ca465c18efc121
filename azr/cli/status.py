"""`azr status`: where a run stands, read once from its database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from azr.cli.live import dashboard
from azr.run_directory import RunDirectory


def status(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's directory.")],
) -> None:
    """Show where a run stands, from any shell; reads the database only.

    \b
    Examples:
      azr status runs/tiny-cpu-20260102-030405
      watch azr status runs/tiny-cpu-20260102-030405
    """
    from azr.report.moment import read_progress
    from azr.store.locate import of_directory

    Console().print(dashboard(read_progress(of_directory(RunDirectory(run_dir)))))
