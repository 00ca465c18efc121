"""Which texts count as the same program."""

from __future__ import annotations

import pytest

from azr.normal_form import arguments_form, program_form, task_key
from azr.types import Example, TaskDraft, TaskType, Value

PLAIN = "def f(xs, k):\n    total = 0\n    for x in xs:\n        total += x * k\n    return total"
LAID_OUT = '''
def f( xs,k ):  # sums
  """Sum."""

  total = 0
  for x in xs :

    total += x*k   # here
  return total
'''
RENAMED = PLAIN.replace("total", "acc").replace("xs", "items").replace("x ", "e ").replace("k", "m")


def test_comments_docstrings_and_layout_do_not_make_another_program():
    assert program_form(PLAIN, "tokens") == program_form(LAID_OUT, "tokens")
    assert program_form(PLAIN, "text") != program_form(LAID_OUT, "text")


def test_other_names_make_another_program_unless_names_do_not_count():
    assert program_form(PLAIN, "tokens") != program_form(RENAMED, "tokens")
    assert program_form(PLAIN, "renamed") == program_form(RENAMED, "renamed")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(a, b):\n    return a - b", "def f(a, b):\n    return b - a"),
        ("def f(a):\n    return min(a)", "def f(a):\n    return max(a)"),
        ("def f(a):\n    return a.lower()", "def f(a):\n    return a.upper()"),
        ("def f(a):\n    return max(a, key=len)", "def f(a):\n    return max(a, default=len)"),
        ("import math\ndef f(a):\n    return a", "import json\ndef f(a):\n    return a"),
        ("def f(a):\n  if a:\n    a += 1\n    a += 2", "def f(a):\n  if a:\n    a += 1\n  a += 2"),
        ("def f(a):\n    return 'x y'", "def f(a):\n    return 'x  y'"),
        ("def f(a):\n    return f'{a}b'", "def f(a):\n    return f'{a}c'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("same", ["tokens", "renamed"])
def test_another_computation_is_another_program(one: str, other: str, same):
    assert program_form(one, same) != program_form(other, same)


@pytest.mark.parametrize(
    "text", ["def f(:\n  'unclosed", "if x:\n    a\n  b", "(((", "\x00", "\ud800", "0_", "é€ ?"]
)
def test_text_that_is_no_python_is_its_own_form(text: str):
    for same in ("tokens", "renamed"):
        assert isinstance(program_form(text, same), str)
    assert program_form(text, "tokens") != program_form(PLAIN, "tokens")


def test_inputs_differ_by_their_values_not_their_spacing():
    assert arguments_form("[1,2], k=3") == arguments_form(" [1, 2],  k = 3")
    assert arguments_form("'a b'") != arguments_form("'ab'")
    assert arguments_form("1") != arguments_form("(1,)")


def test_a_key_tells_programs_and_inputs_apart():
    def key(program: str, *inputs: str) -> tuple[str, ...]:
        examples = tuple(Example(text, Value("1")) for text in inputs)
        draft = TaskDraft(task_type=TaskType.DEDUCTION, program=program, examples=examples)
        return task_key(draft, "tokens")

    assert key(PLAIN, "[1], 2") == key(LAID_OUT, "[ 1 ],2")
    assert key(PLAIN, "[1], 2") != key(PLAIN, "[1], 3")
    assert key(PLAIN, "1", "2") != key(PLAIN, "2", "1")


def test_by_program_inputs_count_for_induction_only():
    def key(task_type: TaskType, program: str, inputs: str) -> tuple[str, ...]:
        examples = (Example(inputs, Value("1")),)
        draft = TaskDraft(task_type=task_type, program=program, examples=examples)
        return task_key(draft, "tokens", "program")

    other = PLAIN.replace("*", "+")
    for given in (TaskType.DEDUCTION, TaskType.ABDUCTION):
        assert key(given, PLAIN, "1") == key(given, LAID_OUT, "2")
        assert key(given, PLAIN, "1") != key(given, other, "1")
    assert key(TaskType.INDUCTION, PLAIN, "1") != key(TaskType.INDUCTION, PLAIN, "2")
