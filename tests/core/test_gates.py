"""Each gate refuses what it is for, and nothing when it is off."""

from __future__ import annotations

import pytest

from azr.config import SelfPlaySection
from azr.gates import refusal
from azr.types import Example, Task, TaskDraft, TaskType, Value, Verdict

PROGRAM = "def f(a, b):\n    total = a * 3 + b\n    return total % 7"
SWITCHES = (
    *("reject_reference_programs", "reject_message_code"),
    *("reject_repeated_inputs", "reject_constant_outputs"),
)


def induction(message: str = "", inputs: str = "1234", outputs: str = "1234") -> TaskDraft:
    examples = tuple(
        Example(i, Value(o)) for i, o in zip(inputs.split() or [], outputs.split(), strict=True)
    ) if " " in inputs else tuple(
        Example(i, Value(o)) for i, o in zip(inputs, outputs, strict=True)
    )  # fmt: skip
    return TaskDraft(
        task_type=TaskType.INDUCTION, program=PROGRAM, examples=examples, message=message
    )


def verdict(draft: TaskDraft, *switches: str, references: tuple[Task, ...] = ()) -> Verdict | None:
    play = SelfPlaySection.model_validate(dict.fromkeys(switches, True))
    found = refusal(draft, references, play)
    return None if found is None else found.verdict


@pytest.mark.parametrize(
    "message",
    [
        "f computes total = a*3+b",
        "the result is `total % 7`",
        "def g(x): return x",
        "use lambda x: x + 1",
        "```python\npass\n```",
    ],
)
def test_a_message_with_code_of_the_program_is_a_leak(message: str):
    assert verdict(induction(message), "reject_message_code") is Verdict.LEAKED_MESSAGE


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Multiply the first number by three, add the second, and take the remainder by 7.",
        "The total of a and b: a defined pattern. Return it.",
    ],
)
def test_a_message_in_words_is_none(message: str):
    assert verdict(induction(message), *SWITCHES) is None


def test_hidden_inputs_must_not_have_been_shown():
    repeated = induction(inputs="[1] [2] [3] [1]", outputs="1 2 3 1")
    assert verdict(repeated, "reject_repeated_inputs") is Verdict.REPEATED_INPUT
    assert verdict(induction(inputs="[1] [2] [3] [3]", outputs="1 2 3 3"), *SWITCHES) is None


def test_outputs_must_not_all_be_equal():
    constant = induction(inputs="1234", outputs="5555")
    assert verdict(constant, "reject_constant_outputs") is Verdict.CONSTANT_OUTPUT
    assert verdict(induction(inputs="1234", outputs="5556"), *SWITCHES) is None


def test_a_program_that_was_shown_is_not_novel():
    shown = TaskDraft(
        task_type=TaskType.DEDUCTION, program=PROGRAM, examples=(Example("1, 2", Value("5")),)
    )
    again = TaskDraft(
        task_type=TaskType.DEDUCTION,
        program=PROGRAM + "  # mine",
        examples=(Example("3, 4", Value("6")),),
    )
    references = (shown.with_id(1),)
    switch = "reject_reference_programs"
    assert verdict(again, switch, references=references) is Verdict.NOT_NOVEL
    assert verdict(again, switch) is None


def test_gates_that_are_off_let_everything_pass():
    leaky = induction("def f(a, b): return (a * 3 + b) % 7", inputs="1111", outputs="5555")
    assert verdict(leaky) is None
