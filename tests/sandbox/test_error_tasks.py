"""Error tasks in the real jail: which programs have an error that can be predicted."""

from __future__ import annotations

import pytest

from azr.config import SelfPlaySection
from azr.error_seeds import ZERO_ERROR, error_seeds
from azr.prompts import CompactPrompts
from azr.raised import class_name
from azr.sandbox import SandboxPool
from azr.types import Example, Proposal, Rejection, TaskDraft, TaskType, Value
from azr.validation import task_from

CASES = {
    "an index": ("def f(a):\n    return a[3]", "[1]", "IndexError"),
    "a class of its own": (
        "class Torn(ValueError):\n    pass\ndef f(a):\n    raise Torn(a)", "1", "Torn"),
    "of a module": ("import json\ndef f(a):\n    return json.loads(a)", "'{'", "JSONDecodeError"),
    "while the program is loaded": ("x = 1 / 0\ndef f(a):\n    return a", "1", "ZeroDivisionError"),
    "a way out": ("def f(a):\n    raise SystemExit(a)", "3", "SystemExit"),
    "a stack without end": ("def f(a):\n    return f(a)", "1", "RecursionError"),
    "too few arguments": ("def f(a, b):\n    return a", "1", "TypeError"),
    "it returns": ("def f(a):\n    return a", "1", "no_error"),
    "it returns an exception": ("def f(a):\n    return ValueError()", "1", "unserialisable"),
    "it does not compile": ("def f(a:\n    return a", "1", "syntax_error"),
    "it does not end": ("def f(a):\n    while True:\n        pass", "1", "timeout"),
    "it eats memory": ("def f(a):\n    return [a] * 10 ** 10", "1", "oom"),
    "it says so": ("def f(a):\n    raise MemoryError", "1", "oom"),
    "a refused module": ("import os\ndef f(a):\n    return os.no", "1", "banned_import"),
    "no literal": ("def f(a):\n    return a[3]", "g(1)", "bad_input"),
    "a name that is cut": (
        "class " + "E" * 50 + "(Exception):\n    pass\ndef f(a):\n    raise " + "E" * 50, "1",
        "unserialisable"),
    "which class depends on the hash seed": (
        "def f(a):\n    first = list({'p', 'q', 'r', 's', 't', 'u', 'v', 'w'})[0]\n"
        "    return a[0] if first < 'q' else a['x'] if first < 's' else a.x if first < 'u'"
        " else 1 / 0", "()", "nondeterministic"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_what_becomes_of_a_program_that_should_fail(name: str, pool: SandboxPool) -> None:
    program, arguments, expected = CASES[name]
    outcomes = await pool.validate(program, [arguments], failing=True)
    proposal = Proposal(program=program, arguments=(arguments,))
    found = task_from(TaskType.ERROR, proposal, outcomes)
    if isinstance(found, Rejection):
        assert found.verdict == expected
    else:
        assert class_name(found.examples[0].output) == expected


async def test_the_hand_written_seed_raises_what_it_says(pool: SandboxPool) -> None:
    [example] = ZERO_ERROR.examples
    proposal = Proposal(program=ZERO_ERROR.program, arguments=(example.arguments,))
    outcomes = await pool.validate(proposal.program, proposal.arguments, failing=True)
    assert task_from(TaskType.ERROR, proposal, outcomes) == ZERO_ERROR


async def test_seeds_are_made_of_programs_that_run(pool: SandboxPool) -> None:
    programs = {
        "def f(a, b):\n    return a[b % len(a)]": "[1, 2], 3",
        "def f(a):\n    return a.upper()[1]": "'abc'",
        "def f(a):\n    return a": "7",
    }
    sources = [
        TaskDraft(
            task_type=TaskType.DEDUCTION, program=program, examples=(Example(text, Value("0")),)
        )
        for program, text in programs.items()
    ]

    async def made() -> list[TaskDraft]:
        return await error_seeds(
            sources,
            count=6,
            sandbox=pool,
            family=CompactPrompts(),
            fits=lambda _: True,
            play=SelfPlaySection(),
        )

    found = await made()
    assert len(found) == 6
    assert len({class_name(draft.examples[0].output) for draft in found}) >= 4
    assert {draft.program for draft in found} == {
        ZERO_ERROR.program,
        *(s.program for s in sources[:2]),
    }
    assert await made() == found
