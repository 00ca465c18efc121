"""`azr sandbox soak`: random programs by the thousand, and what they leave behind."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import anyio
import typer

from azr import config_files
from azr.errors import InputError
from azr.sandbox.rows import SeedRow, read_rows, seed_row
from azr.sandbox.soak import SoakPlan, SoakReport
from azr.sandbox.soak import soak as run_soak
from azr.sandbox.soak.programs import DEFAULT_ROWS

EXIT_UNSOUND = 1
PROGRESS_SECONDS = 5.0
LIMITS = ("sandbox.wall_seconds=1.0", "sandbox.cpu_seconds=1", "sandbox.memory_mib=256")
"""Tight, because a random program that loops costs as long as it may."""


def soak(
    seeds: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SEEDS]...", help="Files in the seed-file format to mutate."),
    ] = None,
    programs: Annotated[int, typer.Option(min=1, help="How many to run.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    kill_per_second: Annotated[
        float, typer.Option(min=0, help="SIGKILLs a second to random jails, zygotes and jobs.")
    ] = 0.0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a limit (sandbox.*)."),
    ] = None,
) -> None:
    """Run random programs, canaries among them, and report what fails, leaks or grows.

    A third is generated, a third mutated from SEEDS (or from programs that come with azr), a
    third broken byte by byte; every tenth program is a canary with a known answer. The exit
    code is 1 if a canary was wrong, or an execution had no verdict or more than one. A job
    may take 1 s here; see --set.

    \b
    Examples:
      azr sandbox soak --programs 1000
      azr sandbox soak data/seeds/*.jsonl --json > soak.json
      azr sandbox soak --programs 20000 --kill-per-second 5 --seed 1
    """
    limits = config_files.load(config_files.DEFAULT_PRESET, [*LIMITS, *(settings or [])]).sandbox
    plan = SoakPlan(
        programs=programs, seed=seed, kills_per_second=kill_per_second, rows=_rows(seeds or [])
    )
    report = anyio.run(run_soak, limits, plan, _progress(programs))
    typer.echo(json.dumps(report.as_json()) if as_json else _shown(report))
    if not report.sound:
        raise typer.Exit(EXIT_UNSOUND)


def _rows(files: list[Path]) -> tuple[SeedRow, ...]:
    if not files:
        return DEFAULT_ROWS
    rows = tuple(row for file in files for row in read_rows(file, seed_row))
    if not rows:
        raise InputError(f"{files[0]} holds no rows")
    return rows


def _progress(programs: int) -> Callable[[int], None]:
    """A line on stderr every few seconds, in place on a terminal."""
    start = shown = time.monotonic()
    end = "\r" if sys.stderr.isatty() else "\n"

    def show(done: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= PROGRESS_SECONDS:
            shown = now
            rate = done / (now - start)
            left = (programs - done) / rate
            line = f"{done:,} of {programs:,} programs, {rate:.0f}/s, {left:.0f} s left"
            sys.stderr.write(f"{line}{end}")
            sys.stderr.flush()

    return show


def _shown(report: SoakReport) -> str:
    rate = report.programs / report.seconds
    lines = [
        f"programs: {report.programs:,} in {report.seconds:.0f} s ({rate:.0f}/s), "
        f"seed {report.seed}",
        f"canaries: {report.canaries:,}, wrong: {report.wrong_canaries}",
        f"executions failed: {report.failed}, lost: {report.lost}, doubled: {report.doubled}",
        f"processes killed: {report.kills:,}",
        "verdicts: " + ", ".join(f"{name} {n:,}" for name, n in report.verdicts.most_common()),
    ]
    if report.first_tenth and report.last_tenth:
        last = asdict(report.last_tenth)
        lines += [
            f"{name.replace('_', ' ')}: first tenth {first:,.1f}, last tenth {last[name]:,.1f}"
            for name, first in asdict(report.first_tenth).items()
        ]
    return "\n".join(lines)
