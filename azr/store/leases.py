"""Leases: work is held by an owner until a time, and returns by itself after it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from azr.membership import OVER
from azr.store.context import RunContext
from azr.store.models import AdmissionRow, NodeRow, RolloutRow
from azr.store.states import AdmissionState, RolloutState

_HELD_ADMISSIONS = (
    AdmissionRow.run_id == sa.bindparam("run"),
    AdmissionRow.state == AdmissionState.LEASED,
)
_HELD_ROLLOUTS = (
    RolloutRow.run_id == sa.bindparam("run"),
    RolloutRow.state == RolloutState.GENERATED,
    RolloutRow.owner.is_not(None),
)
_HELD = (
    sa.update(AdmissionRow).where(*_HELD_ADMISSIONS),
    sa.update(RolloutRow).where(*_HELD_ROLLOUTS),
)
_HELD_BY = (
    _HELD[0].where(AdmissionRow.owner == sa.bindparam("holder")),
    _HELD[1].where(RolloutRow.owner == sa.bindparam("holder")),
)


def leasable(lease_until: InstrumentedAttribute[float | None]) -> sa.ColumnElement[bool]:
    """Nobody holds the row at the time bound to `now`."""
    return sa.or_(lease_until.is_(None), lease_until < sa.bindparam("now", type_=sa.Float))


def may_lease() -> sa.ColumnElement[bool]:
    """The owner bound to `lessee` is no node that has ended or was fenced."""
    over = sa.select(NodeRow.node_id).where(
        NodeRow.node_id == sa.bindparam("lessee"), NodeRow.state.in_(OVER)
    )
    return ~over.exists()


def picked(chosen: sa.Select[int]) -> sa.ColumnElement[bool]:
    """The rows of an UPDATE are those that a query chooses by primary key, and locks.

    The query stands apart (WITH), which PostgreSQL runs exactly once; as a plain
    subquery of IN it may be run again for each row, and then lock more than its LIMIT.
    """
    [key] = chosen.selected_columns
    return key.in_(sa.select(chosen.cte("picked").c[key.name]))


def release(connection: sa.Connection, run: RunContext, owner: str) -> None:
    """Give back everything that `owner` holds."""
    free = {"run": run.run_id, "holder": owner, "owner": None, "lease_until": None}
    connection.execute(_HELD_BY[0], free | {"state": AdmissionState.OPEN})
    connection.execute(_HELD_BY[1], free)


def renew(connection: sa.Connection, run: RunContext, owner: str) -> None:
    """Extend every lease of `owner`."""
    for held in _HELD_BY:
        lease = {"run": run.run_id, "holder": owner, "lease_until": run.lease_end()}
        connection.execute(held, lease)


def release_all(connection: sa.Connection, run: RunContext) -> None:
    """After a crash: nobody holds anything."""
    free = {"run": run.run_id, "owner": None, "lease_until": None}
    connection.execute(_HELD[0], free | {"state": AdmissionState.OPEN})
    connection.execute(_HELD[1], free)
