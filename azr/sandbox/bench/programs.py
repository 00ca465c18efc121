"""What the bench executes: programs that return the same literal every time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from azr.errors import InputError
from azr.sandbox.pool import SandboxPool
from azr.sandbox.rows import SeedRow, read_rows, seed_row
from azr.types import Verdict

SAMPLES = Path(__file__).parent / "samples.jsonl"
"""A handful of programs, so that the bench runs where there is no other file."""
INPUTS_PER_JOB = 10
MAX_PROGRAMS = 100
MAX_CPU_SECONDS = 0.02
"""Of all runs of a validation. What computes for longer measures itself, not the jail."""


@dataclass(frozen=True, slots=True)
class BenchProgram:
    """A program and as many inputs as a job of many carries; repeated where it has fewer."""

    source: str
    inputs: tuple[str, ...]


def read_seeds(path: Path) -> list[SeedRow]:
    """The rows of a file in the seed format, or of every such file in a folder.

    Raises:
        InputError: there is no row, or one is malformed.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    rows = [row for file in files for row in read_rows(file, seed_row)]
    if not rows:
        raise InputError(
            f"{path} has no programs",
            hint="Give a file of JSON lines in the seed format, or a folder of .jsonl files.",
        )
    return rows


async def chosen(
    pool: SandboxPool, rows: Sequence[SeedRow], *, most: int = MAX_PROGRAMS
) -> list[BenchProgram]:
    """Up to `most` of the rows' programs, drawn at random but always the same.

    Only those that validate on every input and are quick, so that all ways to execute
    them do the same work.

    Raises:
        InputError: no program is left.
    """
    shuffled = random.Random(0).sample(rows, len(rows))  # noqa: S311
    found: list[BenchProgram] = []
    for row in shuffled:
        if len(found) == most:
            break
        inputs = row.inputs[:INPUTS_PER_JOB]
        outcomes = await pool.validate(row.program, inputs)
        if outcomes and all(
            outcome.verdict is Verdict.OK and outcome.cpu_seconds < MAX_CPU_SECONDS
            for outcome in outcomes
        ):
            cycled = itertools.islice(itertools.cycle(inputs), INPUTS_PER_JOB)
            found.append(BenchProgram(row.program, tuple(cycled)))
    if not found:
        raise InputError("none of the programs validates", hint="azr sandbox check FILE says why.")
    return found
