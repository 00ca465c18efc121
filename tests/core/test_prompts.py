"""What the model is asked: golden renderings, and what a user's templates may say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from azr.config import PromptSection
from azr.errors import ConfigError
from azr.parsing import blocks, parse_proposal
from azr.prompts import (
    THINK_OPEN,
    CompactPrompts,
    PromptFamily,
    family_of,
    propose_within,
    question_prompt,
)
from azr.prompts.r1 import MODULES, REFUSED
from azr.prompts.templates import TEMPLATES, TEXTS
from azr.sandbox.guest.policy import violation
from azr.sandbox.guest.rules import ALLOWED_MODULES
from azr.task_types import PAIR_TYPES
from azr.types import Example, Proposal, Role, Task, TaskType
from azr.values import from_python

PROGRAM = "def f(a):\n    return a + 1"
HOSTILE = 'def f(a):\n    return f"${a} {{}} $$ ${undefined} $references %s {program}"'
GOLDEN = Path(__file__).parent / "golden_prompts"
R1 = PromptSection(family="r1")


def task(
    task_type: TaskType, *pairs: tuple[str, object], message: str = "", program: str = PROGRAM
) -> Task:
    return Task(
        task_id=1,
        task_type=task_type,
        program=program,
        examples=tuple(Example(arguments, from_python(value)) for arguments, value in pairs),
        message=message,
    )


def rendered(family: PromptFamily, role: Role, task_type: TaskType) -> str:
    """A prompt whose every part is different from the others'."""
    pairs: list[tuple[str, object]] = [(f"{number}", number + 1) for number in range(4)]
    if task_type is TaskType.ERROR:
        pairs = [("'a'", "TypeError"), ("[]", "ValueError")]
    if role is Role.PROPOSE:
        shown = [task(task_type, pair) for pair in pairs[:2]]
        references = shown[:1] if task_type is TaskType.INDUCTION else shown
        return family.propose(task_type, references, num_pairs=4)
    examples = pairs if task_type is TaskType.INDUCTION else pairs[:1]
    return family.solve(task(task_type, *examples, message="one more"))


# --- the compact family: the tiny model was trained on exactly these ------------------------------


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


def test_an_error_task_shows_references_with_their_errors_and_hides_its_own():
    family = CompactPrompts()
    failing = task(TaskType.ERROR, ("'x'", "TypeError"))
    shown = "```python\ndef f(a):\n    return a + 1\n```\n```input\n'x'\n```\n"
    assert family.propose(TaskType.ERROR, [failing], num_pairs=4) == (
        f"propose error\n{shown}```error\nTypeError\n```\n<think>"
    )
    assert family.solve(failing) == f"solve error\n{shown}<think>"


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


# --- the r1 family --------------------------------------------------------------------------------


@pytest.mark.parametrize("task_type", TaskType)
@pytest.mark.parametrize("role", Role)
def test_each_instructed_prompt_is_the_golden_one(role: Role, task_type: TaskType):
    golden = (GOLDEN / f"{role}_{task_type}.txt").read_text(encoding="utf-8")
    assert rendered(family_of(R1), role, task_type) + "\n" == golden


def test_the_outer_template_is_the_golden_one():
    golden = (GOLDEN / "outer.txt").read_text(encoding="utf-8")
    assert question_prompt("How many?", R1) + "\n" == golden


@pytest.mark.parametrize("section", [PromptSection(), R1], ids=lambda section: section.family)
@pytest.mark.parametrize("task_type", TaskType)
@pytest.mark.parametrize("role", Role)
def test_every_prompt_ends_inside_one_opened_think_part(
    section: PromptSection, role: Role, task_type: TaskType
):
    assert rendered(family_of(section), role, task_type).endswith(THINK_OPEN)


@pytest.mark.parametrize("hidden", TaskType)
def test_an_instructed_solver_is_not_shown_what_it_has_to_find(hidden: TaskType):
    shown = [("'inner'", "outer"), ("1", 2), ("'held back'", "kept back"), ("3", 4)]
    pairs = shown if hidden is TaskType.INDUCTION else shown[:1]
    prompt = family_of(R1).solve(task(hidden, *pairs, message="a hint"))
    secrets = {
        TaskType.DEDUCTION: ["outer"],
        TaskType.ABDUCTION: ["inner"],
        TaskType.INDUCTION: ["a + 1", "held back", "kept back"],
        TaskType.ERROR: ["outer"],
    }[hidden]
    assert not [secret for secret in secrets if secret in prompt]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("task_type", TaskType)
def test_dollars_and_braces_of_programs_survive(role: Role, task_type: TaskType):
    pairs = [('"$a {b} $$"', "${x} $$ {}")] * 4
    examples = pairs if task_type is TaskType.INDUCTION else pairs[:1]
    hostile = task(task_type, *examples, message="costs $5 {net} $program", program=HOSTILE)
    family = family_of(R1)
    if role is Role.PROPOSE:
        assert HOSTILE in family.propose(task_type, [hostile], num_pairs=4)
        return
    prompt = family.solve(hostile)
    wanted = {
        TaskType.DEDUCTION: [HOSTILE, '"$a {b} $$"'],
        TaskType.ABDUCTION: [HOSTILE, "'${x} $$ {}'"],
        TaskType.INDUCTION: ["costs $5 {net} $program", '"$a {b} $$"', "'${x} $$ {}'"],
        TaskType.ERROR: [HOSTILE, '"$a {b} $$"'],
    }[task_type]
    assert all(text in prompt for text in wanted)


