"""The generator: its language, its traces and the contract its texts keep."""

import itertools
import random

import pytest

from azr.parsing import parse_answer, parse_induction_proposal, parse_proposal
from azr.prompts import CompactPrompts
from azr.task_types import MAIN_CELLS, MAIN_TYPES
from azr.tiny.operations import OPERATIONS, draw_datum
from azr.tiny.programs import Stuck, draw_program
from azr.tiny.samples import MIXTURE, Sample, draw_sample, generate_samples
from azr.types import Answer, Cell, Example, Proposal, Role, Task, TaskType
from azr.values import from_python


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def samples_of(cell: Cell, count: int, seed: int = 7) -> list[Sample]:
    rng = seeded(seed)
    return [draw_sample(rng, cell) for _ in range(count)]


def test_the_same_seed_gives_the_same_samples():
    first, again, other = (list(itertools.islice(generate_samples(s), 50)) for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_every_cell_is_drawn_about_as_often_as_the_mixture_says():
    drawn = [sample.cell for sample in itertools.islice(generate_samples(0), 3000)]
    for cell in MAIN_CELLS:
        assert abs(drawn.count(cell) / 3000 - MIXTURE[cell]) < 0.03


@pytest.mark.parametrize("task_type", [TaskType.DEDUCTION, TaskType.ABDUCTION])
def test_pair_proposals_parse_with_one_function(task_type):
    for sample in samples_of(Cell(Role.PROPOSE, task_type), 200):
        assert isinstance(parse_proposal(sample.response, single_function=True), Proposal)


def test_induction_proposals_give_as_many_distinct_inputs_as_their_prompt_asks():
    for sample in samples_of(Cell(Role.PROPOSE, TaskType.INDUCTION), 200):
        wanted = int(sample.prompt.split("\n", 1)[0].rsplit(" ", 1)[1])
        parsed = parse_induction_proposal(sample.response, program="", num_pairs=wanted)
        assert isinstance(parsed, Proposal)
        assert len(set(parsed.arguments)) == wanted


@pytest.mark.parametrize("task_type", MAIN_TYPES)
def test_solver_responses_parse(task_type):
    for sample in samples_of(Cell(Role.SOLVE, task_type), 200):
        assert isinstance(parse_answer(task_type, sample.response), Answer)


def test_solver_prompts_are_those_of_the_compact_family():
    rng = seeded(5)
    drawn = draw_program(rng)
    example = Example(", ".join(map(repr, drawn.inputs)), from_python(drawn.output))
    task = Task(
        task_id=1,
        task_type=TaskType.DEDUCTION,
        program=drawn.program.text,
        examples=(example,),
    )
    prompt = CompactPrompts().solve(task)
    heads = {sample.prompt for sample in samples_of(Cell(Role.SOLVE, TaskType.DEDUCTION), 1)}
    assert prompt.startswith("solve deduction\n```python\ndef f(a")
    assert all(head.startswith("solve deduction\n```python\ndef f(a") for head in heads)


def test_a_backward_trace_ends_in_inputs_that_give_the_output():
    rng = seeded(1)
    checked = 0
    while checked < 300:
        drawn = draw_program(rng)
        try:
            _, inputs = drawn.program.backward(drawn.output)
        except Stuck:
            continue
        assert drawn.program.forward(inputs)[1] == drawn.output
        checked += 1


def test_undoing_an_operation_never_leaves_the_kind_it_takes():
    rng = seeded(2)
    for kind, operations in OPERATIONS.items():
        for operation in operations:
            value = draw_datum(rng, kind)
            constant = operation.draw(rng, value)
            output = operation.apply(value, constant)
            assert type(output).__name__ == operation.gives


def test_most_programs_are_distinct():
    rng = seeded(0)
    texts = [draw_program(rng).program.text for _ in range(1000)]
    assert len(set(texts)) > 700
