"""Golden renderings of the six prompts: the tiny model was trained on exactly these."""

from azr.prompts import CompactPrompts, propose_within
from azr.types import Example, Task, TaskType
from azr.values import from_python

PROGRAM = "def f(a):\n    return a + 1"


def task(task_type: TaskType, *pairs: tuple[str, object], message: str = "") -> Task:
    return Task(
        task_id=1,
        task_type=task_type,
        program=PROGRAM,
        examples=tuple(Example(arguments, from_python(value)) for arguments, value in pairs),
        message=message,
    )


def test_proposing_a_deduction_shows_whole_references():
    prompt = CompactPrompts().propose(
        TaskType.DEDUCTION, [task(TaskType.DEDUCTION, ("1", 2))], num_pairs=4
    )
    assert prompt == (
        "propose deduction\n"
        "```python\ndef f(a):\n    return a + 1\n```\n```input\n1\n```\n```output\n2\n```\n"
        "<think>"
    )


def test_proposing_an_induction_shows_the_program_and_asks_for_n_inputs():
    prompt = CompactPrompts().propose(
        TaskType.INDUCTION, [task(TaskType.DEDUCTION, ("1", 2))], num_pairs=4
    )
    assert prompt == ("propose induction 4\n```python\ndef f(a):\n    return a + 1\n```\n<think>")


def test_solving_hides_what_the_type_hides():
    family = CompactPrompts()
    deduction = family.solve(task(TaskType.DEDUCTION, ("'x'", "secret")))
    assert "secret" not in deduction
    assert deduction.startswith("solve deduction\n```python\n")
    abduction = family.solve(task(TaskType.ABDUCTION, ("'secret'", [1, "y"])))
    assert "secret" not in abduction
    assert "```output\n[1, 'y']\n```" in abduction
    pairs = [(str(i), i + 1) for i in range(4)]
    induction = family.solve(task(TaskType.INDUCTION, *pairs, message="add"))
    assert induction == (
        "solve induction\n"
        "```input\n0\n```\n```output\n1\n```\n```input\n1\n```\n```output\n2\n```\n"
        "```message\nadd\n```\n<think>"
    )


def test_references_that_do_not_fit_are_left_out_from_the_end():
    references = [task(TaskType.DEDUCTION, (str(i), i)) for i in range(6)]
    full = CompactPrompts().propose(TaskType.DEDUCTION, references, num_pairs=4)
    prompt = propose_within(
        CompactPrompts(),
        TaskType.DEDUCTION,
        references,
        num_pairs=4,
        fits=lambda text: len(text) < len(full) / 2,
    )
    kept = prompt.count("```python")
    assert 0 < kept < 3
    assert prompt == CompactPrompts().propose(TaskType.DEDUCTION, references[:kept], num_pairs=4)
