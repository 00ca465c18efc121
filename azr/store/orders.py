"""Orders: the solver attempts that a judged proposal calls for (`azr.quota`)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from azr.quota import cell_rows, plan_attempts
from azr.seeds import derive_seed
from azr.store import admissions, buffers
from azr.store.context import RunContext
from azr.store.states import RolloutState
from azr.types import Cell, Purpose, Role, TaskType

SETTLING = (RolloutState.JUDGED, RolloutState.READY)


def order_attempts(
    connection: sa.Connection,
    run: RunContext,
    task_type: TaskType,
    proposal_id: int | None,
    *,
    task_id: int | None,
) -> int:
    """Admit the attempts that a judgement calls for; returns how many measure it.

    Without a proposal, as when a training row was lost: what the earlier judgements
    still call for.
    """
    config = run.config
    cell = Cell(Role.SOLVE, task_type)
    census = admissions.census(connection, run)
    plan = plan_attempts(
        valid=task_id is not None,
        judged=census.num(Cell(Role.PROPOSE, task_type), *SETTLING),
        on_order=census.outstanding(cell) - census.num(cell, RolloutState.CLAIMED),
        attempts=config.selfplay.attempts,
        batch_rollouts=cell_rows(config, Role.PROPOSE),
        solve_rollouts=cell_rows(config, Role.SOLVE),
        reuse=config.selfplay.solver_reuse,
    )
    version = admissions.learner_version(connection, run)
    measures = proposal_id if config.selfplay.solver_reuse == "all" else None
    rows: list[dict[str, Any]] = [{"task_id": task_id, "measures": measures}] * plan.train
    rows += [
        {"task_id": task_id, "measures": proposal_id, "purpose": Purpose.MEASURE}
    ] * plan.measure
    if plan.replay:
        first = admissions.next_slot(connection, run, cell) + len(rows)
        seed = derive_seed(config.run.seed, "replay", task_type, first)
        pool = buffers.visible_pool(connection, run, task_type, version)
        older = buffers.draw_replays(connection, run, pool, plan.replay, seed)
        rows += [{"task_id": older_id} for older_id in older]
    admissions.insert(connection, run, cell, rows, version=version)
    return sum(row.get("measures") is not None for row in rows)
