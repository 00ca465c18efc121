"""Rollouts: storing what was sampled, and leasing it for examination."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from azr.errors import StoreError
from azr.store import admissions
from azr.store.codec import decode_payload, encode_payload
from azr.store.context import RunContext
from azr.store.leases import leasable, picked
from azr.store.models import AdmissionRow, RolloutPayloadRow, RolloutRow
from azr.store.states import AdmissionState, RolloutState
from azr.types import (
    Admission,
    Completion,
    DropReason,
    Judgement,
    PolicyVersion,
    Purpose,
    Role,
    Rollout,
    TaskType,
)

_STORED = sa.select(RolloutRow.rollout_id).where(
    RolloutRow.admission_id == sa.bindparam("admission"), RolloutRow.run_id == sa.bindparam("run")
)
_CLOSE = (
    sa.update(AdmissionRow)
    .where(
        AdmissionRow.admission_id == sa.bindparam("admission"),
        AdmissionRow.run_id == sa.bindparam("run"),
        AdmissionRow.state != AdmissionState.DONE,
    )
    .values(state=AdmissionState.DONE, owner=None, lease_until=None)
)
_INSERT = sa.insert(RolloutRow).returning(RolloutRow.rollout_id)
_INSERT_PAYLOAD = sa.insert(RolloutPayloadRow)
_LEASE = (
    sa.update(RolloutRow)
    .where(
        picked(
            sa.select(RolloutRow.rollout_id)
            .where(
                RolloutRow.run_id == sa.bindparam("run"),
                RolloutRow.state == RolloutState.GENERATED,
                leasable(RolloutRow.lease_until),
            )
            .order_by(RolloutRow.rollout_id)
            .limit(sa.bindparam("at_most", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
    .returning(RolloutRow.rollout_id)
)
_LOAD = (
    sa.select(RolloutRow.admission_id, RolloutRow.finish_reason, RolloutPayloadRow.__table__)
    .join(RolloutPayloadRow, RolloutPayloadRow.rollout_id == RolloutRow.rollout_id)
    .where(RolloutRow.rollout_id.in_(sa.bindparam("ids", expanding=True)))
)


def put(
    connection: sa.Connection, run: RunContext, admission: Admission, completion: Completion
) -> int:
    """Store a completion and close its admission; a second put returns the first's id.

    The admission is closed first: of two that put at the same moment, the second
    waits for that row and then finds what the first one stored. Raises StoreError for
    an admission that this run never granted.
    """
    key = {"admission": admission.admission_id, "run": run.run_id}
    if connection.execute(_CLOSE, key).rowcount != 1:
        known = connection.execute(_STORED, key).scalar()
        if known is not None:
            return known
        raise StoreError(f"admission {admission.admission_id} was never granted in this run")
    return _insert(
        connection,
        run,
        completion,
        admission_id=admission.admission_id,
        role=admission.cell.role,
        task_type=admission.cell.task_type,
        purpose=admission.purpose,
        task_id=None if admission.task is None else admission.task.task_id,
        measures=admission.measures,
        state=RolloutState.GENERATED,
        **_versions(completion, admission.version),
    )


def put_seed(
    connection: sa.Connection,
    run: RunContext,
    completion: Completion,
    task_type: TaskType,
    judgement: Judgement,
    verdict: str,
) -> int:
    """Store a seeding proposal, which nobody admitted and nothing trains on."""
    now = run.now()
    return _insert(
        connection,
        run,
        completion,
        role=Role.PROPOSE,
        task_type=task_type,
        purpose=Purpose.SEED,
        state=RolloutState.DROPPED,
        drop_reason=DropReason.SEEDING,
        judgement=judgement,
        verdict=verdict,
        judged_at=now,
        dropped_at=now,
        **_versions(completion, 0),
    )


def lease(connection: sa.Connection, run: RunContext, *, owner: str, at_most: int) -> list[Rollout]:
    """GENERATED rollouts that nobody examines, oldest first."""
    if at_most <= 0:
        return []
    wanted = {"run": run.run_id, "now": run.now(), "at_most": at_most}
    held = {"owner": owner, "lease_until": run.lease_end()}
    taken = connection.execute(_LEASE, wanted | held).scalars()
    return load(connection, run, sorted(taken))


def load(connection: sa.Connection, run: RunContext, ids: Sequence[int]) -> list[Rollout]:
    """Rollouts with their admissions and tokens, in the order of `ids`."""
    if not ids:
        return []
    rows = {row["rollout_id"]: row for row in connection.execute(_LOAD, {"ids": ids}).mappings()}
    granted = admissions.load(connection, run, [rows[i]["admission_id"] for i in ids])
    return [
        Rollout(
            rollout_id=i,
            admission=admission,
            completion=decode_payload(rows[i], rows[i]["finish_reason"]),
        )
        for i, admission in zip(ids, granted, strict=True)
    ]


def _versions(completion: Completion, admitted: PolicyVersion) -> dict[str, int]:
    """Version columns; an empty completion has the version of its admission."""
    versions = [span.version for span in completion.version_spans] or [admitted]
    return {
        "oldest_version": min(versions),
        "newest_version": max(versions),
        "staleness_version": min(versions),
    }


def _insert(
    connection: sa.Connection, run: RunContext, completion: Completion, **columns: object
) -> int:
    row = {
        "run_id": run.run_id,
        "num_prompt_tokens": len(completion.prompt_token_ids),
        "num_tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "failures": 0,
        "generated_at": run.now(),
    }
    rollout_id = connection.execute(_INSERT, row | columns).scalar_one()
    payload = encode_payload(completion, run.config.store.logprob_dtype)
    connection.execute(_INSERT_PAYLOAD, {"rollout_id": rollout_id} | payload)
    return rollout_id
