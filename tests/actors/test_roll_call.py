"""Who is kept current: every replica whose node says that it plays, its own among them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import roll_call as module
from actors.remote_replica import RemoteReplica
from actors.roll_call import GONE, RollCall, sampled_canary
from azr.errors import EngineError
from azr.membership import NodeState, ReplicaProof, ReplicaRecord, ReplicaState
from azr.store import SqlStore
from tests.store.store_play import config

LEARNS, OTHER, HEIR = "node-1-aa", "node-2-aa", "node-2-bb"
CANARY = [[1, 2]]


@dataclass
class ScriptedChannel:
    """Knows who was admitted; `lose` counts one out as a failed publication does."""

    standings: dict[str, ReplicaState] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    admitted: list[str] = field(default_factory=list)
    causes: dict[str, str] = field(default_factory=dict)

    def admit(self, replica: Any) -> None:  # noqa: ANN401
        self.names.add(replica.name)
        self.admitted.append(replica.owner)
        self.standings[replica.name] = ReplicaState.STARTING

    def dismiss(self, name: str, cause: str) -> None:
        self.lose(name, cause)

    def lose(self, name: str, cause: str) -> None:
        self.names.discard(name)
        self.standings[name] = ReplicaState.DEAD
        self.causes[name] = cause

    def prove(self, name: str) -> None:
        self.standings[name] = ReplicaState.HEALTHY

    def cause(self, name: str) -> str:
        return self.causes.get(name, "")


@dataclass
class Own:
    """The replica of the learner's node."""

    name: str = "replica-1"
    owner: str = LEARNS


def reach_with(answer: Callable[[], Any]) -> module.Reach:
    async def call(method: str, *arguments: object) -> Any:  # noqa: ANN401, ARG001
        return await answer()

    return lambda node: RemoteReplica(
        node.name.replace("node", "replica"), node.node_id, call, update_seconds=5
    )


async def nobody() -> None:
    raise EngineError("it is gone")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with SqlStore.open(f"sqlite:///{tmp_path / 'azr.sqlite'}", run=config()) as store:
        yield store


async def play(store: SqlStore, owner: str) -> None:
    name = owner.rpartition("-")[0]
    await store.register_node(owner, name=name, machine="m", address="a", pid=1, duties=["sample"])
    await store.beat(owner, state=NodeState.PLAYING, version=0, lineage=0)


def roll_call(
    store: SqlStore, own: Own | None = None
) -> tuple[RollCall, ScriptedChannel, list[Own]]:
    """Of a learner on node-1; what is put in the list is its own replica."""
    channel, opened = ScriptedChannel(), [] if own is None else [own]
    roll = RollCall(
        store=store,
        channel=channel,  # ty: ignore[invalid-argument-type]
        reach=reach_with(nobody),
        own_node="node-1",
        own=lambda: opened[0] if opened else None,  # ty: ignore[invalid-argument-type]
        owner=LEARNS,
        lineage=0,
    )
    return roll, channel, opened


async def test_a_node_that_plays_is_admitted_once_and_dismissed_when_it_is_over(
    store: SqlStore,
) -> None:
    roll, channel, _ = roll_call(store)
    await play(store, OTHER)
    assert await roll.reconcile() == {"replica-2"}
    assert await roll.reconcile() == set()
    await store.fence(OTHER, "it hung")
    assert await roll.reconcile() == set()
    assert (channel.names, channel.causes) == (set(), {"replica-2": GONE})
    await play(store, HEIR)
    assert await roll.reconcile() == {"replica-2"}
    assert channel.admitted == [OTHER, HEIR]
    assert roll.node_of("replica-2") == HEIR


async def test_the_learners_own_replica_joins_when_it_is_open(store: SqlStore) -> None:
    roll, channel, opened = roll_call(store)
    await play(store, OTHER)
    assert await roll.reconcile() == {"replica-2"}
    opened.append(Own())
    assert await roll.reconcile() == {"replica-1"}
    opened.clear()
    await roll.reconcile()
    assert channel.names == {"replica-2"}


