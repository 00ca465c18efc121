"""Rows of JSON lines that name programs: what `azr sandbox run` and `check` read.

A seed row is a line of the reference implementation's seed files. Those of the
deduction and abduction buffers hold one pair, `snippet`, `input`, `output`; those of
the induction buffers (`code_f`) hold one program with many pairs, `snippet`,
`inputs`, `outputs`. Inputs and outputs are text: Python literals where they are well
formed, whatever the reference wrote where they are not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from azr.errors import InputError


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One program with what it is recorded to return."""

    program: str
    inputs: tuple[str, ...]
    """Argument texts: between the parentheses of `f(...)`."""
    outputs: tuple[str, ...]
    """As many recorded outputs, as text."""


@dataclass(frozen=True, slots=True)
class NamedProgram:
    """One program with one call."""

    name: str
    source: str
    call: str


def seed_row(fields: dict[str, object]) -> SeedRow:
    """ValueError says which field is missing or malformed."""
    program = _text(fields, "snippet")
    if "inputs" in fields or "outputs" in fields:
        inputs, outputs = _texts(fields, "inputs"), _texts(fields, "outputs")
        if len(inputs) != len(outputs):
            raise ValueError(f"{len(inputs)} inputs but {len(outputs)} outputs")
        return SeedRow(program, inputs, outputs)
    return SeedRow(program, (_text(fields, "input"),), (_text(fields, "output"),))


def named_program(fields: dict[str, object]) -> NamedProgram:
    """ValueError says which field is missing or malformed."""
    return NamedProgram(_text(fields, "name"), _text(fields, "source"), _text(fields, "call"))


def read_rows[Row](path: Path, parse: Callable[[dict[str, object]], Row]) -> Iterator[Row]:
    """The rows of a file of JSON lines, one at a time; blank lines are skipped.

    Raises:
        InputError: naming the file, the line and what is wrong with it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _row(line, parse, where=f"{path} line {number}")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error


def read_program(path: Path) -> str:
    """The text of a program file.

    Raises:
        InputError: the file cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error


def _row[Row](line: str, parse: Callable[[dict[str, object]], Row], *, where: str) -> Row:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InputError(f"{where} is not a JSON object")
    try:
        return parse(fields)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _text(fields: dict[str, object], key: str) -> str:
    value = _field(fields, key)
    if not isinstance(value, str):
        raise ValueError(f'"{key}" is not a string')  # noqa: TRY004 -- the reader adds the line
    return value


def _texts(fields: dict[str, object], key: str) -> tuple[str, ...]:
    match _field(fields, key):
        case list() as found if all(isinstance(text, str) for text in found):
            return tuple(map(str, found))
        case _:
            raise ValueError(f'"{key}" is not a list of strings')


def _field(fields: dict[str, object], key: str) -> object:
    if key not in fields:
        raise ValueError(f'"{key}" is missing')
    return fields[key]
