"""Questions about code that tests make up, and marks of solutions to them."""

from __future__ import annotations

import json
from pathlib import Path

from azr.benchmarks.functions import FunctionGrader
from azr.benchmarks.jails import SolutionJail
from azr.benchmarks.keeping import KeptOutputs
from azr.benchmarks.questions import (
    Arguments,
    FunctionReference,
    Mark,
    ProgramReference,
    Question,
)


def reference(
    canonical: str, *inputs: Arguments, entry: str = "g", atol: float = 0
) -> FunctionReference:
    return FunctionReference(
        entry_point=entry, canonical=canonical, base_inputs=inputs, plus_inputs=(), atol=atol
    )


async def marked(jail: SolutionJail, of: FunctionReference, code: str) -> Mark:
    question = Question(
        benchmark="b", question_id="1", text="", reference=of, digest=f"{hash(of.canonical)}"
    )
    grader = FunctionGrader(jail=jail, kept=KeptOutputs(None, ""))
    return await grader.mark(question, of, code)


def program_row(path: Path, tests: list[tuple[str, str]], function: str = "") -> ProgramReference:
    """The reference of a row that is written there; tests are (input, output)."""
    cases = [{"input": i, "output": o, "testtype": "stdin"} for i, o in tests]
    path.write_text(json.dumps({"public_test_cases": json.dumps(cases)}) + "\n")
    return ProgramReference(path=path, offset=0, function=function)
