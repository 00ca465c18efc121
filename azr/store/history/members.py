"""Who plays a run, for whoever only looks: `azr status`, the report, tests.

with open_history(where) as history:
    for node in members.nodes(history): ...
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from azr.errors import StoreError
from azr.membership import NodeRecord, ReplicaRecord, RunPhase
from azr.roster import Leases
from azr.store.history import History
from azr.store.models import AdmissionRow, RolloutRow, RunRow
from azr.store.nodes import all_nodes
from azr.store.replicas import all_replicas
from azr.store.states import AdmissionState, RolloutState

_HELD = (
    (AdmissionRow, AdmissionRow.state == AdmissionState.LEASED),
    (RolloutRow, RolloutRow.state == RolloutState.GENERATED),
)
"""What an owner may hold, and in which state."""


def nodes(history: History) -> list[NodeRecord]:
    """Every incarnation of every node, oldest first."""
    return all_nodes(history.connection, history.run_id)


def replicas(history: History) -> list[ReplicaRecord]:
    """The last word about every replica of every incarnation, by name."""
    return all_replicas(history.connection, history.run_id)


def phase(history: History) -> RunPhase:
    """How far the run is. Raises StoreError before the store has begun one."""
    query = sa.select(RunRow.phase).where(RunRow.run_id == history.run_id)
    found = history.connection.execute(query).scalar()
    if found is None:
        raise StoreError("the database holds no run yet", hint="Wait until its node is up.")
    return found


def now(history: History) -> float:
    """Seconds since the epoch, by the clock that heartbeats and leases are written with."""
    if history.connection.dialect.name != "postgresql":
        return time.time()
    server = sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))
    return float(history.connection.execute(server).scalar_one())


def leases(history: History, *, at: float) -> dict[str, Leases]:
    """What each owner holds at this time, by incarnation."""
    found: dict[str, Leases] = {}
    for table, is_held in _HELD:
        overdue = sa.func.sum(sa.case((table.lease_until < at, 1), else_=0))
        query = (
            sa.select(table.owner, sa.func.count(), overdue)
            .where(table.run_id == history.run_id, is_held, table.owner.is_not(None))
            .group_by(table.owner)
        )
        for name, held, late in history.connection.execute(query):
            owner = str(name)
            before = found.get(owner, Leases())
            found[owner] = Leases(held=before.held + held, overdue=before.overdue + int(late))
    return found
