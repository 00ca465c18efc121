"""Who plays a run: nodes, their replicas, and what is known of each.

Values only. A node is an *incarnation*: one life of one process, whose id owns what it
leases. The next life of the same node is another incarnation, so that one which was
declared dead, and is not, can be told from its successor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from azr.types import Lineage, PolicyVersion


class RunPhase(StrEnum):
    """How far a run is; nodes that wait for the next phase hear of it."""

    SEEDING = "seeding"
    """The buffers are being filled and the base model measured."""
    PLAYING = "playing"
    FINISHED = "finished"


class NodeState(StrEnum):
    STARTING = "starting"
    """Registered, and loading what it needs."""
    PLAYING = "playing"
    DRAINING = "draining"
    """Finishes what it holds, and takes nothing new."""
    ENDED = "ended"
    FENCED = "fenced"
    """Declared dead: it may lease nothing, should it still be alive."""


LIVING: tuple[NodeState, ...] = (NodeState.STARTING, NodeState.PLAYING, NodeState.DRAINING)
OVER: tuple[NodeState, ...] = (NodeState.ENDED, NodeState.FENCED)


class ReplicaState(StrEnum):
    STARTING = "starting"
    HEALTHY = "healthy"
    """It proved the version that it serves."""
    STALE = "stale"
    """It serves an older version than it should: an update did not reach it."""
    SUSPECT = "suspect"
    """What it serves is not proved; it samples nothing that is trained on."""
    DEAD = "dead"


def replica_name(node_name: str) -> str:
    """Of the replica on a node: `replica-2` on `node-2`."""
    return node_name.replace("node", "replica", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One incarnation of a node. Times are seconds since the epoch."""

    node_id: str
    name: str
    machine: str
    address: str
    pid: int
    duties: tuple[str, ...]
    state: NodeState
    version: PolicyVersion | None
    """What it last said it serves."""
    lineage: Lineage
    started_at: float
    seen_at: float
    """Its last heartbeat."""
    ended_at: float | None
    reason: str | None
    """Why it ended or was fenced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRecord:
    """The last word about one replica of one incarnation."""

    name: str
    node_id: str
    state: ReplicaState
    version: PolicyVersion | None
    """The newest that it proved."""
    lineage: Lineage
    fingerprint: str | None
    canary_nats: float | None
    lag: int | None
    """Versions that it was behind the learner."""
    cause: str
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaProof:
    """What a replica showed after it applied a policy version."""

    replica: str
    version: PolicyVersion
    fingerprint: str
    """Checksum over the replica's parameters, as loaded."""
    canary_nats: float
    """Mean |trainer - replica| log-prob on the canary tokens at lag 0."""
    accepted: bool
    node_id: str = ""
    """The incarnation of the node whose replica it is."""
    lineage: Lineage = 0
