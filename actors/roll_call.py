"""Who samples for this run now: the replicas that the learner's node has to keep current.

The store says which nodes live, `reach` how to talk to one; the replica of the learner's own
node counts like any other, from when it is open. A replica that was counted out because it
did not answer is tried again for as long as its node says that it lives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import anyio

from actors.remote_replica import RemoteReplica
from azr.engine.concurrently import concurrently
from azr.engine.weight_channel import GlooWeightChannel
from azr.engine.weight_ports import WeightReplica
from azr.errors import EngineError
from azr.membership import NodeRecord, NodeState, ReplicaProof, ReplicaState, replica_name
from azr.placement import Duty
from azr.store import SqlStore
from azr.types import Lineage, PolicyVersion

RETRY_SECONDS = 10.0
"""Until a replica that did not answer is tried again; twice as long after each further time,
because every try may cost the learner as long as a call may take."""
LONGEST_RETRY_SECONDS = 120.0
ASK_SECONDS = 1.0
"""Between two looks for somebody who can sample the canary."""
GONE = "its node has gone"

type Reach = Callable[[NodeRecord], RemoteReplica]
"""Makes the proxy of another node's replica, without talking to it yet."""
type Canary = list[list[int]]
"""Token sequences that proofs use."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """A replica that could be kept current."""

    node_id: str
    take: Callable[[], WeightReplica]


@dataclass(frozen=True, slots=True)
class _Said:
    """What was last written down about a replica."""

    node_id: str
    state: ReplicaState
    cause: str
    proved: PolicyVersion | None


@dataclass(kw_only=True, eq=False)
class RollCall:
    """Compares who lives with whom the weight channel knows, and brings it up to date."""

    store: SqlStore
    channel: GlooWeightChannel
    reach: Reach
    own_node: str
    own: Callable[[], WeightReplica | None]
    """The replica of the learner's own node, if it is open."""
    owner: str
    """The learner's own incarnation."""
    lineage: Lineage
    _owners: dict[str, str] = field(default_factory=dict)
    """Incarnations that were admitted, by replica name."""
    _proofs: dict[str, ReplicaProof] = field(default_factory=dict)
    """The newest of each, accepted or not, by replica name."""
    _proved: dict[str, PolicyVersion] = field(default_factory=dict)
    """The newest version of each, by replica name."""
    _said: dict[str, _Said] = field(default_factory=dict)
    _lost_at: dict[str, float] = field(default_factory=dict)
    """When each was first seen to be lost, by replica name."""
    _num_tries: dict[str, int] = field(default_factory=dict)
    """At those that have proved nothing since they were lost, by replica name."""

    async def reconcile(self) -> set[str]:
        """Admit who has come, dismiss who has gone; the names that were admitted."""
        seats = await self._seats()
        for name in self.channel.names - seats.keys():
            self.channel.dismiss(name, GONE)
        admitted = {name for name, seat in seats.items() if self._is_due(name, seat)}
        for name in admitted:
            if self._owners.get(name) != seats[name].node_id:  # another life: nothing is known
                for known in (self._proved, self._proofs, self._num_tries):
                    known.pop(name, None)
            else:
                self._num_tries[name] = self._num_tries.get(name, 0) + 1
            self._lost_at.pop(name, None)
            self._owners[name] = seats[name].node_id
            self.channel.admit(seats[name].take())
        return admitted

    def note(self, proof: ReplicaProof) -> None:
        """A replica was put to the proof."""
        self._proofs[proof.replica] = proof

    async def record(self, version: PolicyVersion) -> None:
        """Write down what every replica is worth since the publication of `version`."""
        for name, state in self.channel.standings.items():
            if state is ReplicaState.HEALTHY:
                self._proved[name] = version
                self._num_tries.pop(name, None)
        await concurrently(
            lambda standing: self._record(version, *standing), self.channel.standings.items()
        )

    def node_of(self, name: str) -> str:
        """The incarnation whose replica has this name."""
        return self._owners.get(name, self.owner)

    async def _record(self, version: PolicyVersion, name: str, state: ReplicaState) -> None:
        proved, proof = self._proved.get(name), self._proofs.get(name)
        now = _Said(self.node_of(name), state, self.channel.cause(name), proved)
        if state is ReplicaState.DEAD and self._said.get(name) == now:
            return  # it does not get any deader, however long the run
        await self.store.record_replica(
            name,
            node_id=now.node_id,
            state=state,
            version=proved,
            lineage=self.lineage,
            fingerprint=None if proof is None else proof.fingerprint,
            canary_nats=None if proof is None else proof.canary_nats,
            lag=None if proved is None else version - proved,
            cause=now.cause,
        )
        self._said[name] = now

    async def _seats(self) -> dict[str, _Seat]:
        """Replicas that are open now, as far as their nodes say."""
        seats: dict[str, _Seat] = {}
        for node in await self.store.nodes():
            if node.name != self.own_node and samples(node):
                seats[replica_name(node.name)] = _Seat(node.node_id, partial(self.reach, node))
        own = self.own()
        if own is not None:
            seats[own.name] = _Seat(self.owner, lambda: own)
        return seats

    def _is_due(self, name: str, seat: _Seat) -> bool:
        if self._owners.get(name) != seat.node_id:
            return True
        if self.channel.standings.get(name) is not ReplicaState.DEAD:
            return False
        now = anyio.current_time()
        pause_seconds = RETRY_SECONDS * 2 ** self._num_tries.get(name, 0)
        return now >= self._lost_at.setdefault(name, now) + min(
            pause_seconds, LONGEST_RETRY_SECONDS
        )


async def sampled_canary(
    store: SqlStore,
    reach: Reach,
    *,
    own_node: str,
    own: Callable[[], Awaitable[Canary]] | None,
) -> Canary:
    """The canary's token sequences from whoever answers first: the replica of this node,
    which `own` waits for, or one of another node. Waits until there is one.
    """
    found: list[Canary] = []
    pending: set[str] = set()

    async def ask(who: str, source: Callable[[], Awaitable[Canary]]) -> None:
        with suppress(EngineError):  # it may be going; another one, or it again
            found.append(await source())
            asking.cancel_scope.cancel()
        pending.discard(who)

    async with anyio.create_task_group() as asking:
        if own is not None:
            asking.start_soon(ask, own_node, own)
        while not found:
            for node in await store.nodes():
                is_other = node.name != own_node and node.node_id not in pending
                if is_other and samples(node):
                    pending.add(node.node_id)
                    asking.start_soon(ask, node.node_id, reach(node).canary)
            await anyio.sleep(ASK_SECONDS)
    return found[0]


def samples(node: NodeRecord) -> bool:
    """Whether it has a replica open, as far as it says."""
    return node.state is NodeState.PLAYING and Duty.SAMPLE in node.duties
