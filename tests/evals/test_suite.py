"""The shipped suite: complete, true, and not in the pretraining data."""

import itertools
from collections import Counter

import pytest

from azr.config import RunConfig, SandboxSection
from azr.config_files import load
from azr.evals.build_held_out import Builder, pretraining_forms
from azr.evals.problems import Split, Suite, from_lines, to_lines
from azr.evals.structures import STRUCTURES
from azr.normal_form import program_form
from azr.prompts import family_of
from azr.sandbox import SandboxPool
from azr.seeding import IDENTITY_PROGRAM
from azr.task_types import MAIN_TYPES
from azr.tiny.pretrain import Recipe
from azr.tiny.reserved import ONE_IN, is_reserved
from azr.tiny.samples import generate_samples
from azr.tiny.vocabulary import build_tokenizer
from azr.values import equal

PER_TYPE = 100


def forms(suite: Suite, *splits: Split) -> set[str]:
    return {program_form(item.task.program, "renamed") for item in suite.select(splits)}


def test_every_split_has_a_hundred_problems_of_each_type(suite: Suite):
    counts = Counter((item.split, item.task.task_type) for item in suite.problems)
    assert counts == dict.fromkeys(itertools.product(Split, MAIN_TYPES), PER_TYPE)


def test_no_program_occurs_twice_up_to_renaming(suite: Suite):
    assert len(forms(suite, *Split)) == len(suite.problems)


def test_the_in_distribution_programs_are_all_reserved(suite: Suite):
    assert all(is_reserved(item.task.program) for item in suite.select([Split.IN_DISTRIBUTION]))


def test_pretraining_shows_no_reserved_program_any_more():
    samples = itertools.islice(generate_samples(5), 300)
    assert not any(is_reserved(program) for sample in samples for program in sample.programs)


def test_about_one_program_in_thirty_two_is_reserved_and_the_identity_is_not():
    programs = [f"def f(a):\n    return a + {number}" for number in range(4000)]
    assert abs(sum(map(is_reserved, programs)) - 4000 / ONE_IN) < 40
    assert not is_reserved(IDENTITY_PROGRAM)


def test_no_problem_is_in_the_first_chunks_that_the_shipped_weights_saw(suite: Suite):
    seen = pretraining_forms(tokens=2 * 135_000)
    assert len(seen) > Recipe().chunk_samples
    assert not seen & forms(suite, *Split)


def test_the_harder_split_has_every_structure_in_every_type(suite: Suite):
    harder = Counter((item.structure, item.task.task_type) for item in suite.select([Split.HARDER]))
    assert harder.keys() == set(itertools.product(STRUCTURES, MAIN_TYPES))
    assert set(harder.values()) == {PER_TYPE // len(STRUCTURES), PER_TYPE // len(STRUCTURES) + 1}


def test_prompts_fit_the_default_preset(suite: Suite):
    tokenizer, limits = build_tokenizer(), load("tiny-cpu").prompts
    prompts = [family_of(limits).solve(item.task) for item in suite.problems]
    longest = max(map(len, tokenizer(prompts)["input_ids"]))
    assert longest <= min(limits.max_prompt_tokens, RunConfig().prompts.max_prompt_tokens)


def test_reading_gives_back_what_was_written(suite: Suite):
    assert from_lines(to_lines(suite)) == suite


def test_a_limit_keeps_the_first_problems_of_each_split_and_type(suite: Suite):
    few = suite.select(per_type=3)
    assert len(few) == 3 * len(Split) * len(MAIN_TYPES)
    assert {item.problem_id[-3:] for item in few} == {"000", "001", "002"}


async def test_the_jail_confirms_a_sample_of_the_expected_values(suite: Suite):
    async with SandboxPool.open(SandboxSection(workers=1)) as pool:
        for problem in suite.problems[::6]:
            pairs = problem.task.examples
            outcomes = await pool.validate(problem.task.program, [pair.arguments for pair in pairs])
            for pair, outcome in zip(pairs, outcomes, strict=True):
                assert outcome.value is not None, (problem, outcome)
                assert equal(outcome.value, pair.output), problem


@pytest.mark.timeout(240)
async def test_building_repeats_itself_and_leaves_out_what_pretraining_had():
    async with SandboxPool.open(SandboxSection(workers=1)) as pool:
        first = await Builder(sandbox=pool, pretrained=frozenset(), per_type=2).build()
        again = await Builder(sandbox=pool, pretrained=frozenset(), per_type=2).build()
        seen = frozenset(forms(first, *Split))
        other = await Builder(sandbox=pool, pretrained=seen, per_type=2).build()
    assert first == again
    assert not seen & forms(other, *Split)