async def test_a_replica_that_was_lost_is_tried_again_its_own_too(
    store: SqlStore, monkeypatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    roll, channel, _ = roll_call(store, Own())
    await play(store, OTHER)
    assert await roll.reconcile() == {"replica-1", "replica-2"}
    for name in ("replica-1", "replica-2"):
        channel.lose(name, "it did not answer")
    assert await roll.reconcile() == {"replica-1", "replica-2"}


async def test_a_lost_replica_is_left_alone_for_a_while(store: SqlStore) -> None:
    roll, channel, _ = roll_call(store, Own())
    await roll.reconcile()
    channel.lose("replica-1", "it did not answer")
    assert await roll.reconcile() == set()


async def test_who_is_lost_again_and_again_is_tried_less_and_less(
    store: SqlStore, monkeypatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 1.0)
    seconds = 0.0
    monkeypatch.setattr(module.anyio, "current_time", lambda: seconds)
    roll, channel, _ = roll_call(store, Own())
    await roll.reconcile()
    tried: list[float] = []
    while len(tried) < 4:
        channel.lose("replica-1", "it did not answer")
        if await roll.reconcile():
            tried.append(seconds)
        seconds += 0.5
    channel.prove("replica-1")
    await roll.record(1)
    proved_at = seconds
    while len(tried) < 5:
        channel.lose("replica-1", "it did not answer")
        if await roll.reconcile():
            tried.append(seconds - proved_at)
        seconds += 0.5
    assert tried == [1.0, 3.5, 8.0, 16.5, 1.0]


async def test_what_each_is_worth_is_written_down_with_its_proof(store: SqlStore) -> None:
    roll, channel, _ = roll_call(store, Own())
    await play(store, OTHER)
    await roll.reconcile()
    for name, fingerprint in (("replica-1", "aa"), ("replica-2", "bb")):
        roll.note(
            ReplicaProof(
                replica=name, version=3, fingerprint=fingerprint, canary_nats=1e-6, accepted=True
            )
        )
        channel.prove(name)
    await roll.record(3)
    channel.standings["replica-2"] = ReplicaState.STALE
    await roll.record(5)
    known = {replica.name: replica for replica in await store.replicas()}
    assert worth(known["replica-1"]) == (LEARNS, ReplicaState.HEALTHY, 5, 0, "aa")
    assert worth(known["replica-2"]) == (OTHER, ReplicaState.STALE, 3, 2, "bb")


async def test_another_life_of_a_node_inherits_no_proof(store: SqlStore) -> None:
    roll, channel, _ = roll_call(store)
    await play(store, OTHER)
    await roll.reconcile()
    channel.prove("replica-2")
    await roll.record(3)
    await store.fence(OTHER, "it hung")
    await play(store, HEIR)
    await roll.reconcile()
    await roll.record(4)
    known = {replica.node_id: replica for replica in await store.replicas()}
    assert worth(known[HEIR]) == (HEIR, ReplicaState.STARTING, None, None, None)


async def test_the_dead_are_written_down_once(store: SqlStore) -> None:
    roll, channel, _ = roll_call(store)
    await play(store, OTHER)
    await roll.reconcile()
    channel.prove("replica-2")
    await roll.record(1)
    channel.lose("replica-2", "it did not answer")
    await roll.record(2)
    [dead] = await store.replicas()
    await roll.record(9)
    assert await store.replicas() == [dead]
    assert (dead.state, dead.lag, dead.cause) == (ReplicaState.DEAD, 1, "it did not answer")


async def test_the_canary_comes_from_whoever_answers_first(store: SqlStore) -> None:
    await play(store, OTHER)

    async def answers() -> list[list[int]]:
        return CANARY

    async def never() -> list[list[int]]:
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.fail_after(10):
        other = await sampled_canary(store, reach_with(answers), own_node="node-1", own=never)
        own = await sampled_canary(store, reach_with(never), own_node="node-1", own=answers)
    assert other == own == CANARY


async def test_who_fails_to_give_a_canary_is_asked_again(store: SqlStore, monkeypatch) -> None:
    monkeypatch.setattr(module, "ASK_SECONDS", 0.001)
    await play(store, OTHER)
    asked = 0

    async def answers_late() -> list[list[int]]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise EngineError("it is not open yet")
        return CANARY

    with anyio.fail_after(10):
        found = await sampled_canary(store, reach_with(answers_late), own_node="node-1", own=None)
    assert (found, asked) == (CANARY, 3)


def worth(
    replica: ReplicaRecord,
) -> tuple[str, ReplicaState, int | None, int | None, str | None]:
    return (replica.node_id, replica.state, replica.version, replica.lag, replica.fingerprint)
