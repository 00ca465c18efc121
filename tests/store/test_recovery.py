import pytest

from azr.errors import StoreError
from azr.store import SqlStore
from azr.store.history import open_history
from azr.store.queries import events, run_config
from azr.types import TaskType
from tests.store.store_play import (
    Clock,
    Player,
    assert_accounted,
    config,
    one,
    select,
)

STEPS = "select version, state from learner_step order by step_id"


async def test_steps_after_the_checkpoint_are_undone_and_their_rows_ready(
    player: Player, url: str
) -> None:
    await player.step(version=0)
    await player.store.mark_durable(1, "c1")
    undone = await player.step(version=1)
    await player.store.recover(1)
    assert select(url, STEPS) == [(1, "live"), (2, "rolled_back")]
    assert await player.store.learner_version() == 1
    assert await player.store.latest_durable() == (1, "c1")
    again = await player.store.claim_batch(version=1)
    assert again is not None
    ids = [row.rollout_id for row in again.trajectories]
    assert ids == [row.rollout_id for row in undone.trajectories]
    await player.commit(again)
    live = "select count(*), count(distinct rollout_id) from batch_row where live"
    assert select(url, live) == [(24, 24)]
    assert_accounted(url)


async def test_recovery_to_the_base_model_undoes_everything(player: Player, url: str) -> None:
    await player.step(version=0)
    await player.store.recover(0)
    assert one(url, "select count(*) from batch_row where live") == 0
    assert one(url, "select count(*) from rollout where state = 'ready'") == 12
    assert_accounted(url)


async def test_recovery_twice_is_recovery_once(player: Player, url: str) -> None:
    await player.step(version=0)
    await player.fill(1, version=1)
    await player.store.recover(0)
    before = select(url, "select * from rollout")
    await player.store.recover(0)
    assert select(url, "select * from rollout") == before


async def test_every_lease_returns(player: Player) -> None:
    rollout_id = await player.propose()
    await player.accept(await player.propose(TaskType.ABDUCTION), TaskType.ABDUCTION)
    [held] = await player.admit(owner="dead")
    attempts = await player.store.lease_attempts(owner="dead", at_most=9)
    await player.store.lease_rollouts(owner="dead", at_most=9)
    await player.store.recover(0)
    assert await player.admit(count=9, limit=0) == [held]
    assert await player.store.lease_attempts(owner="new", at_most=9) == attempts
    [rollout] = await player.store.lease_rollouts(owner="new", at_most=9)
    assert rollout.rollout_id == rollout_id


@pytest.mark.parametrize(
    ("sampled_by", "durable", "staleness"),
    [
        ((1,), 1, 0),  # the surviving lineage keeps its distance
        ((0,), 1, 1),
        ((2,), 1, 1),  # one undone step away
        ((3,), 1, 2),
        ((1, 3), 1, 2),  # by its farthest token
        ((0, 2), 1, 1),
        ((3,), 0, 3),
    ],
)
async def test_rows_of_undone_versions_are_as_stale_as_they_are_far(
    url: str, sampled_by: tuple[int, ...], durable: int, staleness: int
) -> None:
    run = config(learner={"batch_rollouts": 1}, selfplay={"attempts": 1})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        for version in range(3):
            await player.step(version=version, size=1)
        rollout_id = await player.propose(version=3, sampled_by=sampled_by)
        await player.reject(rollout_id)
        await store.recover(durable)
    counted = "select staleness_version from rollout where rollout_id = ?"
    assert one(url, counted, rollout_id) == durable - staleness


async def test_a_second_recovery_keeps_the_distance_of_the_first(player: Player, url: str) -> None:
    for version in range(3):
        await player.step(version=version)
    rollout_id = await player.propose(version=3, sampled_by=(3,))
    await player.reject(rollout_id)
    await player.store.recover(1)  # two steps away
    await player.step(version=1)
    await player.store.recover(2)  # and one more
    counted = "select staleness_version from rollout where rollout_id = ?"
    assert one(url, counted, rollout_id) == 2 - 3


async def test_metrics_of_undone_steps_are_kept_but_not_live(player: Player, url: str) -> None:
    await player.step(version=0)
    await player.step(version=1)
    await player.store.recover(1)
    loss = "select step, live from metric where name = 'loss' order by metric_id"
    assert select(url, loss) == [(1, 1), (2, 0)]


async def test_recovery_is_an_event(player: Player, url: str) -> None:
    await player.step(version=0)
    await player.store.recover(0)
    with open_history(url) as history:
        [event] = events(history, kind="recovered")
    assert event.facts == {
        "version": 0,
        "lineage": 1,
        "steps_rolled_back": 1,
        "rollouts_returned": 12,
    }


async def test_a_version_of_no_surviving_step_cannot_be_recovered(player: Player) -> None:
    await player.step(version=0)
    await player.store.recover(0)
    with pytest.raises(StoreError, match="no policy version 1"):
        await player.store.recover(1)


async def test_a_reopened_run_continues(url: str, clock: Clock) -> None:
    url = url
    async with SqlStore.open(url, run=config(), clock=clock) as store:
        player = Player(store)
        await player.seed()
        await player.step(version=0)
    async with SqlStore.open(url, run=config(run={"steps": 7}), clock=clock) as store:
        assert await store.learner_version() == 1
        [admission] = await Player(store).admit(version=1)
        assert admission.slot == 2
    assert one(url, "select count(*) from runs") == 1
    with open_history(url) as history:
        assert run_config(history).run.steps == 7
    assert one(url, "select kind from event") == "reconfigured"
