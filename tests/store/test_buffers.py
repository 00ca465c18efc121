"""Draws in SQL are the draws of the buffers in memory, whatever a full buffer keeps."""

from __future__ import annotations

import pytest

from azr.buffers import Buffers
from azr.seeds import derive_seed
from azr.store import SqlStore
from azr.task_types import MAIN_TYPES
from azr.types import Admission, ProposedTask, TaskType
from tests.store.store_play import (
    MEASURE,
    OWNER,
    TRAIN,
    Player,
    completion,
    config,
    draft,
    one,
    select,
)


def limited(eviction: str, capacity: int = 5):
    return config(selfplay={"buffer_capacity": capacity, "eviction": eviction, "references": 3})


async def grow(store: SqlStore, buffers: Buffers, *, since: int, until: int) -> None:
    drafts = [draft(TaskType.DEDUCTION, number) for number in range(since, until)]
    for each in drafts:
        buffers.add(each, visible_from=0)
    await store.add_seed_tasks(drafts)


async def admit(store: SqlStore) -> list[Admission]:
    return await store.admit_proposals(
        TaskType.DEDUCTION, owner=OWNER, at_most=6, outstanding_limit=1000, version=0
    )


@pytest.mark.parametrize("eviction", ["newest", "oldest", "reservoir"])
async def test_draws_agree_with_the_buffers_in_memory(empty_url: str, eviction: str):
    run = limited(eviction)
    buffers = Buffers(play=run.selfplay, root_seed=run.run.seed)
    async with SqlStore.open(empty_url, run=run) as store:
        for since, until in ((0, 4), (4, 9), (9, 40)):
            await grow(store, buffers, since=since, until=until)
            admissions = await admit(store)
            assert len(admissions) == 6
            for admission in admissions:
                seed = derive_seed(run.run.seed, "references", TaskType.DEDUCTION, admission.slot)
                expected = buffers.references(TaskType.DEDUCTION, 3, seed, 0)
                drawn = [task.program for task in admission.references]
                assert drawn == [task.program for task in expected]


@pytest.mark.parametrize(("eviction", "capacity"), [("newest", 0), ("newest", 7), ("oldest", 7)])
async def test_recent_references_agree_with_the_buffers_in_memory(
    empty_url: str, eviction: str, capacity: int
):
    play: dict[str, object] = {"buffer_capacity": capacity, "eviction": eviction, "references": 4}
    run = config(selfplay=play | {"reference_sampling": "recency"})
    buffers = Buffers(play=run.selfplay, root_seed=run.run.seed)
    async with SqlStore.open(empty_url, run=run) as store:
        await grow(store, buffers, since=0, until=6)
        player = Player(store)
        for version in range(3):
            for _ in range(version + 1):
                made = await player.accept(await player.propose(version=version))
                buffers.add(made, visible_from=version + 1)
        for kind in (TaskType.DEDUCTION, TaskType.INDUCTION):
            for admission in await player.admit(kind, 8, version=3):
                seed = derive_seed(run.run.seed, "references", kind, admission.slot)
                expected = buffers.references(kind, 4, seed, 3)
                drawn = [task.program for task in admission.references]
                assert drawn == [task.program for task in expected]


@pytest.mark.parametrize("task_filter", ["non_one", "non_extremes"])
async def test_a_task_that_a_filter_withdraws_is_never_drawn_again(
    empty_url: str, task_filter: str
):
    run = config(selfplay={"task_filter": task_filter, "references": 50, "attempts": 2})
    async with SqlStore.open(empty_url, run=run) as store:
        player = Player(store)
        await player.seed(2)
        tasks = [await player.accept(await player.propose()) for _ in range(4)]
        solved_of = [2, 0, 1, 2]
        programs = [task.program for task in tasks]
        for admission in await store.lease_attempts(owner=OWNER, at_most=100):
            assert admission.task is not None
            which = programs.index(admission.task.program)
            solved_of[which] -= 1
            rollout_id = await store.put_rollout(admission, completion(0))
            await player.judge(rollout_id, solved=solved_of[which] >= 0)
        await player.settle()
        await player.settle()  # a second call withdraws nothing more
        [admission] = await player.admit(version=1)
        drawn = {task.program for task in admission.references}
        kept = {programs[2]} if task_filter == "non_extremes" else {programs[1], programs[2]}
        assert drawn & set(programs) == kept
        assert len(drawn) == 2 + len(kept)
        late = await player.accept(await player.propose(), TaskType.DEDUCTION)
        [admission] = await player.admit(version=1)
        assert {t.program for t in admission.references} == drawn | {late.program}
        assert not await store.accept_proposal(await player.propose(), tasks[0]), "still known"
        assert (await store.buffer_sizes())[TaskType.DEDUCTION] == 7, "it stays in the history"


