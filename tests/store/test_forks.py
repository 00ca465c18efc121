"""Lineages: a learner goes back to a checkpoint while others play on."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from azr.errors import FencedError
from azr.staleness import counted_version
from azr.store import SqlStore
from azr.store.engine import Needs, open_database
from azr.types import Completion, VersionSpan
from tests.store.store_play import Player, completion, config, one, select

COUNTED = "select staleness_version from rollout where rollout_id = ?"
SMALL = config(learner={"batch_rollouts": 1}, selfplay={"attempts": 1})


@pytest.fixture
async def learner(url: str) -> AsyncIterator[Player]:
    """The one that is replaced."""
    async with SqlStore.open(url, run=SMALL) as store:
        player = Player(store)
        await player.seed()
        yield player


@pytest.fixture
async def other(learner: Player, url: str) -> AsyncIterator[Player]:
    """A node that lives on, or the learner's successor."""
    async with SqlStore.open(url, run=SMALL) as store:
        yield Player(store, learner.numbers)


async def steps(player: Player, versions: range) -> None:
    for version in versions:
        await player.step(version=version, size=1)


def test_a_token_counts_by_its_distance_through_the_fork() -> None:
    assert [counted_version(version, 5) for version in (3, 5, 6, 8)] == [3, 5, 4, 2]
    assert counted_version(8, None) == 8


async def test_every_recovery_begins_the_next_lineage(learner: Player, url: str) -> None:
    await steps(learner, range(2))
    assert [await learner.store.recover(version) for version in (2, 1, 1)] == [1, 2, 3]
    assert await learner.store.learner_position() == (1, 3)
    assert select(url, "select lineage, forked_at from lineage order by 1") == [
        (1, 2),
        (2, 1),
        (3, 1),
    ]


async def test_a_replaced_learner_can_neither_claim_nor_commit_nor_mark(
    learner: Player, other: Player
) -> None:
    await steps(learner, range(1))
    await learner.fill(1, version=1)
    held = await learner.store.claim_batch(version=1)
    assert held is not None
    assert await other.store.recover(1, owners_gone=()) == 1
    with pytest.raises(FencedError, match="lineage 1"):
        await learner.commit(held)
    with pytest.raises(FencedError):
        await learner.store.claim_batch(version=1)
    with pytest.raises(FencedError):
        await learner.store.mark_durable(1, "late")
    assert await other.store.latest_durable() is None
    again = await other.store.claim_batch(version=1)
    assert again is not None
    assert [row.rollout_id for row in again.trajectories] == [
        row.rollout_id for row in held.trajectories
    ]
    await other.commit(again)
    await other.store.mark_durable(2, "c2")
    assert await other.store.latest_durable() == (2, "c2")


async def test_one_that_never_recovered_has_the_lineage_of_its_opening(
    learner: Player, url: str
) -> None:
    await learner.store.recover(0)
    async with SqlStore.open(url, run=SMALL) as late:
        await Player(late, learner.numbers).step(version=0, size=1)
        await learner.store.recover(0)
        with pytest.raises(FencedError):
            await late.claim_batch(version=0)


async def test_who_lives_keeps_its_leases_and_who_is_gone_does_not(
    learner: Player, other: Player
) -> None:
    [lives] = await learner.admit(owner="lives")
    [gone] = await learner.admit(owner="gone")
    rollout_id = await learner.propose()
    await learner.store.lease_rollouts(owner="lives", at_most=1)
    await other.store.recover(0, owners_gone=["gone"])
    assert await other.admit(count=9, limit=0) == [gone]
    assert await other.store.lease_rollouts(owner="new", at_most=9) == []
    await learner.reject(rollout_id)
    await learner.store.put_rollout(lives, completion(0))


