"""`azr attach`, `azr stop` and `azr scale`: a run that plays on a cluster, from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from azr import config_files
from azr.cli.live import view_for
from azr.cli.output import duration
from azr.run_directory import RunDirectory

RunDir = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run's directory.")]
EXIT_STILL_DRAINING = 1


def attach(run_dir: RunDir) -> None:
    """Follow a run that plays on a cluster; Ctrl-C looks away and leaves it alone.

    \b
    Examples:
      azr attach runs/tiny-cpu-20260102-030405
    """
    from actors import driver

    directory = RunDirectory(run_dir).existing()
    console = Console()
    try:
        with view_for(console) as view:
            config = config_files.load(directory.config)
            summary = driver.attach(directory, config, view=view)
    except KeyboardInterrupt:
        typer.echo(f"looked away; azr attach {directory.root} looks again")
        return
    elapsed = duration(summary.elapsed_seconds)
    typer.echo(f"ended at step {summary.last_step} after {elapsed}: azr report {directory.root}")


def stop(
    run_dir: RunDir,
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="How long to wait until it has drained.")
    ] = 180.0,
) -> None:
    """Drain a run that plays on a cluster: finish held work, write a checkpoint, end.

    \b
    Examples:
      azr stop runs/tiny-cpu-20260102-030405
      azr stop runs/tiny-cpu-20260102-030405 --wait-seconds 0
    """
    from actors import driver

    directory = RunDirectory(run_dir).existing()
    if driver.stop(directory, wait_seconds=wait_seconds):
        typer.echo(f"stopped: azr run --resume {directory.root} continues it")
        return
    typer.echo(f"it still drains: azr attach {directory.root} follows it", err=True)
    raise typer.Exit(EXIT_STILL_DRAINING)


def scale(
    run_dir: RunDir,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes from now on, the learner's among them.")],
) -> None:
    """Have more or fewer nodes while a run plays on a cluster.

    \b
    Examples:
      azr scale runs/big --nodes 6
    """
    from actors import driver

    directory = RunDirectory(run_dir).existing()
    plan = driver.scale(directory, config_files.load(directory.config), nodes)
    typer.echo(plan.table())
