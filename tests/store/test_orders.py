"""Replays where nobody proposes: paced, in whole groups, on both databases."""

from azr.store import SqlStore
from azr.task_types import MAIN_TYPES
from azr.types import Cell, Purpose, Role, TaskType
from tests.store.store_play import Player, config, draft

ABDUCTION = Cell(Role.SOLVE, TaskType.ABDUCTION)


async def test_replays_fill_the_cell_up_to_its_limit_in_whole_groups(url: str) -> None:
    run = config(selfplay={"propose": False, "attempts": 3})
    async with SqlStore.open(url, run=run) as store:
        await Player(store).seed()

        async def order(limit: int) -> int:
            return await store.order_replays(TaskType.ABDUCTION, outstanding_limit=limit, version=0)

        assert [await order(6), await order(6), await order(7), await order(3)] == [6, 0, 1, 0]
        assert (await store.outstanding())[ABDUCTION] == 7
        leased = await store.lease_attempts(owner="w", at_most=99)
        tasks = [each.task.task_id for each in leased if each.task is not None]
        assert tasks[:3] == [tasks[0]] * 3
        assert tasks[3:6] == [tasks[3]] * 3
        assert tasks[0] != tasks[3]
        assert {(each.purpose, each.measures) for each in leased} == {(Purpose.TRAIN, None)}


async def test_a_limit_computed_before_a_step_orders_nothing_after_it(url: str) -> None:
    run = config(selfplay={"propose": False})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        for task_type in MAIN_TYPES:
            await store.order_replays(task_type, outstanding_limit=2, version=0)
        for attempt in await player.attempts():
            await player.judge(attempt)
        batch = await store.claim_batch(version=0)
        assert batch is not None
        assert {row.cell.role for row in batch.trajectories} == {Role.SOLVE}
        await player.commit(batch)
        of_type = TaskType.ABDUCTION
        assert await store.order_replays(of_type, outstanding_limit=2, version=0) == 0
        assert await store.order_replays(of_type, outstanding_limit=2, version=1) == 2


async def test_many_seeds_enter_at_once_each_in_its_buffer_and_in_order(player: Player) -> None:
    drafts = [
        draft(kind, n) for n in range(700) for kind in (TaskType.DEDUCTION, TaskType.ABDUCTION)
    ]
    assert await player.store.add_seed_tasks(drafts) == 2 * (700 - 3)
    assert await player.store.add_seed_tasks(drafts) == 0
    sizes = await player.store.buffer_sizes()
    assert (sizes[TaskType.DEDUCTION], sizes[TaskType.INDUCTION]) == (700, 3)
    [admission] = await player.admit(TaskType.DEDUCTION)
    assert len(admission.references) == 2