@pytest.mark.parametrize(
    ("spans", "counted"),
    [
        ([(3, 0)], -1),  # undone twice: through the deeper fork
        ([(1, 0)], 1),  # before every fork
        ([(2, 1)], 0),  # undone once
        ([(2, 2)], 2),  # of the newest lineage
        ([(1, 1), (3, 0), (2, 2)], -1),  # by its farthest token
        ([(3, 2)], -1),  # no lineage is there yet: undone, whatever it says
    ],
)
async def test_tokens_of_undone_versions_count_by_distance_however_late_they_come(
    learner: Player, other: Player, url: str, spans: list[tuple[int, int]], counted: int
) -> None:
    admitted = await learner.admit(count=2)
    await steps(learner, range(3))
    sampled = mixed(*spans)
    stored = (
        [await other.store.put_rollout(admitted[0], sampled)] if sampled_by_first(spans) else []
    )
    await learner.store.recover(2, owners_gone=())
    await learner.store.recover(1, owners_gone=())
    await steps(learner, range(1, 2))
    stored.append(await other.store.put_rollout(admitted[1], sampled))
    assert [one(url, COUNTED, rollout_id) for rollout_id in stored] == [counted] * len(stored)


def sampled_by_first(spans: list[tuple[int, int]]) -> bool:
    return all(lineage == 0 for _, lineage in spans)


def mixed(*spans: tuple[int, int]) -> Completion:
    """A token of each (version, lineage)."""
    return replace(
        completion(num_tokens=len(spans)),
        version_spans=tuple(
            VersionSpan(version, index, index + 1, lineage)
            for index, (version, lineage) in enumerate(spans)
        ),
    )


async def test_spans_are_stored_with_their_lineage(learner: Player, other: Player) -> None:
    [admission] = await learner.admit()
    await learner.store.recover(0, owners_gone=())
    sampled = mixed((0, 0), (0, 1))
    await other.store.put_rollout(admission, sampled)
    [rollout] = await other.store.lease_rollouts(owner="w", at_most=1)
    assert rollout.completion == sampled


async def test_after_everybody_is_gone_nothing_is_of_an_older_lineage(
    learner: Player, url: str
) -> None:
    await steps(learner, range(3))
    await learner.store.recover(1)
    await steps(learner, range(1, 3))
    rollout_id = await learner.propose(version=3)  # by an engine that knows no lineages
    assert one(url, COUNTED, rollout_id) == 3
    assert one(url, "select max(staleness) from batch_row") == 3 - 1
    assert one(url, "select min(staleness) from batch_row") == 0


async def test_recoveries_while_samplers_put_leave_no_rollout_miscounted(
    learner: Player, other: Player, url: str
) -> None:
    """Each put has a lineage that may have ended since; before and after are both right."""
    await steps(learner, range(4))
    done = anyio.Event()

    async def sample(player: Player) -> None:
        while not done.is_set():
            version, lineage = await player.store.learner_position()
            for admission in await player.admit(count=3, version=version):
                await player.store.put_rollout(admission, completion(version, lineage=lineage))

    async def recover() -> None:
        for version in (4, 3, 3, 2, 1):
            await learner.store.recover(version, owners_gone=())
            await other.store.outstanding()
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sample, other)
        tasks.start_soon(sample, learner)
        tasks.start_soon(recover)
    forks = dict(select(url, "select lineage, forked_at from lineage"))
    stored = select(
        url,
        "select r.newest_version, r.staleness_version, p.version_spans from rollout r"
        " join rollout_payload p on p.rollout_id = r.rollout_id where r.generated_at > 0",
    )
    assert len(stored) > 24
    for version, counted, spans in stored:
        spans = json.loads(spans) if isinstance(spans, str) else spans  # SQLite gives text
        [lineage] = {span[3] for span in spans}
        later = [at for began, at in forks.items() if began > lineage]
        assert counted == counted_version(version, min(later, default=None))


async def test_processes_long_gone_leave_no_trace(postgres: str) -> None:
    async with SqlStore.open(postgres, run=SMALL) as store:
        await store.record_event("here")
        session = open_database(postgres).session()
        with session.transaction(Needs(traceable=False)) as connection:
            connection.exec_driver_sql("insert into writer values ('gone', 7, 0)")
        session.close()
        await store.recover(0)
        await store.record_event("still here")
    names = {name for (name,) in select(postgres, "select writer_id from writer")}
    assert "gone" not in names
    assert names
