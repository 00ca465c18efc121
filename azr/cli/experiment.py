"""`azr experiment`: does self-play learn, measured against what else the time could buy?"""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from azr.cli.errors import EXIT_INTERRUPTED
from azr.errors import InputError
from azr.run_directory import RUNS_FOLDER

ABOUT = """Experiments that answer a question and write a report.

\b
Examples:
  azr experiment learning --plan   what would be done, and for how long
  azr experiment learning short    the effect in half an hour
  azr experiment report            the report again, from its results
"""
app = typer.Typer(help=ABOUT, no_args_is_help=True)
COMMITTED_RESULTS = {
    "full": Path("docs/results/learning"),
    "arms": Path("docs/results/learning-arms"),
}
"""Plans whose results go into the repository."""
LINE_EVERY_SECONDS = 60.0
"""Into a log file."""
EXIT_FAILED_TRIALS = 1

ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results",
        help=f"Folder of the results.  [default: {COMMITTED_RESULTS['full']} of the full plan,"
        f" {COMMITTED_RESULTS['arms']} of arms, runs/experiments/NAME/results of others]",
        show_default=False,
    ),
]


class Terminal:
    """One line that changes where a terminal can redraw, one a minute elsewhere."""

    def __init__(self, console: Console, status: Status | None) -> None:
        self._console = console
        self._status = status
        self._next_line = 0.0

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._next_line = 0.0

    def show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() >= self._next_line:
            self.note(text)
            self._next_line = time.monotonic() + LINE_EVERY_SECONDS


@app.command()
def learning(
    plan: Annotated[
        str, typer.Argument(metavar="[PLAN]", help="full, arms, short or toy: see --plan.")
    ] = "full",
    arms: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these arms, in this order.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1", help="These seeds for all arms.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Of self-play for each trial; 0: by run.steps.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="CONFIG", help="Preset or TOML file below all settings.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The base model of all arms: `tiny` or a folder.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="For all arms; repeatable."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of runs/experiments/NAME.  [default: the plan]")
    ] = None,
    results: ResultsOption = None,
    *,
    show_plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be done, and stop.")
    ] = False,
) -> None:
    """Play and measure every arm with every seed, then write the report.

    What is finished is never done again, so the same command continues after Ctrl-C, a
    crash, or on another machine that has the results so far.

    \b
    Examples:
      azr experiment learning --plan                 arms, seeds and minutes
      azr experiment learning short                  the effect in half an hour
      azr experiment learning                        the claim: three seeds of 40 minutes
      azr experiment learning arms                   every ablation and variant
      azr experiment learning --arms selfplay,solver-only --seeds 0,1,2 --minutes 20
      azr experiment learning --preset base --model models/larger --results docs/results/larger
    """
    from azr.experiments import plans

    if plan not in plans.PLANS:
        raise InputError(f"there is no plan {plan!r}", hint=f"Plans: {', '.join(plans.PLANS)}.")
    chosen = plans.tailored(
        plans.PLANS[plan],
        arms=_words(arms),
        seeds=_numbers(seeds),
        minutes=minutes,
        preset=preset,
        model=model,
        settings=overrides or (),
    )
    if show_plan:
        typer.echo(plans.table(chosen))
        return
    from azr.experiments.conduct import Experiment
    from azr.experiments.report import build

    work = RUNS_FOLDER / "experiments" / (name or plan)
    folder = results or COMMITTED_RESULTS.get(plan, work / "results")
    with _terminal() as view, _sigterm_as_ctrl_c():
        experiment = Experiment(plan=chosen, work=work, results=folder, view=view)
        try:
            failures = experiment.conduct()
        except KeyboardInterrupt:
            typer.echo("stopped: the same command continues", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(f"report: {build(folder)}")
    if failures:
        typer.echo(f"{len(failures)} trials failed; the same command tries them again", err=True)
        raise typer.Exit(EXIT_FAILED_TRIALS)


@app.command()
def report(results: ResultsOption = None) -> None:
    """Write the report and its plots again, from the results alone.

    \b
    Examples:
      azr experiment report
      azr experiment report --results runs/experiments/short/results
    """
    from azr.experiments.report import build

    typer.echo(f"report: {build(results or COMMITTED_RESULTS['full'])}")


@contextmanager
def _terminal() -> Generator[Terminal]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Terminal(console, None)
        return
    with console.status("starting") as status:
        yield Terminal(console, status)


@contextmanager
def _sigterm_as_ctrl_c() -> Generator[None]:
    """Whoever stops the experiment, its child is stopped in good order."""

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str | None) -> list[int] | None:
    words = _words(text)
    if words is None:
        return None
    if not words or not all(word.isdecimal() for word in words):
        raise InputError(f"--seeds {text} is not a list of numbers", hint="For example: 0,1,2")
    return [int(word) for word in words]
