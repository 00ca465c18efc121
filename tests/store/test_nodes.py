"""Who plays: incarnations, heartbeats, fences, replicas, phases."""

from collections.abc import AsyncIterator

import anyio
import pytest

from azr.errors import FencedError, StoreError
from azr.membership import NodeState, ReplicaState, RunPhase
from azr.store import SqlStore
from azr.store.history import members, open_history
from azr.store.news import News
from azr.store.queries import events
from azr.types import TaskType
from tests.store.store_play import Clock, Player, completion, config, draft, one, select

ME, HEIR = "node-1-aa", "node-1-bb"
LEASE_SECONDS = config().actors.lease_seconds


async def register(store: SqlStore, owner: str = ME) -> None:
    await store.register_node(
        owner,
        name=owner[:6],
        machine="m1",
        address="10.0.0.1",
        pid=4321,
        duties=("sample", "examine"),
    )


@pytest.fixture
async def node(url: str, clock: Clock, player: Player) -> AsyncIterator[Player]:
    """A registered node with a store of its own, beside the player's."""
    async with SqlStore.open(url, run=config(), clock=clock) as store:
        await register(store)
        yield Player(store, player.numbers)


async def beat(store: SqlStore, owner: str = ME, *, version: int = 3) -> bool:
    return await store.beat(owner, state=NodeState.PLAYING, version=version, lineage=0)


async def test_a_node_is_known_from_its_start_to_its_end(
    node: Player, clock: Clock, url: str
) -> None:
    [started] = await node.store.nodes()
    assert (started.node_id, started.machine, started.address) == (ME, "m1", "10.0.0.1")
    assert (started.pid, started.duties) == (4321, ("sample", "examine"))
    assert (started.state, started.version) == (NodeState.STARTING, None)
    clock.now += 5
    assert await beat(node.store)
    [playing] = await node.store.nodes()
    assert (playing.state, playing.version) == (NodeState.PLAYING, 3)
    assert playing.seen_at == playing.started_at + 5
    await node.store.end_node(ME, "drained")
    with open_history(url) as history:
        [ended] = members.nodes(history)
        assert [event.facts["reason"] for event in events(history, kind="node_ended")] == [
            "drained"
        ]
    assert (ended.state, ended.reason, ended.ended_at) == (NodeState.ENDED, "drained", clock.now)


async def test_a_heartbeat_extends_leases(node: Player, player: Player, clock: Clock) -> None:
    [held] = await node.admit(owner=ME)
    clock.now += LEASE_SECONDS - 1
    assert await beat(node.store)
    clock.now += LEASE_SECONDS - 1
    assert await player.admit(limit=0) == []
    clock.now += 2
    assert await player.admit(limit=0) == [held]


async def test_who_does_not_beat_is_silent(node: Player, clock: Clock) -> None:
    await register(node.store, HEIR)
    clock.now += 20
    await beat(node.store, HEIR)
    assert [silent.node_id for silent in await node.store.silent_nodes(10)] == [ME]
    assert await node.store.silent_nodes(30) == []
    await node.store.fence(ME, "silent")
    assert await node.store.silent_nodes(10) == []


async def test_an_incarnation_registers_once(node: Player) -> None:
    with pytest.raises(StoreError, match="already"):
        await register(node.store)


async def test_a_fence_returns_leases_and_tells_the_node_at_its_next_beat(
    node: Player, player: Player, url: str
) -> None:
    [held] = await node.admit(owner=ME)
    assert await player.store.fence(ME, "silent for 30 s")
    assert await player.admit(limit=0) == [held]
    assert not await beat(node.store)
    assert not await player.store.fence(ME, "again")
    [fenced] = await player.store.nodes()
    assert (fenced.state, fenced.reason) == (NodeState.FENCED, "silent for 30 s")
    with open_history(url) as history:
        [event] = events(history, kind="node_fenced")
    assert event.facts == {"node": ME, "reason": "silent for 30 s"}


async def test_a_fenced_node_is_granted_nothing(node: Player, player: Player) -> None:
    await player.accept(await player.propose())  # two attempts wait
    await player.propose()  # and one rollout
    await player.store.fence(ME, "gone")
    assert await node.admit(count=5, owner=ME) == []
    assert await node.store.lease_attempts(owner=ME, at_most=5) == []
    assert await node.store.lease_rollouts(owner=ME, at_most=5) == []
    assert len(await player.store.lease_attempts(owner=HEIR, at_most=5)) == 2
    assert len(await player.store.lease_rollouts(owner=HEIR, at_most=5)) == 1


async def test_an_owner_can_be_fenced_before_it_registers(player: Player) -> None:
    assert await player.store.fence(HEIR, "its machine is gone")
    with pytest.raises(FencedError, match="before it had started"):
        await register(player.store, HEIR)
    assert await player.admit(owner=HEIR) == []


async def test_an_end_is_not_undone_by_a_fence(node: Player) -> None:
    await node.store.end_node(ME, "drained")
    assert not await node.store.fence(ME, "silent")
    assert not await beat(node.store)
    assert [each.state for each in await node.store.nodes()] == [NodeState.ENDED]


