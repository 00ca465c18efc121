"""`azr bench serve-live`: what requests beside a run see of it, and what they cost it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from azr import config_files
from azr.errors import RunDirectoryError
from azr.run_directory import RUNS_FOLDER

EXIT_BROKEN = 1


def serve_live(
    config: Annotated[
        str, typer.Argument(metavar="[CONFIG]", help="Of the run: a preset or a TOML file.")
    ] = config_files.DEFAULT_PRESET,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="At least so many.")] = 500,
    clients: Annotated[int, typer.Option(min=1, help="Who ask at once.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of every answer.")] = 64,
    windows: Annotated[int, typer.Option(min=1, help="With requests; others between.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Learner steps of each window.")] = 4,
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder for the run.  [default: runs/serve-live-TIME]"),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append the result to this page of docs/results."),
    ] = None,
) -> None:
    """Send requests to a run while it trains, in turns with times without, and compare.

    The run plays small steps of CONFIG; half of the requests stream. Looked up: no request
    fails, the policy version of no replica ever falls, and the rollouts trained on a minute
    fall by no more than serve.max_share. The exit code is 1 if one of these does not hold.
    Takes some minutes on a machine with nothing else to do.

    \b
    Examples:
      azr bench serve-live
      azr bench serve-live --clients 32 --max-tokens 16
      azr bench serve-live --record docs/results/serve-live.md
    """
    from azr.experiments.machine import this_machine
    from azr.serve.live_record import LiveRecord
    from azr.serve.quiet import spare_the_terminal

    spare_the_terminal()
    other_load = os.getloadavg()[0]
    resolved = config_files.load(config, overrides or [])
    folder = out or RUNS_FOLDER / f"serve-live-{time.strftime('%Y%m%d-%H%M%S')}"
    if folder.exists():
        raise RunDirectoryError(f"{folder} exists already", hint="Choose another --out.")
    from actors import serve_live_bench

    plan = serve_live_bench.Plan(
        settings=overrides or (),
        requests=requests,
        clients=clients,
        max_tokens=max_tokens,
        windows=windows,
        steps=steps,
    )
    found = serve_live_bench.measure(
        plan, preset=config, folder=folder, tell=lambda text: typer.echo(text, err=True)
    )
    machine = this_machine()
    result = LiveRecord(
        command=shlex.join(["azr", *sys.argv[1:]]),
        machine=f"{machine.cores} cores of {machine.cpu}",
        other_load=other_load,
        answers=found.answers,
        windows=found.windows,
        max_share=resolved.serve.max_share,
        run_ended=found.run_ended,
    )
    typer.echo(f"{result.table()}\n\n{result.verdict()}")
    if record is not None:
        with record.open("a", encoding="utf-8") as page:
            page.write("\n" + result.page())
    if result.broken:
        raise typer.Exit(EXIT_BROKEN)
