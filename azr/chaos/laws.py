"""What must hold after a fault, whatever it was: questions to the run's database.

The invariants of every database (`azr.store.health`) say that nothing is lost or doubled and
that versions only grow. Here are those that need to know what was there before the fault,
what the run's bounds are, and what time it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from azr.errors import StoreError
from azr.membership import NodeRecord, NodeState, ReplicaState
from azr.placement import Duty
from azr.store.health import examine
from azr.store.history import History, members, open_history
from azr.store.locate import Located
from azr.store.queries import run_config

STUCK_SECONDS = 60.0
"""A lease that ended so long ago, and that nobody took over, is stuck."""
SEEN_SECONDS = 20.0
"""A node is there if its last heartbeat is no older."""

_BEFORE = """
    select coalesce(max(rollout_id), 0), count(*) from rollout where run_id = {run}"""
_SURVIVORS = "select count(*) from rollout where run_id = {run} and rollout_id <= {newest}"
_DURABLE = """
    select coalesce(max(version), 0) from policy_version
    where run_id = {run} and durable and state = 'live'"""
_LAST_STEP = "select coalesce(max(step_id), 0) from learner_step where run_id = {run}"
_FIRST_STEP_SINCE = """
    select min(s.committed_at) from learner_step s join batch b on b.batch_id = s.batch_id
    where s.run_id = {run} and b.claimed_at > {since}"""
_ON_THE_WAY = {
    "node up": """
        select min(created_at) from event
        where run_id = {run} and kind = 'node_started' and created_at > {since}""",
    "learner begins": """
        select min(created_at) from event
        where run_id = {run} and kind = 'recovered' and created_at > {since}""",
    "weights proved": """
        select min(p.created_at) from replica_proof p
        where p.run_id = {run} and p.accepted and p.created_at > (
            select min(e.created_at) from event e
            where e.run_id = {run} and e.kind = 'recovered' and e.created_at > {since})""",
}
"""What may come between a fault and the next learner step, in this order -> when it came."""
_BROKEN_BY = {
    "no row that was trained on was staler than learner.max_staleness": """
        select m.batch_row_id from batch_row m join batch b on b.batch_id = m.batch_id
        where b.run_id = {run} and m.staleness > {max_staleness}""",
    "no lease is stuck": """
        select admission_id from admission
        where run_id = {run} and state = 'leased' and lease_until < {now} - {stuck_seconds}
        union all
        select rollout_id from rollout where run_id = {run} and state = 'generated'
        and owner is not null and lease_until < {now} - {stuck_seconds}""",
    "one batch is open at most": """
        select batch_id from batch where run_id = {run} and state = 'claimed'
        order by batch_id desc limit 100 offset 1""",
}
"""Law -> a query for what breaks it; numbers are filled in."""


@dataclass(frozen=True, slots=True)
class Before:
    """What a run had when something was about to be broken."""

    newest_rollout: int
    num_rollouts: int
    durable_version: int


def before(where: Located) -> Before:
    """Look at the run now. Raises StoreError."""
    with open_history(where) as history:
        newest, count = _row(history, _BEFORE)
        return Before(newest, count, _row(history, _DURABLE)[0])


def broken(where: Located, was: Before) -> list[str]:
    """The laws that do not hold now, with what breaks them. Raises StoreError."""
    with open_history(where) as history:
        return list(_broken(history, was))


def seconds_to_go_on(where: Located, since: float) -> float | None:
    """Until a learner step was committed whose batch was claimed after that time; None if
    none has been yet. Raises StoreError while the database is away."""
    with open_history(where) as history:
        (at,) = _row(history, _FIRST_STEP_SINCE, since=since)
    return None if at is None else at - since


def on_the_way(where: Located, since: float, *, until: float) -> dict[str, float]:
    """Seconds from a fault to what a learner that had to begin again needed, as far as it came
    before `until`: where the time went. Raises StoreError."""
    with open_history(where) as history:
        found = {what: _row(history, query, since=since)[0] for what, query in _ON_THE_WAY.items()}
    return {what: at - since for what, at in found.items() if at is not None and at <= until}


def num_steps(where: Located) -> int:
    """Steps that were ever committed. Raises StoreError."""
    with open_history(where) as history:
        return 0 if history.run_id is None else _row(history, _LAST_STEP)[0]


def living(where: Located) -> dict[str, NodeRecord]:
    """The newest incarnation of each node, if it plays and was heard of lately, by name."""
    with open_history(where) as history:
        return _living(history)


def missing(where: Located, names: set[str]) -> set[str]:
    """The nodes of these names that do not play, or whose replica has not proved a version
    since the learner last went back to a checkpoint. Raises StoreError."""
    with open_history(where) as history:
        nodes = _living(history)
        (lineage,) = _row(history, "select lineage from runs where run_id = {run}")
        proved = {
            replica.node_id
            for replica in members.replicas(history)
            if replica.state is ReplicaState.HEALTHY and replica.lineage == lineage
        }
    there = {
        name
        for name, node in nodes.items()
        if Duty.SAMPLE not in node.duties or node.node_id in proved
    }
    return names - there


def _living(history: History) -> dict[str, NodeRecord]:
    newest = {node.name: node for node in members.nodes(history)}
    heard_since = time.time() - SEEN_SECONDS
    return {
        name: node
        for name, node in newest.items()
        if node.state is NodeState.PLAYING and node.seen_at >= heard_since
    }


def _broken(history: History, was: Before) -> Iterator[str]:
    for finding in examine(history):
        if not finding.is_well:
            yield f"{finding.name}: {finding.problems[0]}"
    limits = {
        "max_staleness": run_config(history).learner.max_staleness,
        "now": time.time(),
        "stuck_seconds": STUCK_SECONDS,
    }
    for law, query in _BROKEN_BY.items():
        if rows := _rows(history, query, **limits):
            yield f"{law}: {len(rows)} rows break it, such as {rows[0][0]}"
    (survivors,) = _row(history, _SURVIVORS, newest=was.newest_rollout)
    if survivors < was.num_rollouts:
        yield f"no rollout is lost: {was.num_rollouts - survivors} of {was.num_rollouts} are gone"
    (durable,) = _row(history, _DURABLE)
    if durable < was.durable_version:
        yield f"no checkpoint is lost: v{was.durable_version} was durable, now v{durable} is"


def _row(history: History, query: str, **numbers: float) -> Any:  # noqa: ANN401 -- a row of SQL
    (row,) = _rows(history, query, **numbers)
    return row


def _rows(history: History, query: str, **numbers: float) -> list[Any]:
    if history.run_id is None:
        raise StoreError("the database holds no run yet")
    filled = query.format(run=history.run_id, **numbers)
    return list(history.connection.exec_driver_sql(filled))
