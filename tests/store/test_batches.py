from collections import Counter

import pytest

from azr.errors import StoreError
from azr.store import SqlStore
from azr.task_types import MAIN_CELLS, MAIN_TYPES
from azr.types import Purpose, Role, StepResult
from tests.store.store_play import Player, assert_accounted, completion, config, one, select


async def test_a_batch_has_b_rows_of_each_cell_in_cell_and_slot_order(
    player: Player, url: str
) -> None:
    await player.fill(3)
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    assert [row.cell for row in batch.trajectories] == [
        cell for cell in MAIN_CELLS for _ in range(2)
    ]
    slots = [
        one(
            url,
            "select slot from rollout join admission using (admission_id) where rollout_id = ?",
            row.rollout_id,
        )
        for row in batch.trajectories
    ]
    assert slots == [0, 1] * 3 + [0, 2] * 3  # each task's second attempt only measures
    assert_accounted(url)


async def test_one_cell_short_of_rows_means_no_batch(player: Player, url: str) -> None:
    await player.fill(2)
    last = one(url, "select max(rollout_id) from rollout where state = 'ready'")
    connection_state = "select count(*) from rollout where state = 'claimed'"
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    assert await player.store.claim_batch(version=0) is None
    assert one(url, connection_state) == len(batch.trajectories)
    assert last is not None


async def test_a_trajectory_is_what_was_sampled(player: Player) -> None:
    await player.fill(2)
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    row, sampled = batch.trajectories[0], completion(0)
    assert row.token_ids == sampled.token_ids
    assert row.prompt_token_ids == sampled.prompt_token_ids
    assert row.behaviour_logprobs == sampled.behaviour_logprobs
    assert row.staleness == 0


async def test_rows_of_a_task_share_a_group_and_proposals_stand_alone(
    player: Player, url: str
) -> None:
    await player.fill(2)
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    for row in batch.trajectories:
        task = one(url, "select task_id from rollout where rollout_id = ?", row.rollout_id)
        assert row.group == (row.rollout_id if row.cell.role is Role.PROPOSE else task)


async def test_a_commit_trains_exactly_the_batch_and_makes_the_next_version(
    player: Player, url: str
) -> None:
    batch = await player.step(version=0)
    trained = select(url, "select rollout_id from rollout where state = 'trained'")
    assert {row.rollout_id for row in batch.trajectories} == {int(str(i)) for [i] in trained}
    assert await player.store.learner_version() == 1
    assert select(url, "select version, loss, state from learner_step") == [(1, 0.5, "live")]
    assert select(url, "select position, advantage, live from batch_row order by 1") == [
        (index, 0.5, 1) for index in range(12)
    ]
    assert select(url, "select name, step, value from metric order by name") == [
        ("bad", 1, None),
        ("loss", 1, 0.5),
        ("loss/kl", 1, 0.1),
    ]
    assert_accounted(url)


async def test_a_batch_is_committed_once(player: Player, url: str) -> None:
    batch = await player.step(version=0)
    with pytest.raises(StoreError, match="not at version 0"):
        await player.commit(batch)
    assert one(url, "select count(*) from learner_step") == 1
    assert_accounted(url)


async def test_a_lost_claim_cannot_be_committed(player: Player, url: str) -> None:
    await player.fill(2)
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    await player.store.recover(0)
    with pytest.raises(StoreError, match="no longer claimed"):
        await player.commit(batch)
    assert one(url, "select count(*) from rollout where state = 'ready'") == 12
    assert await player.store.learner_version() == 0
    assert_accounted(url)


async def test_a_step_makes_the_next_version_and_no_other(player: Player) -> None:
    await player.fill(2)
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    with pytest.raises(StoreError, match="cannot make 5"):
        await player.store.commit_step(batch, StepResult(version=5, loss=0.0), [0.0] * 12)


async def test_rows_older_than_the_bound_are_dropped_at_the_claim(url: str) -> None:
    run = config(learner={"batch_rollouts": 2, "max_staleness": 1})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        await player.fill(2, version=0)
        assert await store.claim_batch(version=2) is None
        assert one(url, "select count(*) from rollout where drop_reason = 'stale'") == 12
        await player.fill(2, version=2)
        batch = await store.claim_batch(version=3)
        assert batch is not None
        assert {row.staleness for row in batch.trajectories} == {1}
    assert_accounted(url)