async def test_what_a_fenced_node_sampled_counts_once(
    node: Player, player: Player, url: str
) -> None:
    [mine] = await node.admit(owner=ME)
    await player.store.fence(ME, "slow")
    [theirs] = await player.admit(owner=HEIR, limit=0)
    assert theirs == mine
    first = await player.store.put_rollout(theirs, completion(0, text="theirs"))
    assert await node.store.put_rollout(mine, completion(0, text="mine")) == first
    assert select(url, "select rollout_id, text from rollout_payload") == [(first, "theirs")]


async def test_what_a_fenced_node_judges_late_changes_nothing(
    node: Player, player: Player, url: str
) -> None:
    proposed = await player.propose()
    await player.accept(await player.propose())
    [attempt, other] = await player.attempts(0)
    await node.store.lease_rollouts(owner=ME, at_most=9)
    await player.store.fence(ME, "slow")
    await player.store.lease_rollouts(owner=HEIR, at_most=9)
    await player.reject(proposed)
    await player.judge(attempt, solved=True)
    rows = "select * from rollout where rollout_id <> ? order by rollout_id"
    tasks = "select task_id, num_attempts, num_solved from task order by 1"
    before = select(url, rows, other), select(url, tasks)
    await node.judge(attempt, solved=False)
    assert not await node.store.accept_proposal(proposed, draft(TaskType.DEDUCTION, 77))
    await node.reject(proposed)
    await node.store.fail_rollout(attempt)
    await node.store.fail_rollout(proposed)
    assert (select(url, rows, other), select(url, tasks)) == before
    await node.store.fail_rollout(other)  # the heir examines it
    held = "select owner, failures from rollout where rollout_id = ?"
    assert select(url, held, other) == [(HEIR, 0)]


async def test_a_recovery_of_everything_fences_whoever_is_silent(
    node: Player, clock: Clock
) -> None:
    await register(node.store, HEIR)
    clock.now += LEASE_SECONDS + 1
    await beat(node.store, HEIR)
    await node.store.recover(0)
    states = {each.node_id: each.state for each in await node.store.nodes()}
    assert states == {ME: NodeState.FENCED, HEIR: NodeState.PLAYING}


async def test_a_replica_is_what_was_last_said_of_it(node: Player, url: str) -> None:
    store = node.store
    await store.record_replica("r1", node_id=ME, state=ReplicaState.STARTING)
    await store.record_replica(
        "r1",
        node_id=ME,
        state=ReplicaState.HEALTHY,
        version=4,
        lineage=0,
        fingerprint="ab",
        canary_nats=1e-6,
        lag=0,
    )
    await store.record_replica("r1", node_id=ME, state=ReplicaState.SUSPECT, cause="no answer")
    [replica] = await store.replicas()
    assert (replica.state, replica.version, replica.fingerprint) == (ReplicaState.SUSPECT, 4, "ab")
    assert (replica.canary_nats, replica.lag, replica.cause) == (1e-6, 0, "no answer")
    with open_history(url) as history:
        changes = [(e.facts["before"], e.facts["state"]) for e in events(history, kind="replica")]
        assert members.replicas(history) == [replica]
    assert changes == [(None, "starting"), ("starting", "healthy"), ("healthy", "suspect")]


async def test_versions_of_a_replica_only_grow_within_a_lineage(node: Player) -> None:
    points: list[tuple[int, int | None]] = []
    for lineage, version in [(0, 4), (0, 3), (0, 5), (1, 2), (0, 9), (1, 3)]:
        await node.store.record_replica(
            "r1", node_id=ME, state=ReplicaState.HEALTHY, version=version, lineage=lineage
        )
        [replica] = await node.store.replicas()
        points.append((replica.lineage, replica.version))
    assert points == [(0, 4), (0, 4), (0, 5), (1, 2), (1, 2), (1, 3)]


async def test_the_replicas_of_a_fenced_node_are_dead(node: Player, url: str) -> None:
    await node.store.record_replica("r1", node_id=ME, state=ReplicaState.HEALTHY, version=1)
    await node.store.record_replica("r1", node_id=HEIR, state=ReplicaState.HEALTHY, version=1)
    await node.store.fence(ME, "silent")
    states = {each.node_id: each.state for each in await node.store.replicas()}
    assert states == {ME: ReplicaState.DEAD, HEIR: ReplicaState.HEALTHY}
    causes = "select cause from replica where state = 'dead'"
    assert one(url, causes) == "its node fenced: silent"


async def test_only_a_word_changes_the_phase(player: Player, url: str) -> None:
    await player.step(version=0)
    await player.store.recover(0)
    assert await player.store.phase() is RunPhase.SEEDING
    await player.store.set_phase(RunPhase.PLAYING)
    assert await player.store.phase() is RunPhase.PLAYING
    with open_history(url) as history:
        assert members.phase(history) is RunPhase.PLAYING


async def test_nodes_that_wait_hear_of_the_next_phase(postgres: str) -> None:
    run = config()
    async with (
        SqlStore.open(postgres, run=run) as leader,
        SqlStore.open(postgres, run=run) as waiting,
    ):
        heard = waiting.news()
        assert await anext(heard) == frozenset(News)  # it listens from now on
        await leader.set_phase(RunPhase.PLAYING)
        with anyio.fail_after(60):
            assert await anext(heard) == {News.PHASE}
        await heard.aclose()
