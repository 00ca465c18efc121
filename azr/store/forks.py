"""Lineages: every return to a checkpoint begins one, and fences off the one before.

A learner that was declared dead may live on, and so may replicas with weights that
were undone. What a learner writes therefore carries its lineage and is refused once a
newer one has begun; what undone weights sampled is kept, as stale as it is far from
the weights that survived (`azr.staleness.counted_version`).
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from azr.errors import FencedError
from azr.staleness import counted_version
from azr.store.context import RunContext
from azr.store.models import LineageRow, RolloutRow, RunRow
from azr.types import Lineage, PolicyVersion, VersionSpan

_AT = sa.select(RunRow.learner_version, RunRow.lineage).where(RunRow.run_id == sa.bindparam("run"))
_FORKS = sa.select(LineageRow.lineage, LineageRow.forked_at).where(
    LineageRow.run_id == sa.bindparam("run")
)
_COUNT_FROM = sa.update(RolloutRow).where(RolloutRow.rollout_id == sa.bindparam("this"))


def position(connection: sa.Connection, run: RunContext) -> tuple[PolicyVersion, Lineage]:
    """The learner's version, and the lineage that it is of."""
    row = connection.execute(_AT, {"run": run.run_id}).one()
    return row.learner_version, row.lineage


def require_newest(connection: sa.Connection, run: RunContext) -> None:
    """Raise FencedError if another learner has begun a lineage since."""
    _, newest = position(connection, run)
    if run.lineage != newest:
        raise FencedError(
            f"this learner continues lineage {run.lineage} of the run, but another one has"
            f" gone back to a checkpoint and begun lineage {newest}"
        )


def begin(connection: sa.Connection, run: RunContext, forked_at: PolicyVersion) -> Lineage:
    """Begin the next lineage at a version; its number."""
    _, newest = position(connection, run)
    connection.execute(
        sa.insert(LineageRow).values(
            run_id=run.run_id,
            lineage=newest + 1,
            forked_at=forked_at,
            created_at=run.now(),
        )
    )
    connection.execute(
        sa.update(RunRow)
        .where(RunRow.run_id == run.run_id)
        .values(lineage=newest + 1, learner_version=forked_at)
    )
    return newest + 1


def count_staleness(
    connection: sa.Connection,
    run: RunContext,
    rollout_id: int,
    spans: Iterable[VersionSpan],
    *,
    learner_version: PolicyVersion,
) -> None:
    """Set where a rollout's staleness counts from, for tokens of older lineages."""
    forks = {row.lineage: row.forked_at for row in connection.execute(_FORKS, {"run": run.run_id})}
    newest = max(forks)

    def counted(span: VersionSpan) -> PolicyVersion:
        # Weights are served after their step is committed, so that a version which the
        # learner has not reached is an undone one, whatever its label says.
        lineage = min(span.lineage, newest - 1) if span.version > learner_version else span.lineage
        later = [forked_at for began, forked_at in forks.items() if began > lineage]
        return counted_version(span.version, min(later, default=None))

    stalest = min(map(counted, spans))
    connection.execute(_COUNT_FROM, {"this": rollout_id, "staleness_version": stalest})
