"""`azr`: play, inspect and check from the command line.

Each command is a module. Torch, vLLM and Ray are imported by the commands that need
them, when they run, so that `azr --help` answers at once.
"""

from __future__ import annotations

import typer

from azr.cli import config, report, status
from azr.cli.errors import exits_cleanly

app = typer.Typer(
    name="azr",
    help="Absolute Zero Reasoner: one model proposes Python reasoning tasks, solves them,"
    " and learns from both. Start with `azr run`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(status.status)
app.command()(report.report)
app.add_typer(config.app, name="config")


def main() -> None:
    """The `azr` program."""
    with exits_cleanly():
        app()
