"""`azr bench`: what asynchrony buys on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from azr import config_files
from azr.cli.preflight import check_run
from azr.errors import RunDirectoryError
from azr.run_directory import RunDirectory

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def bench() -> None:
    """Measure this machine.

    \b
    Examples:
      azr bench pipeline
    """


@app.command("pipeline")
def pipeline(
    config: Annotated[
        str, typer.Argument(metavar="[CONFIG]", help="A preset or a TOML file.")
    ] = config_files.DEFAULT_PRESET,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Learner steps of each of the two runs.")] = 10,
    out: Annotated[Path, typer.Option(help="A new folder for both run directories.")] = Path(
        "runs/bench-pipeline"
    ),
) -> None:
    """Play the same run asynchronously and with max_staleness = 0, and print the ratio.

    \b
    Examples:
      azr bench pipeline
      azr bench pipeline --steps 20 --out /tmp/bench
    """
    resolved = config_files.load(config, [*(overrides or []), f"run.steps={steps}"])
    if out.exists():
        raise RunDirectoryError(f"{out} exists already", hint="Choose another --out.")
    check_run(resolved, RunDirectory(out), resume=False, nodes=1)
    from actors import bench as measurements

    typer.echo(measurements.pipeline(resolved, out=out))
