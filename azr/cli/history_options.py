"""Options that every look at a run's history shares."""

from __future__ import annotations

from typing import Annotated

import typer

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="RUN",
        help="A run directory, a database file or a URL.  [default: the newest run in runs/]",
        show_default=False,
    ),
]
DatabaseArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run directory, a database file or a URL.  [default: the newest run in runs/]",
        show_default=False,
    ),
]
RunOption = Annotated[
    int | None,
    typer.Option(
        "--run", metavar="ID", help="Which run of a shared database.  [default: the latest]"
    ),
]