def test_references_are_numbered_and_without_any_nothing_is_said_of_them():
    references = [task(TaskType.DEDUCTION, (str(i), i)) for i in range(3)]
    full = family_of(R1).propose(TaskType.DEDUCTION, references, num_pairs=4)
    assert all(f"<task_{number}>" in full for number in (1, 2, 3))
    none = family_of(R1).propose(TaskType.DEDUCTION, [], num_pairs=4)
    assert "task_" not in none
    assert "exist already" not in none
    assert none.endswith(f"your reply.\nAssistant: {THINK_OPEN}")


def test_swapped_criteria_exchange_what_the_two_proposers_are_asked_for():
    def proposer(task_type: TaskType, *, swapped: bool) -> str:
        section = PromptSection(family="r1", swapped_criteria=swapped)
        return family_of(section).propose(task_type, [], num_pairs=4)

    output, input_ = "the output takes real work", "an input takes real work"
    for swapped in (False, True):
        deduction = proposer(TaskType.DEDUCTION, swapped=swapped)
        abduction = proposer(TaskType.ABDUCTION, swapped=swapped)
        assert (output in deduction, input_ in deduction) == (not swapped, swapped)
        assert (input_ in abduction, output in abduction) == (not swapped, swapped)


def test_without_the_outer_template_a_prompt_is_its_question_and_an_opened_think_part():
    bare = PromptSection(family="r1", outer="none")
    assert question_prompt("Why?", bare) == f"Why?\n{THINK_OPEN}"
    for task_type in TaskType:
        framed = rendered(family_of(R1), Role.SOLVE, task_type)
        question = rendered(family_of(bare), Role.SOLVE, task_type).removesuffix(THINK_OPEN)
        assert question.rstrip("\n") in framed


def test_proposers_are_told_what_the_task_policy_says():
    assert set(MODULES) == ALLOWED_MODULES
    for word in REFUSED:
        as_module, as_name = f"import {word}", f"def f(a):\n    return {word}(a)"
        assert any(violation(ast.parse(text), text) for text in (as_module, as_name)), word


@pytest.mark.parametrize("task_type", [*PAIR_TYPES, TaskType.ERROR])
def test_the_example_of_a_proposer_prompt_is_itself_a_proposal(task_type: TaskType):
    text = (TEXTS / "r1" / f"propose_{task_type}.txt").read_text(encoding="utf-8")
    example = "".join(f"```{tag}\n{body}\n```\n" for tag, body in blocks(text))
    parsed = parse_proposal(f"x</think><answer>{example}</answer>", single_function=True)
    assert isinstance(parsed, Proposal)
    assert violation(ast.parse(parsed.program), parsed.program) is None


# --- a user's templates ---------------------------------------------------------------------------


def own(folder: Path, **texts: str) -> PromptSection:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return PromptSection(family="r1", templates=str(folder))


def test_a_template_of_ones_own_replaces_the_shipped_one_and_no_other(tmp_path: Path):
    section = own(tmp_path, solve_deduction="Run it for $$0:\n$program\non $input\n")
    prompt = family_of(section).solve(task(TaskType.DEDUCTION, ("7", 8)))
    assert f"User: Run it for $0:\n{PROGRAM}\non 7\nAssistant:" in prompt
    shipped = rendered(family_of(R1), Role.SOLVE, TaskType.ABDUCTION)
    assert rendered(family_of(section), Role.SOLVE, TaskType.ABDUCTION) == shipped


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("solve_deduction", "$program only", "$input is missing"),
        ("solve_deduction", "$program $input $outptu", "$outptu is not a placeholder"),
        ("solve_deduction", "$progam $input", "did you mean $program?"),
        ("solve_deduction", "a\n$program $input\n5 $ each", "line 3 has a $"),
        ("solve_deducton", "$program $input", "did you mean solve_deduction.txt?"),
        ("outer", "Q: $question A:", "must end with <think>"),
        ("outer", "no question <think>", "$question is missing"),
        ("propose_induction", "$program", "$num_inputs is missing"),
        ("difficulty_deduction", "as hard as $task", "$task is not a placeholder"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, name: str, text: str, said: str
):
    section = own(tmp_path, **{name: text})
    with pytest.raises(ConfigError) as refused:
        family_of(section)
    assert f"{name}.txt" in str(refused.value)
    assert said in str(refused.value)
    assert refused.value.hint


def test_a_folder_that_holds_no_templates_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no folder"):
        family_of(PromptSection(family="r1", templates=str(tmp_path / "absent")))
    with pytest.raises(ConfigError, match="has no template"):
        family_of(PromptSection(family="r1", templates=str(tmp_path)))
    (tmp_path / "outer.txt").write_bytes(b"\xff$question<think>")
    with pytest.raises(ConfigError, match="not UTF-8"):
        family_of(PromptSection(family="r1", templates=str(tmp_path)))


def test_the_compact_family_has_no_templates(tmp_path: Path):
    with pytest.raises(ConfigError, match="compact family has no templates"):
        family_of(PromptSection(templates=str(tmp_path)))


def test_every_template_file_is_listed_and_every_listed_one_is_there():
    assert {path.stem for path in (TEXTS / "r1").iterdir()} == set(TEMPLATES)
