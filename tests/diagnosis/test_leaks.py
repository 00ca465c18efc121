"""Laws of leaks: what gives an answer away is found, what only resembles it is not."""

from __future__ import annotations

import pytest

from azr.diagnosis.leaks import gives_answer_away, is_lookup_table, is_trivial
from azr.program_measures import parsed
from azr.task_types import MAIN_TYPES
from azr.types import Example, TaskDraft, TaskType
from azr.values import from_python

DEDUCTION, ABDUCTION, INDUCTION = MAIN_TYPES


def task(
    program: str,
    *pairs: tuple[str, object],
    task_type: TaskType = DEDUCTION,
    message: str = "",
) -> TaskDraft:
    examples = tuple(Example(arguments, from_python(output)) for arguments, output in pairs)
    return TaskDraft(task_type=task_type, program=program, examples=examples, message=message)


def gives_away(draft: TaskDraft) -> bool:
    tree = parsed(draft.program)
    assert tree is not None
    return gives_answer_away(draft, tree)


def trivial(draft: TaskDraft) -> bool:
    tree = parsed(draft.program)
    assert tree is not None
    return is_trivial(draft, tree)


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("def f(a):\n    return a * 3  # 3", 3),
        ("def f(a):\n    return a  # gives [1,2]", [1, 2]),
        ('def f(a):\n    """It isn\'t hard: [1, 2]."""\n    return a', [1, 2]),
        ("def f(a):\n    return a[::-1]  # olleh", "olleh"),
        ("def f(a):\n    return a[::-1]  # 'olleh'", "olleh"),
        ("# 1234\ndef f(a):\n    return a", 1234),
    ],
)
def test_a_comment_that_holds_the_output_gives_a_deduction_away(program: str, output: object):
    assert gives_away(task(program, ("1", output)))


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("def f(a):\n    return a * 3", 3),
        ("def f(a):\n    return a + 1  # adds 1", 1),
        ("def f(a):\n    return a  # 12345", 234),
        ("def f(a):\n    return a  # reversed", "verse"),
        ("def f(a):\n    return [1, 2]", [1, 2]),
        ("def f(a):\n    b = '[1, 2]'\n    return a", [1, 2]),
        ("def f(a):\n    return a  # adds", ""),
    ],
)
def test_chance_and_code_give_nothing_away(program: str, output: object):
    assert not gives_away(task(program, ("1", output)))


def test_an_abduction_is_given_away_by_its_input_not_by_its_output():
    program = "def f(a, b):\n    return a * b  # try 12, 34"
    assert gives_away(task(program, ("12, 34", 408), task_type=ABDUCTION))
    assert not gives_away(task(program, ("6, 68", 408), task_type=ABDUCTION))


def test_a_message_must_hold_neither_code_nor_a_hidden_output():
    def told(message: str) -> bool:
        pairs = [("1", 111), ("2", 222), ("3", 333), ("4", 444)]
        program = "def f(a):\n    return a * 1110 // 10"
        return gives_away(task(program, *pairs, task_type=INDUCTION, message=message))

    assert told("return a * 1110 // 10")
    assert told("the last is 444")
    assert not told("the first is 111")
    assert not told("first multiply")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(a):\n    return a", True),
        ('def f(a):\n    """Identity."""\n    return a', True),
        ("def f(a):\n    return 7", True),
        ("def f(a):\n    a = 3\n    return 7", True),
        ("def f(a, b):\n    return b", True),
        ("def f(a):\n    return a + 0", False),
        ("def f(a):\n    b = a\n    return b", False),
        ("def f(*a):\n    return len(a)", False),
        ("f = 3", False),
    ],
)
def test_a_program_that_ignores_or_returns_its_arguments_is_trivial(program: str, expected: bool):  # noqa: FBT001
    assert trivial(task(program, ("1", 1))) is expected


def test_an_induction_whose_outputs_are_equal_is_trivial():
    program = "def f(a):\n    return a > 0"
    assert trivial(task(program, ("1", True), ("2", True), task_type=INDUCTION))
    assert not trivial(task(program, ("1", True), ("-2", False), task_type=INDUCTION))


SHOWN = [Example("[1, 2]", from_python(21)), Example("'ab'", from_python("ba"))]


@pytest.mark.parametrize(
    "answer",
    [
        "def f(a):\n    return {'x': 1}.get(a, 21) if a == [1, 2] else 'ba' if a == 'ab' else 0",
        "def f(a):\n    if a == [1,2]:\n        return 21\n    if a == 'ab':\n        return 'ba'",
    ],
)
def test_an_answer_that_lists_the_shown_pairs_is_a_lookup_table(answer: str):
    assert is_lookup_table(answer, SHOWN)


@pytest.mark.parametrize(
    "answer",
    [
        "def f(a):\n    return a[::-1]",
        "def f(a):\n    if a == [1, 2]:\n        return 21\n    return a[::-1]",
        "def f(a:",
        "",
    ],
)
def test_a_rule_with_one_special_case_is_no_table(answer: str):
    assert not is_lookup_table(answer, SHOWN)


def test_a_comment_that_names_the_class_gives_an_error_task_away():
    told = "def f(a):\n    return a[3]  # IndexError"
    untold = "def f(a):\n    return a[3]  # too far"
    for program, expected in {told: True, untold: False}.items():
        assert (
            gives_away(task(program, ("[1]", "IndexError"), task_type=TaskType.ERROR)) is expected
        )
