"""The laws see what breaks them, in a real store that was tampered with."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from azr.chaos import laws
from azr.membership import NodeState, ReplicaProof, ReplicaState
from azr.store import SqlStore
from azr.store.engine import database_path
from azr.store.locate import Located
from azr.store.sqlite import DRIVER
from tests.store.store_play import Player, config


@pytest.fixture
async def played(tmp_path: Path) -> AsyncIterator[tuple[Player, Located]]:
    """A run of one step, whose checkpoint is on disk."""
    url = f"sqlite:///{tmp_path / 'azr.sqlite'}"
    async with SqlStore.open(url, run=config(), clock=time.time) as store:
        player = Player(store)
        await player.seed()
        await player.step(version=0)
        await store.mark_durable(1, "somewhere")
        yield player, Located(database_path(url))


def tamper(where: Located, statement: str) -> None:
    connection = DRIVER.connect(where.database)
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_run_that_goes_on_breaks_no_law(played: tuple[Player, Located]) -> None:
    player, where = played
    was = laws.before(where)
    await player.step(version=1)
    assert was.durable_version == 1
    assert laws.broken(where, was) == []


@pytest.mark.parametrize(
    ("statement", "law"),
    [
        ("update batch_row set staleness = 99", "staler than learner.max_staleness"),
        ("update policy_version set durable = 0", "no checkpoint is lost"),
        ("update batch set state = 'claimed'", "one batch is open at most"),
        (
            "update admission set state = 'leased', owner = 'gone', lease_until = 1",
            "no lease is stuck",
        ),
        ("update rollout set state = 'trained' where state = 'ready'", "one live row"),
    ],
)
async def test_what_breaks_a_law_is_seen(
    played: tuple[Player, Located], statement: str, law: str
) -> None:
    player, where = played
    was = laws.before(where)
    await player.fill(2, version=1)
    assert await player.store.claim_batch(version=1) is not None
    await player.admit()
    await player.fill(1, version=1)
    tamper(where, statement)
    assert any(law in found for found in laws.broken(where, was))


async def test_a_lost_row_is_missed(played: tuple[Player, Located]) -> None:
    player, where = played
    await player.propose(version=1)
    was = laws.before(where)
    tamper(
        where,
        "update rollout set run_id = 2 where rollout_id in (select max(rollout_id) from rollout)",
    )
    found = laws.broken(where, was)
    assert any("no rollout is lost: 1 of" in each for each in found), found


async def test_a_run_goes_on_with_a_step_that_was_claimed_after_the_fault(
    played: tuple[Player, Located],
) -> None:
    player, where = played
    await player.fill(2, version=1)
    held = await player.store.claim_batch(version=1)
    assert held is not None
    struck_at = time.time()
    await player.commit(held)
    assert laws.seconds_to_go_on(where, struck_at) is None
    await player.step(version=2)
    assert laws.seconds_to_go_on(where, struck_at) is not None


async def test_a_node_is_missing_until_its_replica_has_proved_a_version_of_the_lineage(
    played: tuple[Player, Located],
) -> None:
    player, where = played
    store, name, owner = player.store, "node-1", "node-1-abc"
    assert laws.missing(where, {name}) == {name}
    await store.register_node(
        owner, name=name, machine="here", address="here", pid=1, duties=["sample"]
    )
    await store.beat(owner, state=NodeState.PLAYING, version=1, lineage=0)
    assert laws.missing(where, {name}) == {name}
    await store.record_replica("replica-1", node_id=owner, state=ReplicaState.HEALTHY, version=1)
    assert laws.missing(where, {name}) == set()
    await store.recover(1)
    assert laws.missing(where, {name}) == {name}


async def test_what_came_before_the_next_step_is_told_in_its_order(
    played: tuple[Player, Located],
) -> None:
    player, where = played
    since = time.time()
    await player.store.record_event("node_started", owner="node-1-bb")
    await player.store.recover(1, owners_gone=())
    proof = ReplicaProof(
        replica="replica-2", version=1, fingerprint="ab", canary_nats=0.0, accepted=True
    )
    await player.store.record_proof(proof)
    way = laws.on_the_way(where, since, until=time.time() + 1)
    assert list(way) == ["node up", "learner begins", "weights proved"]
    assert list(way.values()) == sorted(way.values())
    assert laws.on_the_way(where, since, until=since) == {}


async def test_a_proof_that_the_learner_before_it_was_given_does_not_count(
    played: tuple[Player, Located],
) -> None:
    player, where = played
    since = time.time()
    proof = ReplicaProof(
        replica="replica-2", version=1, fingerprint="ab", canary_nats=0.0, accepted=True
    )
    await player.store.record_proof(proof)
    assert laws.on_the_way(where, since, until=time.time() + 1) == {}
