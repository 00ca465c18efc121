"""Draws in SQL are the draws of the buffers in memory, whatever a full buffer keeps."""

from __future__ import annotations

import pytest

from azr.buffers import Buffers
from azr.seeds import derive_seed
from azr.store import SqlStore
from azr.types import Admission, TaskType
from tests.store.store_play import OWNER, Player, config, draft, one, select


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
    assert one(url, "select count(*) from task_block") > len(TaskType)
    wrong = """
        select * from task_block b where num_before <> (
            select count(*) from task t where t.run_id = b.run_id
            and t.task_type = b.task_type and t.visible_from < b.visible_from)"""
    assert select(url, wrong) == []
