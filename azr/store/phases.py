"""The phase of a run: what the nodes that do not lead it wait for."""

from __future__ import annotations

import sqlalchemy as sa

from azr.membership import RunPhase
from azr.store.context import RunContext
from azr.store.models import RunRow


def phase(connection: sa.Connection, run: RunContext) -> RunPhase:
    return connection.execute(
        sa.select(RunRow.phase).where(RunRow.run_id == run.run_id)
    ).scalar_one()


def set_phase(connection: sa.Connection, run: RunContext, phase: RunPhase) -> None:
    connection.execute(sa.update(RunRow).where(RunRow.run_id == run.run_id).values(phase=phase))
