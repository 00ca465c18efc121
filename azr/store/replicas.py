"""Replicas: the last word about each, and an event whenever its state changes."""

from __future__ import annotations

import sqlalchemy as sa

from azr.membership import ReplicaRecord, ReplicaState
from azr.store import events
from azr.store.codec import finite
from azr.store.context import RunContext
from azr.store.models import ReplicaRow
from azr.types import Lineage, PolicyVersion

_THIS = (
    ReplicaRow.run_id == sa.bindparam("of_run"),
    ReplicaRow.name == sa.bindparam("this"),
    ReplicaRow.node_id == sa.bindparam("of_node"),
)
_KNOWN = sa.select(ReplicaRow.state, ReplicaRow.version, ReplicaRow.lineage).where(*_THIS)
_OF_NODE = sa.select(ReplicaRow.name).where(
    ReplicaRow.run_id == sa.bindparam("of_run"),
    ReplicaRow.node_id == sa.bindparam("of_node"),
    ReplicaRow.state != ReplicaState.DEAD,
)


def record(
    connection: sa.Connection,
    run: RunContext,
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
    """Set a replica's state, and what else is known; None leaves what was known before.

    A word that comes late takes no version back: of one lineage they only grow.
    """
    this = {"of_run": run.run_id, "this": name, "of_node": node_id}
    known = connection.execute(_KNOWN, this).one_or_none()
    before = (0, None) if known is None else (known.lineage, known.version)
    lineage, version = _newer(before, (before[0] if lineage is None else lineage, version))
    said = {
        "fingerprint": fingerprint,
        "canary_nats": None if canary_nats is None else finite({"": canary_nats})[""],
        "lag": lag,
    }
    columns = {fact: value for fact, value in said.items() if value is not None} | {
        "state": state,
        "version": version,
        "lineage": lineage,
        "cause": cause,
        "updated_at": run.now(),
    }
    if known is None:
        new = sa.insert(ReplicaRow).values(run_id=run.run_id, name=name, node_id=node_id)
        connection.execute(new.values(**columns))
    else:
        connection.execute(sa.update(ReplicaRow).where(*_THIS), this | columns)
    if known is None or known.state is not state:
        facts = {
            "replica": name,
            "node": node_id,
            "before": None if known is None else known.state,
            "state": state,
            "version": version,
            "lineage": lineage,
            "cause": cause,
        }
        events.record(connection, run, "replica", facts)


def bury(connection: sa.Connection, run: RunContext, node_id: str, cause: str) -> None:
    """The replicas of a node that is over are dead."""
    of_node = {"of_run": run.run_id, "of_node": node_id}
    for name in connection.execute(_OF_NODE, of_node).scalars().all():
        record(connection, run, name, node_id=node_id, state=ReplicaState.DEAD, cause=cause)


def all_replicas(connection: sa.Connection, run_id: int | None) -> list[ReplicaRecord]:
    """The last word about every replica of every incarnation, by name, newest last."""
    query = (
        sa.select(ReplicaRow.__table__)
        .where(ReplicaRow.run_id == run_id)
        .order_by(ReplicaRow.name, ReplicaRow.updated_at)
    )
    return [
        ReplicaRecord(**{fact: value for fact, value in row.items() if fact != "run_id"})
        for row in connection.execute(query).mappings()
    ]


def _newer(
    before: tuple[Lineage, PolicyVersion | None], said: tuple[Lineage, PolicyVersion | None]
) -> tuple[Lineage, PolicyVersion | None]:
    """The later of two (lineage, version); an unknown version changes none."""
    if said[0] == before[0]:
        known = [version for version in (before[1], said[1]) if version is not None]
        return before[0], max(known, default=None)
    return max(before, said, key=lambda point: point[0])
