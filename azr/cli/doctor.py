"""`azr doctor`: what works on this machine, and how to fix what does not."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from azr import config_files
from azr.cli.errors import EXIT_REFUSED
from azr.doctor import Check, Status, check_canary, examine
from azr.run_directory import RUNS_FOLDER

COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}


def doctor(
    *,
    canary: Annotated[
        bool,
        typer.Option("--canary", help="Also compare trainer and vLLM on real weights; a minute."),
    ] = False,
) -> None:
    """Check Python, vLLM, devices, jail, database and disk; exit code 2 if a run cannot work.

    \b
    Examples:
      azr doctor
      azr doctor --canary
    """
    checks = examine(RUNS_FOLDER)
    if canary:
        checks += check_canary(config_files.load(config_files.DEFAULT_PRESET))
    Console().print(_table(checks))
    if any(check.status is Status.FAIL for check in checks):
        raise typer.Exit(EXIT_REFUSED)


def _table(checks: list[Check]) -> Table:
    table = Table("check", "", "found", "to do")
    for check in checks:
        status = f"[{COLOURS[check.status]}]{check.status}[/]"
        table.add_row(check.name, status, check.found, check.fix)
    return table
