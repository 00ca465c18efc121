"""Who plays a run, for whoever only looks: `azr status`, the report, tests.

with open_history(where) as history:
    for node in members.nodes(history): ...
"""

from __future__ import annotations

import sqlalchemy as sa

from azr.errors import StoreError
from azr.membership import NodeRecord, ReplicaRecord, RunPhase
from azr.store.history import History
from azr.store.models import RunRow
from azr.store.nodes import all_nodes
from azr.store.replicas import all_replicas


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
