"""Proposals that build on stored programs: what can be a function g, and what calls it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from azr.composition import composed, functions, num_composites, usable
from azr.config import PromptSection, RunConfig
from azr.config_extensions import CompositesSection
from azr.judging import judge_proposal, sampling_request
from azr.prompts import family_of
from azr.testing import ScriptedEngine
from azr.types import (
    Admission,
    Cell,
    Example,
    Outcome,
    Purpose,
    Rejection,
    Role,
    Task,
    TaskDraft,
    TaskType,
    Value,
    Verdict,
)


def task(program: str) -> Task:
    return Task(
        task_id=1,
        task_type=TaskType.DEDUCTION,
        program=program,
        examples=(Example("1", Value("1")),),
    )


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(a):\n    return a", "def g_0(a):\n    return a"),
        # recursion goes to the new name, strings and other names stay
        (
            "def f(a):\n    off = 'f'\n    return f(a - 1) if a else len(off)",
            "def g_0(a):\n    off = 'f'\n    return g_0(a - 1) if a else len(off)",
        ),
        (
            "import math\ndef f(a):\n    return math.pi",
            "import math\ndef g_0(a):\n    return math.pi",
        ),
        ('def f(a):\n    return f"{f} f" + "ü" + str(f)',
         'def g_0(a):\n    return f"{g_0} f" + "ü" + str(g_0)'),
    ],
)  # fmt: skip
def test_a_program_of_one_function_becomes_a_g(program: str, expected: str):
    assert functions([task(program)]) == (expected,)


@pytest.mark.parametrize(
    "program",
    [
        "def g_0(a):\n    return a\n\ndef f(a):\n    return g_0(a)",  # a composite
        "def helper(a):\n    return a\ndef f(a):\n    return helper(a)",
        "x = 1\ndef f(a):\n    return x",
        "def f(a, f):\n    return f",  # f is something else inside
        "def f(a):\n    f = 3\n    return f",
        "def f(a):\n    return a.f",
        "def f(a):\n    return dict(f=a)",
        "class f:\n    pass",
        "def f(a:\n",
        "",
    ],
)
def test_other_programs_do_not(program: str):
    assert usable([task(program), task("def f(a):\n    return 2")])[0].program.endswith("2")
    with pytest.raises(ValueError, match="task 1 is not one function"):
        functions([task(program)])


SOURCES = ("def g_0(a):\n    return a", "def g_1(a):\n    return a + 1")


def test_a_composed_program_is_the_functions_and_f():
    program = "def f(a):\n    return g_0(a) + g_1(a)"
    assert composed(SOURCES, program) == "\n\n".join([*SOURCES, program])


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("def f(a):\n    return g_0(a)", "f does not call g_1"),
        ("def f(a):\n    return [g_0, g_1]", "f does not call g_0"),
        ("def h(a):\n    return g_0(g_1(a))\ndef f(a):\n    return a", "f does not call g_0"),
        ("def g_1(a):\n    return 0\ndef f(a):\n    return g_0(g_1(a))", "g_1 is given another"),
        ("def f(a):\n    g_0 = len\n    return g_0(g_1(a))", "g_0 is given another meaning"),
        ("def f(a, g_0):\n    return g_0(g_1(a))", "g_0 is given another meaning"),
        ("from m import x as g_1\ndef f(a):\n    return g_0(g_1(a))", "g_1 is given another"),
        ("def f(a):\n    return [g_0(g_1(a)) for g_0 in a]", "g_0 is given another meaning"),
        (
            "def f(a):\n    match a:\n        case g_0:\n            return g_0(g_1(a))",
            "g_0 is given another meaning",
        ),
        ("def f(a:\n    return g_0(g_1(a))", "it does not parse"),
        ("def f(a):\n    return " + "(" * 300 + "g_0(g_1(a))" + ")" * 300, "it does not parse"),
    ],
)  # fmt: skip
def test_a_proposal_must_call_all_and_redefine_none(program: str, detail: str):
    found = composed(SOURCES, program)
    assert isinstance(found, Rejection)
    assert found.verdict is Verdict.NOT_COMPOSED
    assert found.detail.startswith(detail)


def test_functions_are_given_by_chance_from_a_step_on():
    section = CompositesSection(chance=0.5, start_step=3, most=3)
    assert {num_composites(section, 2, seed) for seed in range(300)} == {0}
    drawn = Counter(num_composites(section, 3, seed) for seed in range(3000))
    assert drawn[0] / 3000 == pytest.approx(0.5, abs=0.04)
    for count in (1, 2, 3):
        assert drawn[count] / 3000 == pytest.approx(1 / 6, abs=0.03)
    assert num_composites(CompositesSection(), 100, 7) == 0, "off by default"


@pytest.mark.parametrize("family", ["compact", "r1"])
def test_every_family_shows_the_functions_before_the_references(family):
    words = family_of(PromptSection(family=family))
    reference = task("def f(a):\n    return 99")
    prompt = words.propose(TaskType.DEDUCTION, [reference], num_pairs=2, composites=SOURCES)
    places = [prompt.index(part) for part in (*SOURCES, reference.program)]
    assert places == sorted(places)
    assert "g_0" not in words.propose(TaskType.DEDUCTION, [reference], num_pairs=2)


class OneSandbox:
    """Whatever is called returns 1."""

    async def run(
        self, program: str, calls: Sequence[str], *, stop_at_first_failure: bool = False
    ) -> tuple[Outcome, ...]:
        del program, stop_at_first_failure
        return tuple(Outcome(Verdict.OK, Value("1")) for _ in calls)

    async def validate(
        self, program: str, calls: Sequence[str], *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        del failing
        return await self.run(program, calls)

    async def parse_literals(self, texts: Sequence[str]) -> tuple[Outcome, ...]:
        return await self.run("", texts)


@pytest.mark.parametrize(
    ("fitting", "called", "accepted"),
    [
        (("g_0", "g_1"), ("g_0", "g_1"), True),
        (("g_0", "g_1"), ("g_0",), False),
        (("g_0",), ("g_0",), True),  # g_1 was too long for the prompt: nobody asks for it
        ((), (), True),
    ],
)
async def test_what_the_prompt_showed_is_what_must_be_called(fitting, called, accepted):
    hidden = [name for name in ("g_0", "g_1") if name not in fitting]

    def fits(prompt: str) -> bool:
        return not any(name in prompt for name in hidden)

    admission = Admission(
        admission_id=0,
        cell=Cell(Role.PROPOSE, TaskType.ABDUCTION),
        slot=0,
        version=0,
        seed=0,
        purpose=Purpose.TRAIN,
        composites=(task("def f(a):\n    return a"), task("def f(a):\n    return a + 1")),
    )
    run = RunConfig()
    request = sampling_request(admission, run, fits)
    assert all(f"def {name}(" in request.prompt for name in fitting)
    program = f"def f(a):\n    return a{''.join(f' + {name}(a)' for name in called)}"
    text = f"hm</think><answer>```python\n{program}\n```\n```input\n1\n```\n</answer>"
    [completion] = await ScriptedEngine(script=lambda _: text).sample([request])
    found = await judge_proposal(admission, completion, sandbox=OneSandbox(), config=run, fits=fits)
    assert isinstance(found, TaskDraft) == accepted
    if isinstance(found, TaskDraft):
        assert found.program.endswith(program)
        assert all(f"def {name}(" in found.program for name in fitting)
