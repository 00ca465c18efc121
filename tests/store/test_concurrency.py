import itertools
import random
import threading
from collections import Counter
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.lowlevel import checkpoint

from azr.store import SqlStore
from azr.task_types import MAIN_TYPES
from tests.store.store_play import (
    Clock,
    Player,
    assert_accounted,
    completion,
    config,
    one,
    select,
)


async def test_no_work_is_leased_twice(player: Player, url: str, clock: Clock) -> None:
    for _ in range(20):
        await player.accept(await player.propose())
    leased: list[int] = []

    async def worker(store: SqlStore, name: str) -> None:
        while batch := await store.lease_attempts(owner=name, at_most=3):
            leased.extend(admission.admission_id for admission in batch)

    async with (
        SqlStore.open(url, run=config(), clock=clock) as other,
        anyio.create_task_group() as workers,
    ):
        for index in range(8):
            workers.start_soon(worker, player.store if index % 2 else other, f"w{index}")
    assert len(leased) == 40
    assert Counter(leased).most_common(1)[0][1] == 1


async def test_concurrent_admissions_keep_to_the_limit(
    player: Player, url: str, clock: Clock
) -> None:
    admitted: list[int] = []

    async def worker(player: Player, name: str) -> None:
        for task_type in MAIN_TYPES:
            got = await player.admit(task_type, 4, limit=10, owner=name)
            admitted.extend(admission.admission_id for admission in got)

    async with (
        SqlStore.open(url, run=config(), clock=clock) as other,
        anyio.create_task_group() as workers,
    ):
        for index in range(12):
            workers.start_soon(worker, player if index % 2 else Player(other), f"w{index}")
    assert len(set(admitted)) == len(admitted) == 3 * 10


@dataclass
class Swarm:
    """Samplers, examiners and a learner that know nothing of one another."""

    store: SqlStore
    steps: int
    done: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.player = Player(self.store)

    async def sample(self, name: str) -> None:
        while not self.done.is_set():
            version = await self.store.learner_version()
            admissions = await self.store.lease_attempts(owner=name, at_most=4)
            for task_type in MAIN_TYPES:
                admissions += await self.player.admit(task_type, 2, limit=9, version=version)
            for admission in admissions:
                await self.store.put_rollout(admission, completion(version))

    async def examine(self, name: str) -> None:
        while not self.done.is_set():
            for rollout in await self.store.lease_rollouts(owner=name, at_most=8):
                await self.player.examine(rollout)
            await self.player.settle()

    async def learn(self) -> None:
        for version in range(self.steps):
            while (batch := await self.store.claim_batch(version=version)) is None:
                pass
            await self.player.commit(batch)
        self.done.set()


async def test_two_nodes_play_whole_steps_and_every_row_is_accounted_for(url: str) -> None:
    run = config(learner={"batch_rollouts": 3, "max_staleness": 2})
    async with SqlStore.open(url, run=run) as store, SqlStore.open(url, run=run) as other:
        swarm = Swarm(store, steps=3)
        second = Swarm(other, steps=0, done=swarm.done)
        second.player.numbers = itertools.count(1_000_000)
        await swarm.player.seed()
        async with anyio.create_task_group() as actors:
            for index, node in enumerate([swarm, second, second]):
                actors.start_soon(node.sample, f"s{index}")
                actors.start_soon(node.examine, f"e{index}")
            actors.start_soon(swarm.learn)
    assert one(url, "select count(*) from batch_row where live") == 3 * 6 * 3
    cells = "select batch_id, role, task_type, count(*) from rollout where state = 'trained'"
    counts = select(url, cells + " group by 1, 2, 3")
    assert {count for *_, count in counts} == {3}
    assert one(url, "select max(staleness) from batch_row") <= 2
    gaps = "select role, task_type from admission group by 1, 2 having count(*) <> max(slot) + 1"
    assert select(url, gaps) == []
    assert_accounted(url)


