"""How everybody who plays a run fares, read from its database alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from azr.membership import NodeRecord, ReplicaRecord, ReplicaState, replica_name
from azr.progress import replica_busy_metric
from azr.roster import (
    Leases,
    NodeStanding,
    Patience,
    ReplicaStanding,
    Roster,
    node_alarm,
    replica_alarm,
)
from azr.store import queries
from azr.store.history import History, members, recent
from azr.store.points import MetricPoint

SAMPLES = "sample"
"""The duty of a node with a replica."""
NUM_GAUGES = 20
"""Of each replica's newest reports, over which its engine's busy share is taken."""


def read_roster(
    history: History,
    *,
    tokens_per_second: Mapping[str, float] | None = None,
    at: float | None = None,
) -> Roster:
    """Every node's newest incarnation, and its replica.

    `tokens_per_second` is by incarnation; `at` is the time to reckon silences from, by
    default the database's own.
    """
    cluster = queries.run_config(history).cluster
    patience = Patience(
        heartbeat_seconds=cluster.heartbeat_seconds, silent_seconds=cluster.silent_seconds
    )
    at = members.now(history) if at is None else at
    records = members.nodes(history)
    incarnations = Counter(record.name for record in records)
    held = members.leases(history, at=at)
    nodes = [
        _node(
            record,
            silence_seconds=max(0.0, at - record.seen_at),
            leases=held.get(record.node_id, Leases()),
            patience=patience,
            num_earlier=incarnations[record.name] - 1,
        )
        for record in sorted(newest(records).values(), key=lambda record: name_order(record.name))
    ]
    known = {replica.node_id: replica for replica in members.replicas(history)}
    sampling = [node for node in nodes if SAMPLES in node.record.duties]
    busy = busy_shares(history, [replica_name(node.record.name) for node in sampling])
    speeds = tokens_per_second or {}
    return Roster(
        nodes=tuple(nodes),
        replicas=tuple(
            _replica(
                node,
                known.get(node.record.node_id),
                tokens_per_second=speeds.get(node.record.node_id),
                busy_share=busy.get(replica_name(node.record.name)),
            )
            for node in sampling
        ),
    )


def newest(records: Sequence[NodeRecord]) -> dict[str, NodeRecord]:
    """The newest incarnation of each node, by name; the records are oldest first. One that
    was fenced before it ever registered says nothing of itself and has no name."""
    return {record.name: record for record in records if record.name}


def name_order(name: str) -> tuple[int, str]:
    """`node-10` after `node-9`."""
    return len(name), name


def busy_shares(history: History, replicas: Sequence[str]) -> dict[str, float]:
    """Share of the recent past in which each replica had a request in flight, by name."""
    metrics = {name: replica_busy_metric(name) for name in replicas}
    found = recent.newest_metrics(history, list(metrics.values()), count=NUM_GAUGES)
    shares = {name: busy_share(found[metric]) for name, metric in metrics.items()}
    return {name: share for name, share in shares.items() if share is not None}


def busy_share(totals: Sequence[MetricPoint]) -> float | None:
    """Of one replica, from its totals in order of time; None before there are two.

    A total below the one before it is of another process, and that pair is left out.
    """
    gains = list(busy_gains(totals))
    elapsed = sum(seconds for seconds, _ in gains)
    return sum(busy for _, busy in gains) / elapsed if elapsed > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """What the engine of one node did over a run, all of its lives together."""

    replica: str
    busy_share: float | None
    tokens: int
    """Sampled into rollouts."""


def read_engines(history: History, *, since: float, until: float) -> tuple[EngineFigures, ...]:
    """Of every node that ever sampled, between two times; empty where no node reported."""
    records = [record for record in members.nodes(history) if SAMPLES in record.duties]
    names = sorted({replica_name(record.name) for record in records}, key=name_order)
    tokens: Counter[str] = Counter()
    sampled = recent.sampled_tokens(history, since=since, until=until)
    for record in records:
        tokens[replica_name(record.name)] += sampled.get(record.node_id, 0)
    metrics = {name: replica_busy_metric(name) for name in names}
    found = recent.newest_metrics(history, list(metrics.values()), count=None)
    return tuple(
        EngineFigures(
            replica=name,
            busy_share=busy_share(
                [point for point in found[metric] if since <= point.recorded_at <= until]
            ),
            tokens=tokens[name],
        )
        for name, metric in metrics.items()
    )


def busy_gains(totals: Sequence[MetricPoint]) -> list[tuple[float, float]]:
    """(seconds that passed, seconds busy) between neighbours of one process."""
    known = [(point.recorded_at, point.value) for point in totals if point.value is not None]
    return [
        (after[0] - before[0], after[1] - before[1])
        for before, after in pairwise(known)
        if after[1] >= before[1]
    ]


def _node(
    record: NodeRecord,
    *,
    silence_seconds: float,
    leases: Leases,
    patience: Patience,
    num_earlier: int,
) -> NodeStanding:
    return NodeStanding(
        record=record,
        silence_seconds=silence_seconds,
        leases=leases,
        num_earlier=num_earlier,
        alarm=node_alarm(record, silence_seconds=silence_seconds, leases=leases, patience=patience),
    )


def _replica(
    node: NodeStanding,
    record: ReplicaRecord | None,
    *,
    tokens_per_second: float | None,
    busy_share: float | None,
) -> ReplicaStanding:
    """Of a node that samples; one that nobody has said anything about yet is starting."""
    name, node_id = replica_name(node.record.name), node.record.node_id
    if record is None:
        state = ReplicaState.STARTING if node.is_living else ReplicaState.DEAD
        return ReplicaStanding(name=name, node_id=node_id, state=state)
    return ReplicaStanding(
        name=name,
        node_id=node_id,
        state=record.state,
        version=record.version,
        lineage=record.lineage,
        lag=record.lag,
        fingerprint=record.fingerprint,
        canary_nats=record.canary_nats,
        cause=record.cause,
        tokens_per_second=tokens_per_second,
        busy_share=busy_share,
        alarm=replica_alarm(record.state, node=node, lag=record.lag, cause=record.cause),
    )
