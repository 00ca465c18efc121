"""One answer, three forms: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from azr.errors import ConfigError

WIDE = 100_000
"""Columns of a pipe: nothing is cut there."""
MAX_CELL_CHARS = 400

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]
CsvFlag = Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]


class Form(Enum):
    TABLE = auto()
    JSON = auto()
    CSV = auto()


def chosen_form(*, as_json: bool, as_csv: bool) -> Form:
    """The form that the flags ask for. Raises ConfigError for both."""
    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other", hint="Choose one.")
    if as_json:
        return Form.JSON
    return Form.CSV if as_csv else Form.TABLE


def console() -> Console:
    """The terminal, or a pipe that cuts nothing."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDE)


def emit(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: Form) -> None:
    """Print rows in a form, on standard output."""
    if form is Form.JSON:
        plain = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    elif form is Form.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([_csv_cell(_plain(value)) for value in row] for row in rows)
    else:
        console().print(table(columns, rows))


def note(text: str) -> None:
    """A remark beside the answer, on standard error."""
    typer.echo(text, err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table of one line per row; what is too long for the terminal ends in an ellipsis."""
    made = Table(*columns)
    for column in made.columns:
        column.no_wrap = True
        column.overflow = "ellipsis"
    for row in rows:
        made.add_row(*(Text(shown(value)) for value in row))
    return made


def shown(value: object) -> str:
    """A cell: one line, numbers without noise, blobs by their size."""
    if value is None:
        return ""
    if isinstance(value, bytes | memoryview):
        return f"<{len(value):,} bytes>"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.1f}"
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    line = str(value).replace("\n", "\u23ce")
    return line if len(line) <= MAX_CELL_CHARS else line[: MAX_CELL_CHARS - 1] + "\u2026"


def _plain(value: object) -> object:
    """A value that JSON has."""
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if value is None or isinstance(value, bool | int | float | str | dict | list):
        return value
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return float(value) if hasattr(value, "as_integer_ratio") else str(value)  # ty: ignore[invalid-argument-type]


def _csv_cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def duration(seconds: float | None) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    if seconds is None:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
