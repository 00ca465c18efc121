"""Judgements: what an examination makes of a GENERATED rollout, and what follows.

Every proposal that is judged, valid or not, calls in the same transaction for the
solver attempts that `azr.quota` plans. Examiners may die and be replaced, so each
function leaves a rollout alone that another examiner has judged already.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from azr.errors import StoreError
from azr.quota import plan_attempts
from azr.seeds import derive_seed
from azr.store import admissions, tasks
from azr.store.codec import storable
from azr.store.context import RunContext
from azr.store.models import AdmissionRow, RolloutRow, RunRow, TaskRow
from azr.store.states import Origin, RolloutState
from azr.types import (
    Cell,
    DropReason,
    Judgement,
    Measurement,
    Purpose,
    Rejection,
    Role,
    TaskDraft,
    TaskType,
)

SETTLING = (RolloutState.JUDGED, RolloutState.READY)


def reject_proposal(
    connection: sa.Connection,
    run: RunContext,
    rollout_id: int,
    judgement: Judgement,
    rejection: Rejection | None,
    reward: float,
) -> None:
    """GENERATED -> READY: a proposal that became no task."""
    now = run.now()
    row = _advance(
        connection,
        run,
        rollout_id,
        RolloutState.GENERATED,
        state=RolloutState.READY,
        judgement=judgement,
        verdict=None if rejection is None else rejection.verdict.value,
        detail=None if rejection is None else storable(rejection.detail),
        reward=reward,
        judged_at=now,
        ready_at=now,
    )
    if row is not None:
        _order_attempts(connection, run, row.task_type, rollout_id, task_id=None)


def accept_proposal(
    connection: sa.Connection, run: RunContext, rollout_id: int, draft: TaskDraft
) -> bool:
    """GENERATED -> JUDGED with a new task; False, changing nothing, for a duplicate."""
    became = sa.select(TaskRow.task_id).where(TaskRow.proposal_id == rollout_id)
    if connection.execute(became).scalar() is not None:
        return True
    if run.config.selfplay.reject_duplicates and tasks.is_known(connection, run, draft):
        return False
    row = _advance(
        connection,
        run,
        rollout_id,
        RolloutState.GENERATED,
        state=RolloutState.JUDGED,
        judgement=Judgement.VALID,
        judged_at=run.now(),
    )
    if row is None:
        return False
    admitted = sa.select(AdmissionRow.version).where(AdmissionRow.admission_id == row.admission_id)
    task_id = tasks.insert(
        connection,
        run,
        draft,
        origin=Origin.PROPOSED,
        visible_from=connection.execute(admitted).scalar_one() + 1,
        proposal_id=rollout_id,
    )
    measuring = _order_attempts(connection, run, row.task_type, rollout_id, task_id=task_id)
    connection.execute(
        sa.update(RolloutRow)
        .where(RolloutRow.rollout_id == rollout_id)
        .values(num_expected=measuring, num_measured=0, num_solved=0)
    )
    return True


def judge_attempt(
    connection: sa.Connection,
    run: RunContext,
    rollout_id: int,
    judgement: Judgement,
    *,
    verdict: str,
    reward: float,
    solved: bool,
) -> None:
    """GENERATED -> READY, or DROPPED as MEASURED_ONLY; counted once."""
    now = run.now()
    row = _advance(
        connection,
        run,
        rollout_id,
        RolloutState.GENERATED,
        state=RolloutState.READY,
        judgement=judgement,
        verdict=verdict[:64],
        reward=reward,
        solved=solved,
        judged_at=now,
        ready_at=now,
    )
    if row is None:
        return
    if row.purpose is not Purpose.TRAIN:
        _drop(connection, run, rollout_id, RolloutState.READY, DropReason.MEASURED_ONLY)
    connection.execute(
        sa.update(TaskRow)
        .where(TaskRow.task_id == row.task_id)
        .values(num_attempts=TaskRow.num_attempts + 1, num_solved=TaskRow.num_solved + int(solved))
    )
    if row.measures is not None:
        connection.execute(
            sa.update(RolloutRow)
            .where(RolloutRow.rollout_id == row.measures)
            .values(
                num_measured=RolloutRow.num_measured + 1,
                num_solved=RolloutRow.num_solved + int(solved),
            )
        )


def measured_proposals(
    connection: sa.Connection, run: RunContext, *, at_most: int
) -> list[Measurement]:
    """JUDGED proposals that wait for no attempt any more, oldest first."""
    query = (
        sa.select(
            RolloutRow.rollout_id,
            RolloutRow.task_type,
            RolloutRow.num_solved,
            RolloutRow.num_measured,
        )
        .where(
            RolloutRow.run_id == run.run_id,
            RolloutRow.state == RolloutState.JUDGED,
            RolloutRow.num_measured == RolloutRow.num_expected,
        )
        .order_by(RolloutRow.rollout_id)
        .limit(max(0, at_most))
    )
    return [
        Measurement(rollout_id, Cell(Role.PROPOSE, task_type), solved or 0, measured or 0)
        for rollout_id, task_type, solved, measured in connection.execute(query)
    ]


def settle_proposal(
    connection: sa.Connection,
    run: RunContext,
    rollout_id: int,
    *,
    solve_rate: float,
    reward: float,
) -> None:
    """JUDGED -> READY; a second call changes nothing."""
    _advance(
        connection,
        run,
        rollout_id,
        RolloutState.JUDGED,
        state=RolloutState.READY,
        solve_rate=solve_rate,
        reward=reward,
        ready_at=run.now(),
    )


def fail_rollout(connection: sa.Connection, run: RunContext, rollout_id: int) -> None:
    """Return a GENERATED rollout to the queue, or drop it after too many failures."""
    row = _advance(
        connection, run, rollout_id, RolloutState.GENERATED, failures=RolloutRow.failures + 1
    )
    if row is None or row.failures < run.config.sandbox.max_failures:
        return
    _drop(connection, run, rollout_id, RolloutState.GENERATED, DropReason.SANDBOX_FAILED)
    if row.measures is not None:
        _leave_group(connection, run, row.measures)


def _leave_group(connection: sa.Connection, run: RunContext, proposal_id: int) -> None:
    """One attempt fewer measures this proposal; without any it cannot be settled."""
    left = connection.execute(
        sa.update(RolloutRow)
        .where(RolloutRow.rollout_id == proposal_id)
        .values(num_expected=RolloutRow.num_expected - 1)
        .returning(RolloutRow.num_expected)
    ).scalar_one()
    if left == 0:
        _drop(connection, run, proposal_id, RolloutState.JUDGED, DropReason.TASK_LOST)


def _order_attempts(
    connection: sa.Connection,
    run: RunContext,
    task_type: TaskType,
    proposal_id: int,
    *,
    task_id: int | None,
) -> int:
    """Admit the attempts that a judgement calls for; returns how many measure it."""
    config = run.config
    cell = Cell(Role.SOLVE, task_type)
    plan = plan_attempts(
        valid=task_id is not None,
        judged=_num_in_states(connection, run, Cell(Role.PROPOSE, task_type), *SETTLING),
        on_order=admissions.outstanding(connection, run)[cell]
        - _num_in_states(connection, run, cell, RolloutState.CLAIMED),
        attempts=config.selfplay.attempts,
        batch_rollouts=config.learner.batch_rollouts,
        reuse=config.selfplay.solver_reuse,
    )
    learner = sa.select(RunRow.learner_version).where(RunRow.run_id == run.run_id)
    version = connection.execute(learner).scalar_one()
    measures = proposal_id if config.selfplay.solver_reuse == "all" else None
    rows: list[dict[str, Any]] = [{"task_id": task_id, "measures": measures}] * plan.train
    rows += [
        {"task_id": task_id, "measures": proposal_id, "purpose": Purpose.MEASURE}
    ] * plan.measure
    if plan.replay:
        first = admissions.next_slot(connection, run, cell) + len(rows)
        seed = derive_seed(config.run.seed, "replay", task_type, first)
        pool = tasks.visible_pool(connection, run, task_type, version)
        older = tasks.draw_replays(connection, run, pool, plan.replay, seed)
        rows += [{"task_id": older_id} for older_id in older]
    admissions.insert(connection, run, cell, rows, version=version)
    return sum(row.get("measures") is not None for row in rows)


def _num_in_states(
    connection: sa.Connection, run: RunContext, cell: Cell, *states: RolloutState
) -> int:
    query = sa.select(sa.func.count()).where(
        RolloutRow.run_id == run.run_id,
        RolloutRow.state.in_(states),
        RolloutRow.role == cell.role,
        RolloutRow.task_type == cell.task_type,
        RolloutRow.purpose == Purpose.TRAIN,
    )
    return connection.execute(query).scalar_one()


def _drop(
    connection: sa.Connection,
    run: RunContext,
    rollout_id: int,
    state: RolloutState,
    reason: DropReason,
) -> None:
    _advance(
        connection,
        run,
        rollout_id,
        state,
        state=RolloutState.DROPPED,
        drop_reason=reason,
        dropped_at=run.now(),
    )


def _advance(
    connection: sa.Connection,
    run: RunContext,
    rollout_id: int,
    expected: RolloutState,
    **columns: object,
) -> sa.Row[*tuple[Any, ...]] | None:
    """Change a rollout that is in the expected state, ending its lease.

    None if it is past that state; raises StoreError if there is no such rollout.
    """
    changed = connection.execute(
        sa.update(RolloutRow)
        .where(
            RolloutRow.rollout_id == rollout_id,
            RolloutRow.run_id == run.run_id,
            RolloutRow.state == expected,
        )
        .values(owner=None, lease_until=None, **columns)
        .returning(RolloutRow.__table__)
    ).one_or_none()
    if changed is None:
        exists = sa.select(RolloutRow.rollout_id).where(RolloutRow.rollout_id == rollout_id)
        if connection.execute(exists).scalar() is None:
            raise StoreError(f"there is no rollout {rollout_id}")
    return changed
