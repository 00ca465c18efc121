"""Who plays a run and how each fares: what `azr status` and the live view show of nodes.

Values, and the judgement of what should catch the eye. What they are made from is read by
`azr.report.standing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azr.membership import LIVING, NodeRecord, NodeState, ReplicaState
from azr.types import Lineage, PolicyVersion

LATE_HEARTBEATS = 5
"""A node whose last heartbeat is so many of its periods old is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """What one owner holds: admissions to sample, rollouts to examine."""

    held: int = 0
    overdue: int = 0
    """Of these, whose time is over: anybody may take them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When a silence counts, in seconds: `cluster.heartbeat_seconds`, `cluster.silent_seconds`."""

    heartbeat_seconds: float
    silent_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStanding:
    """The newest incarnation of a node."""

    record: NodeRecord
    silence_seconds: float
    """Since its last heartbeat, by the database's clock."""
    leases: Leases = Leases()
    num_earlier: int = 0
    """Incarnations before this one."""
    alarm: str = ""
    """What is wrong with it; empty if nothing is."""

    @property
    def is_living(self) -> bool:
        """As far as anybody has said."""
        return self.record.state in LIVING


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStanding:
    """The replica of one incarnation."""

    name: str
    node_id: str
    state: ReplicaState
    version: PolicyVersion | None = None
    """The newest that it proved."""
    lineage: Lineage = 0
    lag: int | None = None
    """Versions that it was behind the learner at the last publication."""
    fingerprint: str | None = None
    """Checksum over its parameters, as of the newest proof."""
    canary_nats: float | None = None
    """Mean |trainer - replica| log-prob of that proof."""
    cause: str = ""
    """Why it is dead, in its own words."""
    tokens_per_second: float | None = None
    busy_share: float | None = None
    """Share of the recent past with a request in flight, 0 to 1."""
    alarm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Everybody, by name."""

    nodes: Sequence[NodeStanding] = ()
    replicas: Sequence[ReplicaStanding] = ()

    @property
    def alarms(self) -> tuple[str, ...]:
        """Everything that is wrong, a line each; silence of everybody is one thing."""
        living = [node for node in self.nodes if node.is_living]
        silent = [node for node in living if node.alarm]
        if len(living) > 1 and len(silent) == len(living):
            least = min(node.silence_seconds for node in silent)
            rest = [node for node in self.nodes if not node.is_living]
            return (
                f"no node has been heard of for {least:.0f} s: the run was killed, or cannot"
                " reach its database",
                *(f"{node.record.name}: {node.alarm}" for node in rest if node.alarm),
            )
        return (
            *(f"{node.record.name}: {node.alarm}" for node in self.nodes if node.alarm),
            *(f"{replica.name}: {replica.alarm}" for replica in self.replicas if replica.alarm),
        )


def node_alarm(
    record: NodeRecord, *, silence_seconds: float, leases: Leases, patience: Patience
) -> str:
    """What is wrong with the newest incarnation of a node; empty if nothing is."""
    wrong: list[str] = []
    if record.state is NodeState.FENCED:
        wrong.append(f"was given up: {record.reason}")
    elif record.state in LIVING and silence_seconds > patience.silent_seconds:
        wrong.append(f"silent for {silence_seconds:.0f} s")
    elif record.state in LIVING and silence_seconds > LATE_HEARTBEATS * patience.heartbeat_seconds:
        wrong.append(f"its heartbeat is {silence_seconds:.0f} s late")
    if leases.overdue:
        wrong.append(f"{leases.overdue} leases are overdue")
    return "; ".join(wrong)


def replica_alarm(state: ReplicaState, *, node: NodeStanding, lag: int | None, cause: str) -> str:
    """What is wrong with a replica whose node may still live; empty if nothing is."""
    if not node.is_living:
        return ""  # its node says it
    if state is ReplicaState.DEAD:
        return f"dead: {cause or 'it did not answer'}"
    if state is ReplicaState.SUSPECT:
        return "suspect: its weights are not proved, and it samples nothing for training"
    if state is ReplicaState.STALE:
        behind = "" if not lag else f", {lag} versions behind"
        return f"stale: an update did not reach it{behind}"
    return ""
