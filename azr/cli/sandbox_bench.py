"""`azr sandbox bench`: how fast the jail is here, beside other ways to execute programs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress

from azr.config import SandboxSection
from azr.errors import InputError
from azr.sandbox.bench import figures, measure, programs, scaling
from azr.sandbox.pool import SandboxPool

SCALING_SHARE = 0.25
"""Of the time, for two cores beside one."""


def bench(
    seeds: Annotated[
        Path,
        typer.Option(
            metavar="FILE|FOLDER", help="Programs in the seed-file format; trusted ones only."
        ),
    ] = programs.SAMPLES,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure, about.")] = 40.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way.")] = 8,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Measure the jail beside other ways to execute the same programs.

    All ways take turns, round by round, on one core: the warm jail with one run a job, ten
    inputs a job and full validation; a jail of its own for each program; a process that
    executes every program in itself, without protection (inside a jail of its own, because
    these are still other people's programs); and the floor, an empty job. Then one worker
    beside two on two cores, and the same for a loop that only counts. A number is the median
    over the rounds; the best round comes beside it.

    \b
    Examples:
      azr sandbox bench
      azr sandbox bench --seeds seeds/ --seconds 120 --rounds 12
      azr sandbox bench --json > bench.json
    """
    rows = programs.read_seeds(seeds)
    cores = sorted(os.sched_getaffinity(0))
    turns = len(measure.NAMES) * rounds
    turn_seconds = seconds * (1 - SCALING_SHARE) / turns
    if turn_seconds < 0.01:
        raise InputError(
            f"{seconds:g} seconds are too few for {rounds} rounds",
            hint="Ask for more --seconds or fewer --rounds.",
        )

    async def run() -> figures.Bench:
        limits = SandboxSection(workers=1)
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("measuring", total=rounds + 1)
            with measure.pinned(cores[-1]):
                async with SandboxPool.open(limits) as pool:
                    chosen = await programs.chosen(pool, rows)
                    async with measure.all_ways(limits, pool) as ways:
                        measured = await measure.take_turns(
                            ways,
                            chosen,
                            rounds=rounds,
                            turn_seconds=turn_seconds,
                            on_round=lambda done: progress.update(task, completed=done),
                        )
            scaled: list[scaling.Scaling] = []
            if len(cores) > 1:
                each = seconds * SCALING_SHARE / (rounds * 2 * len(scaling.WORK))
                scaled = await scaling.measure_scaling(
                    cores[-2:], seeds, rounds=rounds, turn_seconds=each
                )
            progress.update(task, completed=rounds + 1)
        return figures.Bench(
            num_programs=len(chosen),
            rounds=rounds,
            turn_seconds=turn_seconds,
            core=cores[-1],
            measured=measured,
            scaling=scaled,
        )

    found = anyio.run(run)
    typer.echo(json.dumps(found.as_json()) if as_json else figures.table(found))