async def test_staleness_counts_from_the_oldest_token(player: Player) -> None:
    for task_type in MAIN_TYPES:
        for _ in range(2):
            rollout_id = await player.propose(task_type, version=3, sampled_by=(1, 2, 3))
            await player.accept(rollout_id, task_type)
    for rollout_id in await player.attempts(2, 3):
        await player.judge(rollout_id)
    await player.settle()
    batch = await player.store.claim_batch(version=4)
    assert batch is not None
    staleness = {row.cell.role: row.staleness for row in batch.trajectories}
    assert staleness == {Role.PROPOSE: 3, Role.SOLVE: 2}


async def test_a_checkpoint_belongs_to_a_committed_version(player: Player) -> None:
    assert await player.store.latest_durable() is None
    await player.step(version=0)
    await player.store.mark_durable(1, "checkpoints/1")
    assert await player.store.latest_durable() == (1, "checkpoints/1")
    with pytest.raises(StoreError, match="never committed"):
        await player.store.mark_durable(2, "checkpoints/2")


async def test_a_batch_has_the_cells_that_are_played_and_no_other(url: str) -> None:
    run = config(selfplay={"task_types": ["deduction"]})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        await player.fill(2)  # rows of the other types are left over, as after a change
        batch = await store.claim_batch(version=0)
        assert batch is not None
        cells = [row.cell for row in batch.trajectories]
        assert cells == [
            cell for cell in MAIN_CELLS for _ in range(2) if cell.task_type == "deduction"
        ]
    assert_accounted(url)


async def test_a_batch_has_s_rows_of_each_solve_cell(url: str) -> None:
    """With S = attempts x B, every attempt at every valid task is trained on."""
    run = config(learner={"solve_rollouts": 4})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        await player.fill(2)
        batch = await store.claim_batch(version=0)
        assert batch is not None
        sizes = Counter(row.cell.role for row in batch.trajectories)
        assert sizes == {Role.PROPOSE: 3 * 2, Role.SOLVE: 3 * 4}
        groups = [row.group for row in batch.trajectories if row.cell.role is Role.SOLVE]
        assert set(Counter(groups).values()) == {2}
        assert one(url, "select count(*) from rollout where state = 'dropped'") == 0
    assert_accounted(url)


@pytest.mark.parametrize("still", ["to be sampled", "to be judged"])
@pytest.mark.parametrize("baseline", ["task", "cell"])
async def test_rows_that_are_compared_by_task_come_as_whole_groups(
    url: str, still: str, baseline: str
) -> None:
    run = config(
        learner={"batch_rollouts": 1, "solve_rollouts": 2, "baseline": baseline},
        selfplay={"task_types": ["deduction"]},
    )
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        for _ in range(2):
            await player.accept(await player.propose())
        early, late, *others = await store.lease_attempts(owner="w", at_most=9)
        assert early.task == late.task
        await player.judge(await store.put_rollout(early, completion()))
        if still == "to be judged":
            await store.put_rollout(late, completion())
        for each in others:
            await player.judge(await store.put_rollout(each, completion()))
        await player.settle()
        batch = await store.claim_batch(version=0)
        assert batch is not None
        tasks = [row.group for row in batch.trajectories if row.cell.role is Role.SOLVE]
        assert len(set(tasks)) == (1 if baseline == "task" else 2)


async def test_solver_rows_lost_to_staleness_are_replaced(url: str) -> None:
    run = config(learner={"max_staleness": 1})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        for _ in range(2):
            await player.accept(await player.propose(version=2))
        for attempt in await player.attempts(0):
            await player.judge(attempt)
        await player.settle()
        assert await store.claim_batch(version=2) is None
        replacements = await store.lease_attempts(owner="w", at_most=9)
        assert [each.purpose for each in replacements] == [Purpose.TRAIN] * 2
    assert_accounted(url)
