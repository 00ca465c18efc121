"""LiveCodeBench: a program or method on public and private tests, as its judge compares them.

Standard output is compared line by line without outer blanks, and lines of numbers as
numbers; a returned value is compared with the JSON of the test.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from anyio.to_thread import run_sync

from azr.benchmarks.harness import method_harness, program_harness
from azr.benchmarks.jails import MAX_PROGRAM_CHARS, SolutionJail
from azr.benchmarks.questions import Mark, ProgramReference, ProgramTest, right, wrong
from azr.types import Outcome, Verdict
from azr.values import equal, from_python

TESTS_PER_PROGRAM = 8
INLINE_CHARS = 16_384
"""Longer inputs are files that the jail is shown."""
_HARNESS_CHARS = 8_192


@dataclass(frozen=True, slots=True)
class ProgramGrader:
    """Grades programs; tests are read from the benchmark's file when they are needed."""

    jail: SolutionJail

    async def mark(self, reference: ProgramReference, code: str) -> Mark:
        """Whether a program passes every test; it is not run beyond the first that it fails.

        Raises SandboxError for infrastructure failures only.
        """
        try:
            tests = await run_sync(read_tests, reference)
        except (OSError, ValueError) as error:
            return wrong(f"reference: {error}")
        large = {
            f"{index}": test.input
            for index, test in enumerate(tests)
            if len(test.input) > INLINE_CHARS and self.jail.shown is not None
        }
        async with self.jail.showing(large) as folder:
            return await self._run(reference, code, tests, Path(folder), set(large))

    async def _run(
        self,
        reference: ProgramReference,
        code: str,
        tests: Sequence[ProgramTest],
        folder: Path,
        large: Collection[str],
    ) -> Mark:
        """Run the tests in order; inputs of `large` are files of that folder."""
        inputs = [
            folder / f"{index}" if f"{index}" in large else test.input
            for index, test in enumerate(tests)
        ]
        for batch in _batches(inputs, len(code)):
            given = [inputs[index] for index in batch]
            harness = (
                method_harness(code, reference.function, given)
                if reference.function
                else program_harness(code, given)
            )
            outcomes = await self.jail.calls(harness, [str(place) for place in range(len(batch))])
            for index, outcome in zip(batch, outcomes, strict=True):
                reason = _failure(outcome, tests[index], returns=bool(reference.function))
                if reason:
                    return wrong(f"{reason} on test {index}")
        return right(f"{len(tests)} tests")


def read_tests(reference: ProgramReference) -> list[ProgramTest]:
    """The public and private tests of the row at a place in a file.

    Raises OSError, or ValueError for what is not in LiveCodeBench's format.
    """
    with reference.path.open("rb") as stream:
        stream.seek(reference.offset)
        row = json.loads(stream.readline())
    tests = [
        _test(fields)
        for key in ("public_test_cases", "private_test_cases")
        for fields in _listed(str(row.get(key) or "[]"))
    ]
    if not tests:
        raise ValueError("no tests")
    return tests


def _listed(text: str) -> list[object]:
    """JSON, or the compressed pickle of JSON text that private tests are published as."""
    try:
        found = json.loads(text)
    except ValueError:
        found = json.loads(_unpickled_text(text))
    if not isinstance(found, list):
        raise ValueError("tests are not a list")  # noqa: TRY004 -- malformed data
    return found


class _TextUnpickler(pickle.Unpickler):
    """Reads text and nothing else: no class is ever looked up, so nothing can run."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} in a list of tests")


def _unpickled_text(text: str) -> str:
    try:
        data = zlib.decompress(base64.b64decode(text))
        found = _TextUnpickler(io.BytesIO(data)).load()  # refuses everything but plain text
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"private tests cannot be read: {error}") from error
    if not isinstance(found, str):
        raise ValueError("private tests are not text")  # noqa: TRY004 -- malformed data
    return found


def _test(fields: object) -> ProgramTest:
    match fields:
        case {"input": str(given), "output": str(wanted)}:
            return ProgramTest(input=given, output=wanted)
        case _:
            raise ValueError("a test has no input or output")


def _batches(inputs: Sequence[str | Path], source_chars: int) -> list[list[int]]:
    """Numbers of tests in their order, few and short enough for one request."""
    room = MAX_PROGRAM_CHARS - 2 * source_chars - _HARNESS_CHARS
    batches: list[list[int]] = []
    left = 0
    for index, given in enumerate(inputs):
        size = len(repr(given)) + 2
        if not batches or len(batches[-1]) == TESTS_PER_PROGRAM or size > left:
            batches.append([])
            left = room
        batches[-1].append(index)
        left -= size
    return batches


def _failure(outcome: Outcome, test: ProgramTest, *, returns: bool) -> str:
    """Why a test was failed; empty if it was passed."""
    if outcome.value is None:
        verdict = "too large for the jail" if outcome.detail == "program too long" else ""
        return verdict or f"{outcome.verdict} {outcome.detail}".strip()
    if returns:
        try:
            expected = from_python(json.loads(test.output))
        except (ValueError, TypeError, RecursionError):
            return "reference: the expected value is not JSON"
        return "" if equal(outcome.value, expected) else "wrong value"
    printed = json.loads(outcome.value.canonical)
    if not isinstance(printed, str):  # no harness of ours returns that
        return f"{Verdict.KILLED}"
    return "" if same_output(printed, test.output) else "wrong output"


def same_output(printed: str, expected: str) -> bool:
    """Whether outputs agree line by line: as text, else as numbers."""
    lines, wanted = _lines(printed), _lines(expected)
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_line(line: str, wanted: str) -> bool:
    if line == wanted:
        return True
    numbers, expected = _numbers(line), _numbers(wanted)
    return numbers is not None and numbers == expected


def _numbers(line: str) -> list[Decimal] | None:
    try:
        numbers = [Decimal(word) for word in line.split()]
    except InvalidOperation:
        return None
    # NaN equals nothing, and to compare a signalling one raises an exception.
    return None if any(map(Decimal.is_nan, numbers)) else numbers
