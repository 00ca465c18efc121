"""`azr run`: resolve a config, check everything cheap, then play."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from azr import config_files
from azr.cli.errors import EXIT_INTERRUPTED
from azr.cli.live import view_for
from azr.cli.output import duration
from azr.cli.own_database import own_database
from azr.cli.preflight import check_run
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.placement import Plan, Where, place
from azr.placement.where import this_machine
from azr.progress import RunSummary
from azr.run_directory import RUNS_FOLDER, RunDirectory, locked, told_if_removed


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
    ray_address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            envvar="RAY_ADDRESS",
            help="A Ray cluster to play on.  [default: a private one on this machine]",
            show_default=False,
        ),
    ] = "",
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
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print who would do what where, and stop.")
    ] = False,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="On a cluster: leave once it plays; see `azr attach`."),
    ] = False,
) -> None:
    """Play Absolute Zero: propose, validate, solve and learn, all at once.

    Ctrl-C drains, checkpoints and writes the report; a second Ctrl-C aborts.

    \b
    Examples:
      azr run                                   the tiny model on this machine
      azr run --steps 5 --run-dir /tmp/first
      azr run --steps 100000 --minutes 40       as many steps as 40 minutes of self-play allow
      azr run tiny-cpu --set learner.max_staleness=0 --set run.seed=7
      azr run qwen2.5-3b-coder --set run.steps=200
      azr run base --set run.model=/models/Qwen2.5-Coder-3B
      azr run --db postgresql://me@server/azr     a database for several runs and nodes
      azr run --nodes 4 --dry-run                 who would do what on this machine
      azr run --nodes 4 --ray-address head:6379 --db postgresql://me@server/azr
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
    where = Where(nodes=nodes, ray_address=ray_address)
    plan = _planned(resolved, where)
    if dry_run:
        typer.echo(plan.table())
        return
    resolved = _pinned(resolved)
    check_run(resolved, directory, resume=resume is not None)
    with locked(directory), own_database(resolved, directory, where, detach=detach) as resolved:
        resolved = _named(resolved, directory)
        config_files.write(resolved, directory.config)
        try:
            start = _Start(where=where, resume=resume is not None, detach=detach)
            with told_if_removed(directory):
                summary = _play(resolved, directory, console, start)
        except KeyboardInterrupt:
            typer.echo(f"aborted: azr run --resume {directory.root} continues", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if summary.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _planned(config: RunConfig, where: Where) -> Plan:
    """Who would do what. Raises ConfigError for what cannot work."""
    if not where.is_cluster:
        return place(config, [this_machine()], where.nodes, run_directory_shared=True)
    from actors import driver

    return driver.plan_of(config, where)


@dataclass(frozen=True, slots=True)
class _Start:
    """How a run is begun."""

    where: Where
    resume: bool
    detach: bool


def _play(
    config: RunConfig, directory: RunDirectory, console: Console, start: _Start
) -> RunSummary:
    """Run to the end or to Ctrl-C, then say what came of it."""
    from actors import driver
    from azr.cli.report import written
    from azr.report.build import terminal_summary
    from azr.sandbox.launch import isolation_warning
    from azr.store.locate import of_directory

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(f"run directory: {directory.root}")
    limit = f" or {config.run.minutes:g} minutes of self-play" if config.run.minutes else ""
    commit = f" at {config.run.revision}" if config.run.revision else ""
    say(f"model: {config.run.model}{commit}, {config.run.steps} learner steps{limit}")
    warning = isolation_warning(config.sandbox)
    if warning:
        say(warning)
    with view_for(console) as view:
        summary = driver.run(
            config,
            run_dir=directory.root,
            where=start.where,
            resume=start.resume,
            detach=start.detach,
            view=view,
        )
    if start.detach:
        say(f"it plays on: azr attach {directory.root} follows it, azr stop ends it")
        return summary
    say("\n" + terminal_summary(written(directory)))
    say(f"database: {of_directory(directory)}")
    if directory.postgres.is_dir():
        say(f"its server stops now: azr db up {directory.root} starts it for reading")
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


def _pinned(config: RunConfig) -> RunConfig:
    """A model of the hub is fetched here, once, and its commit recorded. Raises ModelError."""
    from azr.model_path import pinned

    return config.model_copy(update={"run": pinned(config.run)})


def _default_run_dir(config_name: str) -> Path:
    return RUNS_FOLDER / f"{Path(config_name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
