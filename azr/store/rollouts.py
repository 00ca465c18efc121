"""Rollouts: storing what was sampled, and leasing it for examination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from azr.errors import StoreError
from azr.store import admissions, forks
from azr.store.codec import decode_payload, encode_payload
from azr.store.context import RunContext
from azr.store.leases import leasable, may_lease, picked
from azr.store.models import AdmissionRow, RolloutPayloadRow, RolloutRow, RunRow
from azr.store.states import AdmissionState, RolloutState
from azr.types import (
    Admission,
    Completion,
    DropReason,
    Judgement,
    Lineage,
    PolicyVersion,
    Purpose,
    Role,
    Rollout,
    TaskType,
    VersionSpan,
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
_THE_RUN = RunRow.run_id == sa.bindparam("of_run")
_INSERT = sa.insert(RolloutRow).returning(  # and where the learner is, without a statement more
    RolloutRow.rollout_id,
    sa.select(RunRow.lineage).where(_THE_RUN).scalar_subquery().label("lineage"),
    sa.select(RunRow.learner_version).where(_THE_RUN).scalar_subquery().label("learner_version"),
)
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
                may_lease(),
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
    waits for that row and then finds what the first one stored. It does not matter who
    holds the lease by then: a sample is a sample, and the first one counts. Raises
    StoreError for an admission that this run never granted.
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
        admitted=admission.version,
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
        admitted=0,
    )


def lease(connection: sa.Connection, run: RunContext, *, owner: str, at_most: int) -> list[Rollout]:
    """GENERATED rollouts that nobody examines, oldest first."""
    if at_most <= 0:
        return []
    wanted = {"run": run.run_id, "now": run.now(), "at_most": at_most, "lessee": owner}
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


def _insert(
    connection: sa.Connection,
    run: RunContext,
    completion: Completion,
    *,
    admitted: PolicyVersion,
    **columns: object,
) -> int:
    """Store the rollout and its tokens; one without tokens is of the version admitted."""
    if run.oldest_lineage:
        completion = replace(completion, version_spans=_at_least(completion, run.oldest_lineage))
    spans = completion.version_spans or (VersionSpan(admitted, 0, 0, run.oldest_lineage),)
    oldest, newest = min(s.version for s in spans), max(s.version for s in spans)
    row = {
        "run_id": run.run_id,
        "of_run": run.run_id,
        "num_prompt_tokens": len(completion.prompt_token_ids),
        "num_tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "oldest_version": oldest,
        "newest_version": newest,
        "staleness_version": oldest,
        "failures": 0,
        "sampled_by": run.node_id or None,
        "generated_at": run.now(),
    }
    stored = connection.execute(_INSERT, row | columns).one()
    undone = stored.lineage > min(s.lineage for s in spans) or newest > stored.learner_version
    if stored.lineage and undone:
        forks.count_staleness(
            connection, run, stored.rollout_id, spans, learner_version=stored.learner_version
        )
    payload = encode_payload(completion, run.config.store.logprob_dtype)
    connection.execute(_INSERT_PAYLOAD, {"rollout_id": stored.rollout_id} | payload)
    return stored.rollout_id


def _at_least(completion: Completion, lineage: Lineage) -> tuple[VersionSpan, ...]:
    return tuple(
        replace(span, lineage=max(span.lineage, lineage)) for span in completion.version_spans
    )
