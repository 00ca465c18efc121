"""Nodes: who plays, who fell silent, and who was declared dead.

A node that was declared dead may only be slow, or cut off: it is *fenced*. Its leases
return at once, it is granted no other (`azr.store.leases.may_lease`), and its next
heartbeat tells it to stop. What it still delivers is of work that somebody was going to
do: a row is sampled and judged once, whoever comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from azr.errors import FencedError, StoreError
from azr.membership import LIVING, NodeRecord, NodeState
from azr.store import events, leases, replicas
from azr.store.context import RunContext
from azr.store.models import NodeRow
from azr.types import Lineage, PolicyVersion

_THIS = (NodeRow.node_id == sa.bindparam("this"), NodeRow.run_id == sa.bindparam("of_run"))
_STATE = sa.select(NodeRow.state).where(NodeRow.node_id == sa.bindparam("this"))
_CHANGE_LIVING = sa.update(NodeRow).where(*_THIS, NodeRow.state.in_(LIVING))
_ALL = sa.select(NodeRow.__table__).where(NodeRow.run_id == sa.bindparam("of_run"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a node says of itself when it starts."""

    name: str
    machine: str
    address: str
    pid: int
    duties: tuple[str, ...]


NOBODY = Registration(name="", machine="", address="", pid=0, duties=())


def register(
    connection: sa.Connection, run: RunContext, owner: str, registration: Registration
) -> None:
    """Begin an incarnation. FencedError if it is over already, StoreError if known."""
    known = connection.execute(_STATE, {"this": owner}).scalar()
    if known is NodeState.FENCED:
        raise FencedError(f"node {owner} was declared dead before it had started")
    if known is not None:
        raise StoreError(
            f"there is a node {owner} already", hint="Every incarnation needs an id of its own."
        )
    _insert(connection, run, owner, registration, NodeState.STARTING)


def beat(
    connection: sa.Connection,
    run: RunContext,
    owner: str,
    *,
    state: NodeState,
    version: PolicyVersion | None,
    lineage: Lineage,
) -> bool:
    """Mark a node as seen and extend its leases; False, changing nothing, if it is over."""
    alive = connection.execute(
        _CHANGE_LIVING,
        {
            "this": owner,
            "of_run": run.run_id,
            "state": state,
            "version": version,
            "lineage": lineage,
            "seen_at": run.now(),
        },
    )
    if alive.rowcount != 1:
        return False
    leases.renew(connection, run, owner)
    return True


def fence(connection: sa.Connection, run: RunContext, owner: str, reason: str) -> bool:
    """Declare a node dead; True if it was not over yet. An owner that never registered
    is fenced all the same: it may be about to."""
    changed = _end(connection, run, owner, NodeState.FENCED, reason)
    if not changed and connection.execute(_STATE, {"this": owner}).scalar() is None:
        _insert(connection, run, owner, NOBODY, NodeState.FENCED, reason)
        leases.release(connection, run, owner)
        changed = True
    if changed:
        events.record(connection, run, "node_fenced", {"node": owner, "reason": reason})
    return changed


def end(connection: sa.Connection, run: RunContext, owner: str, reason: str) -> None:
    """A node says that it stops; nothing happens if it is over already."""
    if _end(connection, run, owner, NodeState.ENDED, reason):
        events.record(connection, run, "node_ended", {"node": owner, "reason": reason})


def all_nodes(connection: sa.Connection, run_id: int | None) -> list[NodeRecord]:
    """Every incarnation of a run, oldest first."""
    query = _ALL.order_by(NodeRow.started_at, NodeRow.node_id)
    return _records(connection.execute(query, {"of_run": run_id}))


def silent(
    connection: sa.Connection, run: RunContext, older_than_seconds: float
) -> list[NodeRecord]:
    """Nodes that are not over, but whose last heartbeat is older than that."""
    query = _ALL.where(
        NodeRow.state.in_(LIVING), NodeRow.seen_at < run.now() - older_than_seconds
    ).order_by(NodeRow.seen_at)
    return _records(connection.execute(query, {"of_run": run.run_id}))


def _end(
    connection: sa.Connection, run: RunContext, owner: str, state: NodeState, reason: str
) -> bool:
    """Whether a living node was ended: its leases return and its replicas are dead."""
    end = {"state": state, "ended_at": run.now(), "reason": reason}
    ended = connection.execute(_CHANGE_LIVING, {"this": owner, "of_run": run.run_id} | end)
    if ended.rowcount != 1:
        return False
    leases.release(connection, run, owner)
    replicas.bury(connection, run, owner, f"its node {state}: {reason}")
    return True


def _insert(
    connection: sa.Connection,
    run: RunContext,
    owner: str,
    registration: Registration,
    state: NodeState,
    reason: str | None = None,
) -> None:
    now = run.now()
    connection.execute(
        sa.insert(NodeRow).values(
            node_id=owner,
            run_id=run.run_id,
            name=registration.name,
            machine=registration.machine,
            address=registration.address,
            pid=registration.pid,
            duties=list(registration.duties),
            state=state,
            lineage=run.lineage,
            started_at=now,
            seen_at=now,
            ended_at=None if state in LIVING else now,
            reason=reason,
        )
    )


def _records(rows: sa.CursorResult[*tuple[Any, ...]]) -> list[NodeRecord]:
    return [
        NodeRecord(
            **{fact: value for fact, value in row.items() if fact not in ("run_id", "duties")},
            duties=tuple(row["duties"]),
        )
        for row in rows.mappings()
    ]
