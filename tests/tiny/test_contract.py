"""Every generated training text claims something true: the jail says so."""

import random
import re
from collections.abc import AsyncIterator

import pytest

from azr.config import SandboxSection
from azr.parsing import blocks, parse_answer, parse_induction_proposal, parse_proposal
from azr.sandbox import SandboxPool
from azr.tiny.samples import Sample, draw_sample
from azr.types import Answer, Cell, Proposal, Role, TaskType, Verdict
from azr.values import literal

SAMPLES = 50


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[SandboxPool]:
    async with SandboxPool.open(SandboxSection(workers=1)) as pool:
        yield pool


def samples_of(cell: Cell) -> list[Sample]:
    rng = random.Random(11)  # noqa: S311
    return [draw_sample(rng, cell) for _ in range(SAMPLES)]


def shown(sample: Sample, tag: str) -> list[str]:
    return [text for found, text in blocks(sample.prompt) if found == tag]


def answer(task_type: TaskType, sample: Sample) -> str:
    parsed = parse_answer(task_type, sample.response)
    assert isinstance(parsed, Answer)
    return parsed.text


async def results(pool: SandboxPool, program: str, calls: list[str]) -> list[str]:
    outcomes = await pool.run(program, calls)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.OK}, (program, calls, outcomes)
    return [literal(outcome.value) for outcome in outcomes if outcome.value is not None]


@pytest.mark.parametrize("task_type", [TaskType.DEDUCTION, TaskType.ABDUCTION])
async def test_proposed_pairs_validate(pool: SandboxPool, task_type: TaskType):
    for sample in samples_of(Cell(Role.PROPOSE, task_type)):
        proposal = parse_proposal(sample.response, single_function=True)
        assert isinstance(proposal, Proposal)
        (outcome,) = await pool.run(proposal.program, proposal.arguments)
        assert outcome.verdict is Verdict.OK


async def test_references_show_true_pairs(pool: SandboxPool):
    for sample in samples_of(Cell(Role.PROPOSE, TaskType.DEDUCTION))[:20]:
        programs, inputs = shown(sample, "python"), shown(sample, "input")
        for program, arguments, output in zip(
            programs, inputs, shown(sample, "output"), strict=True
        ):
            assert await results(pool, program, [arguments]) == [output]


async def test_proposed_induction_inputs_run(pool: SandboxPool):
    for sample in samples_of(Cell(Role.PROPOSE, TaskType.INDUCTION)):
        (program,) = shown(sample, "python")
        parsed = parse_induction_proposal(sample.response, program=program, num_pairs=4)
        assert isinstance(parsed, Proposal)
        await results(pool, program, list(parsed.arguments))
        assert not re.search(r"\d", parsed.message)


async def test_deduced_outputs_are_right(pool: SandboxPool):
    for sample in samples_of(Cell(Role.SOLVE, TaskType.DEDUCTION)):
        (program,), calls = shown(sample, "python"), shown(sample, "input")
        assert await results(pool, program, calls) == [answer(TaskType.DEDUCTION, sample)]


async def test_abduced_inputs_give_the_output(pool: SandboxPool):
    for sample in samples_of(Cell(Role.SOLVE, TaskType.ABDUCTION)):
        (program,), outputs = shown(sample, "python"), shown(sample, "output")
        assert await results(pool, program, [answer(TaskType.ABDUCTION, sample)]) == outputs


async def test_induced_programs_give_the_shown_pairs(pool: SandboxPool):
    for sample in samples_of(Cell(Role.SOLVE, TaskType.INDUCTION)):
        program = answer(TaskType.INDUCTION, sample)
        assert await results(pool, program, shown(sample, "input")) == shown(sample, "output")