@dataclass
class Victim:
    """Takes a rollout from admission to rejection; may be cancelled at one of its steps."""

    player: Player
    doomed_at: int | None
    delay: int
    """Turns of the event loop between the start of that step and the cancellation."""
    finished: bool = False

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            for index, step in enumerate([self.sample, self.look, self.lease, self.judge]):
                if index == self.doomed_at:
                    group.start_soon(self.strike, group.cancel_scope)
                await step()
            self.finished = True

    async def strike(self, scope: anyio.CancelScope) -> None:
        for _ in range(self.delay):
            await checkpoint()
        scope.cancel()

    async def sample(self) -> None:
        self.rollout_id = await self.player.propose()

    async def look(self) -> None:
        await self.player.store.outstanding()

    async def lease(self) -> None:
        await self.player.store.lease_rollouts(owner="w", at_most=1)

    async def judge(self) -> None:
        await self.player.reject(self.rollout_id)


async def test_a_storm_of_cancellations_loses_no_connection_and_no_row(
    player: Player, url: str
) -> None:
    rng = random.Random(7)  # noqa: S311
    victims = [
        Victim(player, doomed_at=rng.choice([None, 0, 1, 2, 3]), delay=rng.randrange(6))
        for _ in range(120)
    ]
    async with anyio.create_task_group() as storm:
        for victim in victims:
            storm.start_soon(victim.run)
    assert all(victim.finished for victim in victims if victim.doomed_at is None)
    assert sum(not victim.finished for victim in victims) > 20
    with anyio.fail_after(10):  # every connection is free again
        async with anyio.create_task_group() as askers:
            for _ in range(8):
                askers.start_soon(player.store.outstanding)
                askers.start_soon(player.store.renew, "w")
    assert_accounted(url)


async def test_a_cancelled_caller_writes_nothing_or_everything(player: Player, url: str) -> None:
    [admission] = await player.admit()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await player.store.put_rollout(admission, completion())
    assert scope.cancelled_caught
    assert one(url, "select count(*) from rollout") == 0

    async def put(scope: anyio.CancelScope) -> None:
        with scope:
            await player.store.put_rollout(admission, completion())

    async with anyio.create_task_group() as callers:
        scope = anyio.CancelScope()
        callers.start_soon(put, scope)
        await checkpoint()  # it has submitted its transaction
        scope.cancel()
    assert one(url, "select count(*) from rollout_payload") == 1
    assert one(url, "select state from admission") == "done"


async def test_a_failing_job_takes_no_other_with_it(player: Player, url: str) -> None:
    [admission] = await player.admit()
    errors: list[str] = []

    async def judge(rollout_id: int) -> None:
        try:
            await player.judge(rollout_id)
        except Exception as error:  # noqa: BLE001 -- collected
            errors.append(type(error).__name__)

    async with anyio.create_task_group() as group:  # all wait together, so commit together
        for rollout_id in (91, 92, 93):
            group.start_soon(judge, rollout_id)
        group.start_soon(player.store.put_rollout, admission, completion())
    assert errors == ["StoreError"] * 3
    assert one(url, "select count(*) from rollout") == 1


def test_the_store_works_in_a_loop_of_another_thread(url: str) -> None:
    steps: list[int] = []

    async def play() -> None:
        async with SqlStore.open(url, run=config()) as store:
            player = Player(store)
            await player.seed()
            batch = await player.step(version=0)
            steps.append(len(batch.trajectories))

    thread = threading.Thread(target=anyio.run, args=(play,))
    thread.start()
    thread.join(30)
    assert steps == [12]


async def test_two_stores_share_one_file(player: Player, url: str, clock: Clock) -> None:
    async with SqlStore.open(url, run=config(), clock=clock) as other:
        second = Player(other)
        async with anyio.create_task_group() as both:
            for _ in range(10):
                both.start_soon(player.propose)
                both.start_soon(second.propose)
    slots = select(url, "select slot from admission order by slot")
    assert slots == [(slot,) for slot in range(20)]


async def test_a_closed_store_refuses_work(url: str) -> None:
    async with SqlStore.open(url, run=config()) as store:
        pass
    with pytest.raises(Exception, match="closed"):
        await store.renew("w")
