"""Hostile answers to every kind of question: marked wrong, and the next one is graded.

Wrong whatever they do to their own process: patch what compares, exit, fork, print for
ever, or look for the expected values, which are nowhere that a solution can look.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.benchmarks.executions import ExecutionGrader
from azr.benchmarks.extraction import code_answer, literal_answer, math_answer
from azr.benchmarks.functions import MAX_NAME_CHARS
from azr.benchmarks.jails import SolutionJail
from azr.benchmarks.programs import ProgramGrader, same_output
from azr.benchmarks.questions import ExecutionReference, Mark
from tests.benchmarks.solutions import marked, program_row, reference

pytestmark = pytest.mark.timeout(600)

SUM = "def g(a, b):\n    return a + b"
FUNCTIONS = {
    "a loop": "def g(a, b):\n    while True: pass",
    "a loop outside": "while True: pass",
    "all memory": "def g(a, b):\n    x = 'x' * 10 ** 9\n    return [x * 9 for _ in range(99)]",
    "processes": "import os\ndef g(a, b):\n    while True: os.fork()",
    "an exit": "import os\nos._exit(0)",
    "a signal": "import os\ndef g(a, b):\n    os.kill(os.getppid(), 9)",
    "recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef g(a, b):\n    return g(a, b)",
    "a huge value": "def g(a, b):\n    return ['x' * 1000] * 10 ** 6",
    "its own frames": "import os\ndef g(a, b):\n    os.write(9, b'\\x01R\\x02\\x00\\x00\\x00{}')",
    "equal to all": "class E:\n    def __eq__(self, o): return True\ndef g(a, b): return E()",
    "no syntax": "def g(a, b) return",
    "another name": "def h(a, b): return a + b",
    "a patched harness": (
        "import sys\ndef g(a, b):\n    frame = sys._getframe(1)\n"
        "    frame.f_globals['_viewed'] = lambda value: 3\n    return 0"
    ),
    "output without end": "def g(a, b):\n    while True: print('x' * 10 ** 6)",
    "an exit of Python's": "import sys\ndef g(a, b):\n    sys.exit(0)",
    "an interrupt": "def g(a, b):\n    raise KeyboardInterrupt",
    "a closed report": "import os\ndef g(a, b):\n    os.closerange(0, 64)\n    return 3",
    "a number equal to all": (
        "class E(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n"
        "def g(a, b): return E(0)"
    ),
    "a patched comparison": (
        "import builtins, operator\nbuiltins.all = builtins.any = lambda *a: True\n"
        "operator.eq = lambda *a: True\ndef g(a, b): return 0"
    ),
    "a patched encoder": (
        "import json\njson.dumps = json.JSONEncoder.encode = lambda *a, **k: '3'\n"
        "def g(a, b): return 0"
    ),
    "other inputs": (
        "import sys\ndef g(a, b):\n"
        "    sys._getframe(1).f_globals['inputs'] = lambda: []\n    return 0"
    ),
    "fewer results": (
        "import sys\ndef g(a, b):\n    sys._getframe(1).f_locals['results'].clear()\n    return 0"
    ),
    "threads": (
        "import _thread\ndef spin():\n    while True: pass\n"
        "def g(a, b):\n    while True: _thread.start_new_thread(spin, ())"
    ),
    "one fork": "import os\ndef g(a, b):\n    os.fork()\n    return 0",
    "depth": "def g(a, b):\n    x = []\n    for _ in range(10 ** 4): x = [x]\n    return x",
    "a value within itself": "def g(a, b):\n    x = []\n    x.append(x)\n    return x",
    "a hash that takes for ever": (
        "class E:\n    def __hash__(self):\n        while True: pass\ndef g(a, b): return {E()}"
    ),
    "a look at the disk": (
        "import os\ndef g(a, b):\n    for folder, _, files in os.walk('/'):\n"
        "        for name in files:\n            if name.endswith(('.jsonl', '.sqlite')):\n"
        "                return a + b\n    return 0"
    ),
    "a text of many bytes": f"# {'漢' * 60_000}\n{SUM}",
    "a null": "def g(a, b): return 0\0",
    "half a surrogate pair": "def g(a, b): return '\\ud800'",
}
PROGRAMS = {
    "output without end": "while True: print('x' * 10 ** 6)",
    "a quiet exit": "import sys\nsys.exit(0)",
    "a sudden exit": "import os\nos._exit(0)",
    "another failure": "print(7)\nimport sys\nsys.exit('no')",
    "a number that is none": "print('sNaN')",
    "a number of millions of digits": "print('9' * 10 ** 6)",
    "a number beyond all": "print('1e999999999999999999')",
    "no output": "import sys\nsys.stdout = None\nprint(7)",
    "a patched comparison": "import builtins\nbuiltins.str = lambda *a: '7'\nprint(8)",
    "a result for all tests": (
        "import sys\nframe = sys._getframe(1)\nframe.f_globals['f'] = lambda i: '7'\nprint(8)"
    ),
    "recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
    "processes": "import os\nwhile True: os.fork()",
    "threads": (
        "import _thread\ndef spin():\n    while True: pass\n"
        "while True: _thread.start_new_thread(spin, ())"
    ),
    "more input than there is": "while True: input()",
    "the tests": "TESTS",
    "what it is shown": "SHOWN",
}
LITERALS = [
    "9" * 15_000,
    "[" * 5_000,
    "-" * 5_000 + "1",
    "__import__('os').system('true')",
    "[0] * 10 ** 9",
    "x" * 20_000,
    "\0",
    "1) or (2",
    "*[1]",
    "{[]: 1}",
]


@pytest.mark.parametrize("what", FUNCTIONS)
async def test_a_hostile_function_is_wrong_and_the_next_is_graded(
    what: str, jail: SolutionJail
) -> None:
    of = reference(SUM, (1, 2), (3, 4))
    assert not (await marked(jail, of, FUNCTIONS[what])).correct
    assert (await marked(jail, of, SUM)).correct


@pytest.mark.parametrize(
    "name", ["reference: the row", "no answer", "x" * 10**6, "two\nlines", "<b>"]
)
async def test_a_reason_is_never_in_a_solutions_words(name: str, jail: SolutionJail) -> None:
    forged = (
        "import sys\ndef g(a, b):\n    results = sys._getframe(1).f_locals['results']\n"
        f"    results[:1] = [(False, {name!r})] * len(results)\n    return 0"
    )
    raised = f"def g(a, b):\n    raise type({name!r}, (Exception,), {{}})"
    for code in (forged, raised):
        mark = await marked(jail, reference(SUM, (1, 2), (3, 4)), code)
        assert not mark.correct
        assert not mark.reason.startswith(("reference", "no answer", "<"))
        assert len(mark.reason) < 2 * MAX_NAME_CHARS
        assert mark.reason.isprintable()


@pytest.mark.parametrize("what", PROGRAMS)
async def test_a_hostile_program_is_wrong_and_the_next_is_graded(
    what: str, jail: SolutionJail, tmp_path: Path
) -> None:
    path = tmp_path / "row.jsonl"
    of = program_row(path, [("7\n", "7"), ("7\n" + "0 " * 20_000, "7")])
    code = PROGRAMS[what]
    if what == "the tests":
        code = f"import json\nprint(json.loads(open({str(path)!r}).read()))\nprint(7)"
    if what == "what it is shown":
        code = (
            "import os\nfor folder, _, names in os.walk('/data'):\n"
            "    for name in names: print(open(f'{folder}/{name}').read()[:1])\nprint(7)"
        )
    assert not (await ProgramGrader(jail).mark(of, code)).correct
    assert (await ProgramGrader(jail).mark(of, "print(int(input()))")).correct


@pytest.mark.parametrize("number", ["sNaN", "-sNaN7", "nan", "1e999999999999999999", "9" * 10**6])
def test_no_number_is_too_strange_to_compare(number: str) -> None:
    assert not same_output(number, "7")
    assert not same_output(f"7 {number}", "7 7")


async def execution(jail: SolutionJail, hidden: str, answer: str) -> Mark:
    of = ExecutionReference(
        program="def f(x):\n    while x > 1: x -= 1\n    return x",
        entry_point="f",
        arguments="1",
        output="1",
        hidden="input" if hidden == "input" else "output",
    )
    return await ExecutionGrader(jail).mark(of, answer)


@pytest.mark.parametrize("hidden", ["input", "output"])
async def test_hostile_literals_are_wrong_and_the_next_is_graded(
    hidden: str, jail: SolutionJail
) -> None:
    endless = ["1" + "0" * 3_000] if hidden == "input" else []
    for answer in [*LITERALS, *endless]:
        assert not (await execution(jail, hidden, answer)).correct, answer[:40]
    assert (await execution(jail, hidden, "1")).correct


@pytest.mark.parametrize(
    "piece", [r"\boxed{", r"\[", "{", "<answer>", "```python\n", "``` ", "\n "]
)
def test_a_response_that_repeats_itself_holds_nothing_up(piece: str) -> None:
    response = piece * (300_000 // len(piece))  # hours, if anything here were quadratic
    for body in (response, f"<answer>{response}</answer>", f"```\n{response}"):
        assert math_answer(body) is None or "<answer>" in body
        assert code_answer(body) is None or "```" in body
        literal_answer(body, "output")
