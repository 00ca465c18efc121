"""Model-written code is compared as EvalPlus and LiveCodeBench compare it."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.benchmarks.functions import FunctionGrader
from azr.benchmarks.harness import function_harness
from azr.benchmarks.jails import SolutionJail
from azr.benchmarks.keeping import KeptOutputs
from azr.benchmarks.programs import ProgramGrader, same_output
from azr.benchmarks.questions import Question
from tests.benchmarks.solutions import marked, program_row, reference

pytestmark = pytest.mark.timeout(600)


SUM = "def g(a, b):\n    return a + b"


async def test_values_are_compared_as_evalplus_compares_them(jail: SolutionJail) -> None:
    cases = [
        (reference("def g(x): return x / 3", (1.0,)), "def g(x): return x / 3 + 1e-9", True),
        (reference("def g(x): return x / 3", (1.0,)), "def g(x): return x / 3 + 1e-3", False),
        (reference("def g(x): return x", (1.0,), atol=0.1), "def g(x): return x + 0.05", True),
        (reference("def g(x): return [x, x]", (1.5,)), "def g(x): return [x, x + 1e-8]", True),
        (reference("def g(x): return [x]", (1.5,)), "def g(x): return (x + 1e-8,)", False),
        (reference("def g(x): return [x]", (1.5,)), "def g(x): return [x, x]", False),
        (reference("def g(x): return 1", (0,)), "def g(x): return True", True),
        (reference("def g(x): return [1]", (0,)), "def g(x): return (1,)", False),
        (reference("def g(x): return {'a': 1}", (0,)),
         "from collections import Counter\ndef g(x): return Counter('a')", True),
        (reference("def g(x): return 2 ** 60000", (0,)), "def g(x): return 4 ** 30000", True),
        (reference("def g(x): return x", (float("inf"),)), "def g(x): return x", True),
        (reference("def g(*x): return x", ((1,), {2}, {}, 1j)), "def g(*x): return x", True),
        (reference("def Diff(x): return [1, 2]", (0,), entry="Diff"),
         "def Diff(x): return (2, 1, 1)", True),
        (reference("def check_str(x): return True", (0,), entry="check_str"),
         "import re\ndef check_str(x): return re.match('a', 'a')", True),
        (reference("def sum_div(x): return 7", (0,), entry="sum_div"),
         "def sum_div(x): return 0", True),
        (reference("def g(x): return x", (0,)), "def g(x):\n    raise KeyError", False),
    ]  # fmt: skip
    found = [(of, code, (await marked(jail, of, code)).correct) for of, code, _ in cases]
    assert found == cases


async def test_a_canonical_solution_that_fails_is_said(jail: SolutionJail) -> None:
    mark = await marked(jail, reference("def g(x): return 1 / x", (0,)), "def g(x): return 0")
    assert mark.reason == "reference: ZeroDivisionError"


async def test_canonical_outputs_are_kept(jail: SolutionJail, tmp_path: Path) -> None:
    of = reference(SUM, (1, 2))
    question = Question(benchmark="b", question_id="1", text="", reference=of, digest="d1")
    first = FunctionGrader(jail=jail, kept=KeptOutputs(tmp_path, "py"))
    assert (await first.mark(question, of, SUM)).correct
    (kept,) = (tmp_path / "py").iterdir()
    kept.write_text("[4]")
    again = FunctionGrader(jail=jail, kept=KeptOutputs(tmp_path, "py"))
    assert not (await again.mark(question, of, SUM)).correct, "it did not run again"


def test_no_expected_value_enters_the_jail() -> None:
    of = reference("def g(x): return 'expected'", (0,))
    program = function_harness("def g(x): return 0", "g", of.base_inputs, view="value")
    assert "expected" not in program


async def test_inputs_of_megabytes_reach_a_program(jail: SolutionJail, tmp_path: Path) -> None:
    numbers = range(200_000)
    of = program_row(
        tmp_path / "row.jsonl",
        [("1\n7\n", "7"), (f"{len(numbers)}\n{' '.join(map(str, numbers))}\n", f"{sum(numbers)}")],
    )
    code = "n = int(input())\nprint(sum(map(int, input().split())))"
    assert (await ProgramGrader(jail).mark(of, code)).correct
    assert not (await ProgramGrader(jail).mark(of, "print(7)")).correct
    assert jail.shown is not None
    assert list(jail.shown.iterdir()) == [], "nothing is left"


async def test_programs_may_read_and_end_in_every_usual_way(
    jail: SolutionJail, tmp_path: Path
) -> None:
    of = program_row(tmp_path / "row.jsonl", [("2\n3 4\n", "7\n"), ("1\n5\n", "5")])
    ways = [
        "import sys\ndata = sys.stdin.read().split()\nprint(sum(map(int, data[1:])))",
        "import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.buffer.read().split()[1:]))))",
        "print(sum(map(int, open(0).read().split()[1:])))\nexit()",
        "import sys\nfor i, line in enumerate(sys.stdin):\n    if i:\n"
        "        print(sum(map(int, line.split())), flush=True)\nsys.exit(0)",
        "def main():\n    input()\n    print(sum(map(int, input().split())))\n"
        "if __name__ == '__main__':\n    main()",
    ]
    marks = [await ProgramGrader(jail).mark(of, code) for code in ways]
    assert [mark.reason for mark in marks] == ["2 tests"] * len(ways)
    assert not (await ProgramGrader(jail).mark(of, "print(7)\nraise SystemExit(1)")).correct


def test_output_is_compared_by_lines_and_numbers() -> None:
    assert same_output("1 2\n 3\n\n", "1 2\n3")
    assert same_output("1.0 2.50", "1 2.5")
    assert not same_output("1.0000001", "1")
    assert not same_output("1\n2", "1 2")
    assert not same_output("YES", "Yes")
    assert not same_output("nan", "1")
