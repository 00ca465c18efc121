"""The part of the store that says who plays: nodes, replicas, and the run's phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from azr.membership import NodeRecord, NodeState, ReplicaRecord, ReplicaState, RunPhase
from azr.store import nodes, phases, replicas
from azr.store.access import RunAccess
from azr.store.engine import Durability, Needs
from azr.store.news import News
from azr.types import Lineage, PolicyVersion

_PLAIN = Needs()
_RELAXED = Needs(durability=Durability.RELAXED)
_FENCED = Needs(alone=True, news=frozenset(News))
_ADVANCED = Needs(news=frozenset({News.PHASE}))


class MembershipStore(RunAccess):
    """Every method is one short, shielded transaction, as those of `SqlStore` are."""

    async def register_node(
        self,
        owner: str,
        *,
        name: str,
        machine: str,
        address: str,
        pid: int,
        duties: Sequence[str],
    ) -> None:
        """Begin an incarnation: `owner` is what leases here are held by.

        Raises FencedError if it was fenced before, StoreError if it registered before.
        """
        registration = nodes.Registration(
            name=name, machine=machine, address=address, pid=pid, duties=tuple(duties)
        )
        await self._in_order(_PLAIN, nodes.register, owner, registration)
        self._run = replace(self._run, node_id=owner)

    async def beat(
        self, owner: str, *, state: NodeState, version: PolicyVersion | None, lineage: Lineage
    ) -> bool:
        """Say that a node lives, and extend its leases. False: it was fenced, ended or
        never registered, and must stop."""
        return await self._freely(
            _RELAXED, nodes.beat, owner, state=state, version=version, lineage=lineage
        )

    async def fence(self, owner: str, reason: str) -> bool:
        """Declare a node dead: its leases return, its replicas are dead, and it may
        lease nothing any more. False if it was over already."""
        return await self._in_order(_FENCED, nodes.fence, owner, reason)

    async def end_node(self, owner: str, reason: str) -> None:
        """A node stops by itself: like a fence, without the verdict."""
        await self._in_order(_FENCED, nodes.end, owner, reason)

    async def nodes(self) -> list[NodeRecord]:
        """Every incarnation, oldest first."""
        return await self._read(lambda connection, run: nodes.all_nodes(connection, run.run_id))

    async def silent_nodes(self, older_than_seconds: float) -> list[NodeRecord]:
        """Nodes that are not over, whose last heartbeat is older than that by the
        database's clock; the most silent first."""
        return await self._freely(_RELAXED, nodes.silent, older_than_seconds)

    async def record_replica(
        self,
        name: str,
        *,
        node_id: str,
        state: ReplicaState,
        version: PolicyVersion | None = None,
        lineage: Lineage | None = None,
        fingerprint: str | None = None,
        canary_nats: float | None = None,
        lag: int | None = None,
        cause: str = "",
    ) -> None:
        """Set a replica's state; a new state is an event. None leaves what was known."""
        await self._in_order(
            _PLAIN,
            replicas.record,
            name,
            node_id=node_id,
            state=state,
            version=version,
            lineage=lineage,
            fingerprint=fingerprint,
            canary_nats=canary_nats,
            lag=lag,
            cause=cause,
        )

    async def replicas(self) -> list[ReplicaRecord]:
        """The last word about every replica of every incarnation, by name."""
        return await self._read(
            lambda connection, run: replicas.all_replicas(connection, run.run_id)
        )

    async def phase(self) -> RunPhase:
        """How far the run is; `set_phase` alone changes it."""
        return await self._read(phases.phase)

    async def set_phase(self, phase: RunPhase) -> None:
        """Go to a phase; nodes that listen hear of it."""
        await self._in_order(_ADVANCED, phases.set_phase, phase)
