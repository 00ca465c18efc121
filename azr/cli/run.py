"""`azr run`: resolve a config, check everything cheap, then play."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from azr import config_files
from azr.cli.errors import EXIT_INTERRUPTED
from azr.cli.live import duration, view_for
from azr.cli.preflight import check_run
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.progress import RunSummary
from azr.run_directory import RUNS_FOLDER, RunDirectory, locked


def run(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]",
            help=f"A preset or a TOML file.  [default: {config_files.DEFAULT_PRESET}]",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Learner steps of the whole run: run.steps.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Minutes of self-play, if the steps last longer: run.minutes."),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Node runtimes to spread the run over.")] = 1,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Where the run leaves its files.  [default: runs/CONFIG-TIME]"),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Database: store.url.  [default: SQLite in --run-dir]"),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Continue the run in DIR from its last checkpoint."),
    ] = None,
) -> None:
    """Play Absolute Zero: propose, validate, solve and learn, all at once.

    Ctrl-C drains, checkpoints and writes the report; a second Ctrl-C aborts.

    \b
    Examples:
      azr run                                   the tiny model on this machine
      azr run --steps 5 --run-dir /tmp/first
      azr run --steps 100000 --minutes 40       as many steps as 40 minutes of self-play allow
      azr run tiny-cpu --set learner.max_staleness=0 --set run.seed=7
      azr run base --set run.model=/models/Qwen2.5-Coder-3B
      azr run --db postgresql://me@server/azr     a database for several runs and nodes
      azr run --resume runs/tiny-cpu-20260102-030405
    """
    all_overrides = [*(overrides or []), *_shortcuts(steps=steps, minutes=minutes, db=db)]
    if resume is None:
        name = config or config_files.DEFAULT_PRESET
        directory = RunDirectory(run_dir or _default_run_dir(name))
        resolved = _named(config_files.load(name, all_overrides), directory)
    else:
        if config is not None or run_dir is not None:
            raise ConfigError(
                "--resume takes the config and the directory of the run it continues",
                hint=f"Drop CONFIG and --run-dir: azr run --resume {resume}",
            )
        directory = RunDirectory(resume)
        resolved = config_files.load(directory.existing().config, all_overrides)
    console = Console()
    check_run(resolved, directory, resume=resume is not None, nodes=nodes)
    with locked(directory):
        config_files.write(resolved, directory.config)
        try:
            summary = _play(resolved, directory, console, resume=resume is not None, nodes=nodes)
        except KeyboardInterrupt:
            typer.echo(f"aborted: azr run --resume {directory.root} continues", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if summary.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _play(
    config: RunConfig, directory: RunDirectory, console: Console, *, resume: bool, nodes: int
) -> RunSummary:
    """Run to the end or to Ctrl-C, then say what came of it."""
    from actors import driver
    from azr.report.build import build, terminal_summary
    from azr.sandbox.launch import isolation_warning
    from azr.store.locate import of_directory

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(f"run directory: {directory.root}")
    limit = f" or {config.run.minutes:g} minutes of self-play" if config.run.minutes else ""
    say(f"model: {config.run.model}, {config.run.steps} learner steps{limit}")
    warning = isolation_warning(config.sandbox)
    if warning:
        say(warning)
    with view_for(console) as view:
        summary = driver.run(config, run_dir=directory.root, resume=resume, nodes=nodes, view=view)
    say("\n" + terminal_summary(build(directory)))
    say(f"database: {of_directory(directory)}")
    say(f"elapsed: {duration(summary.elapsed_seconds)}")
    if not summary.finished:
        say(f"stopped at step {summary.last_step}: azr run --resume {directory.root} continues")
    return summary


def _shortcuts(*, steps: int | None, minutes: float | None, db: str | None) -> list[str]:
    """`--steps`, `--minutes` and `--db` as the settings that they stand for."""
    overrides = [] if steps is None else [f"run.steps={steps}"]
    if minutes is not None:
        overrides.append(f"run.minutes={minutes}")
    return overrides if db is None else [*overrides, f'store.url="{db}"']


def _named(config: RunConfig, directory: RunDirectory) -> RunConfig:
    """In a server's database, where runs are many, a run has its directory's name."""
    if config.store.run_name or not config.store.url.startswith("postgres"):
        return config
    store = config.store.model_copy(update={"run_name": directory.root.absolute().name})
    return config.model_copy(update={"store": store})


def _default_run_dir(config_name: str) -> Path:
    return RUNS_FOLDER / f"{Path(config_name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
