"""Dropping token arrays of old rollouts; who did what to whom stays.

A pruned payload keeps its text and its version spans and has the codec `pruned`.
Pruned is only what nothing can want again: rollouts that a surviving step trained on,
at or before both the last checkpoint and `learner version - keep_steps`, and dropped
ones that were sampled before that. A run goes back no further than its last
checkpoint, so pruning is safe beside it; it works in short transactions of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from azr.store.codec import PRUNED
from azr.store.models import (
    BatchMemberRow,
    LearnerStepRow,
    PolicyVersionRow,
    RolloutPayloadRow,
    RolloutRow,
    RunRow,
)
from azr.store.states import LineageState, RolloutState
from azr.types import PolicyVersion

ROLLOUTS_PER_TRANSACTION = 500
ARRAYS = (
    RolloutPayloadRow.prompt_token_ids,
    RolloutPayloadRow.token_ids,
    RolloutPayloadRow.behaviour_logprobs,
)
_BYTES = sum((sa.func.length(array) for array in ARRAYS), sa.literal(0))


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much was dropped, or would be."""

    num_rollouts: int = 0
    num_bytes: int = 0
    """Of the token arrays."""

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.num_rollouts + other.num_rollouts, self.num_bytes + other.num_bytes)


def last_prunable_step(connection: sa.Connection, run_id: int, *, keep_steps: int) -> PolicyVersion:
    """The newest step whose rows may go; 0 or less if there is none."""
    learner = sa.select(RunRow.learner_version).where(RunRow.run_id == run_id)
    durable = sa.select(sa.func.max(PolicyVersionRow.version)).where(
        PolicyVersionRow.run_id == run_id,
        PolicyVersionRow.state == LineageState.LIVE,
        PolicyVersionRow.durable.is_(True),
    )
    checkpoint = connection.execute(durable).scalar() or 0
    return min(checkpoint, connection.execute(learner).scalar_one() - keep_steps)


def prunable(connection: sa.Connection, run_id: int, step: PolicyVersion) -> Pruned:
    """What pruning up to a step would drop."""
    found = _candidates(run_id, step).with_only_columns(sa.func.count(), sa.func.sum(_BYTES))
    count, size = connection.execute(found).one()
    return Pruned(count, int(size or 0))


def prune_some(
    connection: sa.Connection, run_id: int, step: PolicyVersion, *, after: int
) -> tuple[Pruned, int]:
    """Drop the arrays of some rollouts with ids above `after`.

    Returns what was dropped and the id to go on from; with nothing dropped, all is done.
    """
    query = (
        _candidates(run_id, step)
        .where(RolloutPayloadRow.rollout_id > after)
        .order_by(RolloutPayloadRow.rollout_id)
        .limit(ROLLOUTS_PER_TRANSACTION)
    )
    rows = connection.execute(query).all()
    if not rows:
        return Pruned(), after
    ids = [row.rollout_id for row in rows]
    connection.execute(
        sa.update(RolloutPayloadRow)
        .where(RolloutPayloadRow.rollout_id.in_(ids))
        .values(codec=PRUNED, **{array.key: b"" for array in ARRAYS})
    )
    return Pruned(len(rows), sum(row.num_bytes for row in rows)), ids[-1]


def _candidates(run_id: int, step: PolicyVersion) -> sa.Select[int, int]:
    trained = (
        sa.select(BatchMemberRow.rollout_id)
        .join(LearnerStepRow, LearnerStepRow.batch_id == BatchMemberRow.batch_id)
        .where(
            BatchMemberRow.rollout_id == RolloutRow.rollout_id,
            BatchMemberRow.live,
            LearnerStepRow.state == LineageState.LIVE,
            LearnerStepRow.version <= step,
        )
        .exists()
    )
    return (
        sa.select(RolloutPayloadRow.rollout_id, _BYTES.label("num_bytes"))
        .join(RolloutRow, RolloutRow.rollout_id == RolloutPayloadRow.rollout_id)
        .where(
            RolloutRow.run_id == run_id,
            RolloutPayloadRow.codec != PRUNED,
            sa.or_(
                sa.and_(RolloutRow.state == RolloutState.TRAINED, trained),
                sa.and_(RolloutRow.state == RolloutState.DROPPED, RolloutRow.newest_version < step),
            ),
        )
    )