async def test_lagged_solvers_get_the_tasks_of_the_step_before(empty_url: str):
    lagged: dict[str, object] = {"solver_reuse": "one", "solve_tasks": "lagged", "attempts": 2}
    run = config(selfplay=lagged, learner={"batch_rollouts": 3})
    async with SqlStore.open(empty_url, run=run) as store:
        player = Player(store)
        await player.seed(4)
        new = [await player.accept(await player.propose()) for _ in range(2)]
        await player.reject(await player.propose())  # the third of three: now a batch is due
        attempts = await store.lease_attempts(owner=OWNER, at_most=100)
        measured = [each.task for each in attempts if each.purpose is MEASURE]
        trained = [each.task for each in attempts if each.purpose is TRAIN]
        assert {task.program for task in measured if task} == {task.program for task in new}
        assert len({task.task_id for task in trained if task}) == len(trained) == 3
        assert {task.program for task in trained if task} <= {
            draft(TaskType.DEDUCTION, number).program for number in range(4)
        }, "at the first step the seeds are new"


async def test_a_reservoir_chosen_later_is_filled_from_the_history(empty_url: str):
    unlimited = config(selfplay={"references": 3})
    reservoir = limited("reservoir")
    buffers = Buffers(play=reservoir.selfplay, root_seed=reservoir.run.seed)
    async with SqlStore.open(empty_url, run=unlimited) as store:
        await grow(store, buffers, since=0, until=30)
    async with SqlStore.open(empty_url, run=reservoir) as store:
        await grow(store, buffers, since=30, until=33)
        for admission in await admit(store):
            kept = {task.program for task in buffers.drawable(TaskType.DEDUCTION, 0)}
            assert {task.program for task in admission.references} <= kept
            assert len(kept) == 5


async def test_evicted_tasks_stay_in_the_history(empty_url: str):
    run = limited("newest")
    async with SqlStore.open(empty_url, run=run) as store:
        buffers = Buffers(play=run.selfplay, root_seed=0)
        await grow(store, buffers, since=0, until=20)
        assert (await store.buffer_sizes())[TaskType.DEDUCTION] == 20


async def test_a_repeated_task_is_known_whatever_its_layout(player: Player):
    first, again = draft(TaskType.DEDUCTION, 700), draft(TaskType.DEDUCTION, 700)
    again = type(again)(
        task_type=again.task_type,
        program=again.program.replace("    return", "  # again\n  return"),
        examples=again.examples,
    )
    assert await player.store.add_seed_tasks([first]) == 1
    assert await player.store.add_seed_tasks([again]) == 0


async def test_blocks_count_every_task_once(player: Player, url: str):
    await player.fill(2)
    await player.step(version=0)
    await player.fill(2, version=1)
    counted = one(url, "select sum(num_tasks) from task_block")
    assert counted == one(url, "select count(*) from task")
    assert one(url, "select count(*) from task_block") > len(MAIN_TYPES)
    wrong = """
        select * from task_block b where num_before <> (
            select count(*) from task t where t.run_id = b.run_id
            and t.task_type = b.task_type and t.visible_from < b.visible_from)"""
    assert select(url, wrong) == []


async def test_texts_are_counted_as_in_memory_also_after_the_event(empty_url: str):
    looked_at = config(intrinsic={"answer_diversity": 0.5, "complexity": 0.5})
    plain = config()
    buffers = Buffers(play=plain.selfplay, root_seed=plain.run.seed)
    async with SqlStore.open(empty_url, run=plain) as store:
        await grow(store, buffers, since=0, until=3)
        player = Player(store)
        first = await player.accept(await player.propose())
        assert buffers.add(first, visible_from=1)
        assert one(empty_url, "select count(*) from task_text") == 0, "nobody asks"
        assert await measured(player) == [None]
    async with SqlStore.open(empty_url, run=looked_at) as store:
        player = Player(store, player.numbers)
        second = await player.accept(await player.propose())
        known = buffers.add(second, visible_from=1)
        assert known is not None
        [proposed] = [found for found in await measured(player) if found]
        shown = proposed.references
        assert len(shown) == 2
        expected = buffers.proposed(known, shown)
        assert proposed.task.program == second.program
        seen = (proposed.seen_inputs, proposed.seen_outputs, proposed.seen)
        assert seen == (expected.seen_inputs, expected.seen_outputs, expected.seen)
        assert seen == ((4,), (0,), 4), "every draft takes 1, and none returns the same"


async def measured(player: Player) -> list[ProposedTask | None]:
    """What is known of the proposals whose attempts are all judged; settles them."""
    for rollout_id in await player.attempts():
        await player.judge(rollout_id)
    found = await player.store.measured_proposals(at_most=9)
    await player.settle()
    return [each.proposed for each in found]


async def test_functions_to_build_on_are_kept_apart_from_references(empty_url: str):
    run = config(composites={"chance": 1.0, "most": 2})
    buffers = Buffers(play=run.selfplay, root_seed=run.run.seed)
    async with SqlStore.open(empty_url, run=run) as store:
        await grow(store, buffers, since=0, until=9)
        for admission in await admit(store):
            seed = derive_seed(run.run.seed, "composites", TaskType.DEDUCTION, admission.slot)
            expected = buffers.composites(TaskType.DEDUCTION, run.composites, seed, 0)
            assert [t.program for t in admission.composites] == [t.program for t in expected]
            assert len(admission.references) == 2
            assert 1 <= len(admission.composites) <= 2
        await store.release(OWNER)
        again = await admit(store)
        assert all(admission.composites for admission in again), "a lease that returned keeps them"
