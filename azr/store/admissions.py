"""Admissions: who may sample what, under a lease.

Propose admissions are created on demand, up to the pacing limit; solve admissions
are created by judgements (`azr.store.judgements`) and only leased here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from azr.seeds import derive_seed
from azr.store import tasks
from azr.store.context import RunContext
from azr.store.models import AdmissionRow, ProposalReferenceRow, RolloutRow
from azr.store.states import AdmissionState, RolloutState
from azr.types import CELLS, Admission, Cell, PolicyVersion, Purpose, Role, TaskType

WAITING = (AdmissionState.OPEN, AdmissionState.LEASED)
UNTRAINED = (
    RolloutState.GENERATED,
    RolloutState.JUDGED,
    RolloutState.READY,
    RolloutState.CLAIMED,
)


def admit_proposals(
    connection: sa.Connection,
    run: RunContext,
    task_type: TaskType,
    *,
    owner: str,
    at_most: int,
    outstanding_limit: int,
    version: PolicyVersion,
) -> list[Admission]:
    """Returned leases first, then new admissions while the cell has room."""
    cell = Cell(Role.PROPOSE, task_type)
    ids = _lease(connection, run, Role.PROPOSE, owner, at_most, task_type)
    room = outstanding_limit - outstanding(connection, run)[cell]
    count = max(0, min(at_most - len(ids), room))
    if count:
        first = next_slot(connection, run, cell)
        new = insert(connection, run, cell, [{}] * count, version=version, owner=owner)
        pool = tasks.reference_pool(connection, run, task_type, version)
        for slot, admission_id in enumerate(new, start=first):
            _draw_references(connection, run, pool, task_type, admission_id, slot)
        ids += new
    return load(connection, run, ids)


def lease_attempts(
    connection: sa.Connection, run: RunContext, *, owner: str, at_most: int
) -> list[Admission]:
    """Solve admissions that nobody holds, oldest first."""
    return load(connection, run, _lease(connection, run, Role.SOLVE, owner, at_most))


def insert(
    connection: sa.Connection,
    run: RunContext,
    cell: Cell,
    columns: Sequence[Mapping[str, Any]],
    *,
    version: PolicyVersion,
    owner: str | None = None,
) -> list[int]:
    """One admission per mapping, in the next slots of the cell; returns their ids.

    `columns` may give `task_id`, `measures` and `purpose` (default TRAIN). With an
    owner they are leased at once, else open.
    """
    if not columns:
        return []
    first = next_slot(connection, run, cell)
    common: dict[str, Any] = {
        "run_id": run.run_id,
        "role": cell.role,
        "task_type": cell.task_type,
        "purpose": Purpose.TRAIN,
        "version": version,
        "task_id": None,
        "measures": None,
        "state": AdmissionState.OPEN if owner is None else AdmissionState.LEASED,
        "owner": owner,
        "lease_until": None if owner is None else run.lease_end(),
        "created_at": run.now(),
    }
    rows = [common | {"slot": first + index} | dict(more) for index, more in enumerate(columns)]
    statement = sa.insert(AdmissionRow).returning(
        AdmissionRow.admission_id, sort_by_parameter_order=True
    )
    return list(connection.execute(statement, rows).scalars())


def next_slot(connection: sa.Connection, run: RunContext, cell: Cell) -> int:
    """The slot of the cell's next admission."""
    highest = sa.select(sa.func.max(AdmissionRow.slot)).where(
        AdmissionRow.run_id == run.run_id,
        AdmissionRow.role == cell.role,
        AdmissionRow.task_type == cell.task_type,
    )
    slot = connection.execute(highest).scalar_one()
    return 0 if slot is None else slot + 1


def load(connection: sa.Connection, run: RunContext, ids: Sequence[int]) -> list[Admission]:
    """Admissions with their tasks and references, in the order of `ids`."""
    if not ids:
        return []
    rows = {
        row.admission_id: row
        for row in connection.execute(
            sa.select(AdmissionRow.__table__).where(AdmissionRow.admission_id.in_(ids))
        )
    }
    references: dict[int, list[int]] = defaultdict(list)
    shown = (
        sa.select(ProposalReferenceRow.admission_id, ProposalReferenceRow.task_id)
        .where(ProposalReferenceRow.admission_id.in_(ids))
        .order_by(ProposalReferenceRow.admission_id, ProposalReferenceRow.position)
    )
    for admission_id, task_id in connection.execute(shown):
        references[admission_id].append(task_id)
    attempted = [row.task_id for row in rows.values() if row.task_id is not None]
    known = tasks.load(connection, [*attempted, *(i for some in references.values() for i in some)])
    return [
        Admission(
            admission_id=row.admission_id,
            cell=Cell(row.role, row.task_type),
            slot=row.slot,
            version=row.version,
            seed=derive_seed(run.config.run.seed, row.role, row.task_type, row.slot),
            purpose=row.purpose,
            measures=row.measures,
            references=tuple(known[i] for i in references[row.admission_id]),
            task=None if row.task_id is None else known[row.task_id],
        )
        for row in (rows[i] for i in ids)
    ]


def outstanding(connection: sa.Connection, run: RunContext) -> dict[Cell, int]:
    """Per cell, TRAIN rows between admission and training."""
    waiting = _count(AdmissionRow, AdmissionRow.state.in_(WAITING), run)
    untrained = _count(RolloutRow, RolloutRow.state.in_(UNTRAINED), run)
    counts = dict.fromkeys(CELLS, 0)
    for query in (waiting, untrained):
        for role, task_type, count in connection.execute(query):
            counts[Cell(role, task_type)] += count
    return counts


def release(connection: sa.Connection, run: RunContext, owner: str) -> None:
    """Give back everything that `owner` holds."""
    _return_leases(connection, run, owner)


def renew(connection: sa.Connection, run: RunContext, owner: str) -> None:
    """Extend every lease of `owner`."""
    end = run.lease_end()
    for table, held in _held(run):
        connection.execute(
            sa.update(table).where(*held, table.owner == owner).values(lease_until=end)
        )


def return_all_leases(connection: sa.Connection, run: RunContext) -> None:
    """After a crash: nobody holds anything."""
    _return_leases(connection, run, None)


def _return_leases(connection: sa.Connection, run: RunContext, owner: str | None) -> None:
    for table, held in _held(run):
        statement = sa.update(table).where(*held)
        if owner is not None:
            statement = statement.where(table.owner == owner)
        values: dict[str, Any] = {"owner": None, "lease_until": None}
        if table is AdmissionRow:
            values["state"] = AdmissionState.OPEN
        connection.execute(statement.values(values))


def _held(
    run: RunContext,
) -> list[tuple[type[AdmissionRow | RolloutRow], list[sa.ColumnElement[bool]]]]:
    """The tables with leases, and which of their rows can be leased."""
    admissions = [
        AdmissionRow.run_id == run.run_id,
        AdmissionRow.role.in_(tuple(Role)),  # the index on the state begins with the role
        AdmissionRow.state == AdmissionState.LEASED,
    ]
    rollouts = [
        RolloutRow.run_id == run.run_id,
        RolloutRow.state == RolloutState.GENERATED,
        RolloutRow.owner.is_not(None),
    ]
    return [(AdmissionRow, admissions), (RolloutRow, rollouts)]


def _lease(
    connection: sa.Connection,
    run: RunContext,
    role: Role,
    owner: str,
    at_most: int,
    task_type: TaskType | None = None,
) -> list[int]:
    """Lease up to `at_most` admissions that are open or whose lease ran out."""
    free = sa.select(AdmissionRow.admission_id).where(
        AdmissionRow.run_id == run.run_id,
        AdmissionRow.role == role,
        AdmissionRow.state.in_(WAITING),
        sa.or_(AdmissionRow.lease_until.is_(None), AdmissionRow.lease_until < run.now()),
    )
    if task_type is not None:
        free = free.where(AdmissionRow.task_type == task_type)
    free = free.order_by(AdmissionRow.admission_id).limit(max(0, at_most))
    lease = (
        sa.update(AdmissionRow)
        .where(AdmissionRow.admission_id.in_(free.with_for_update(skip_locked=True)))
        .values(state=AdmissionState.LEASED, owner=owner, lease_until=run.lease_end())
        .returning(AdmissionRow.admission_id)
    )
    return sorted(connection.execute(lease).scalars())


def _draw_references(
    connection: sa.Connection,
    run: RunContext,
    pool: tasks.Pool,
    task_type: TaskType,
    admission_id: int,
    slot: int,
) -> None:
    seed = derive_seed(run.config.run.seed, "references", task_type, slot)
    chosen = tasks.draw_references(connection, run, pool, task_type, seed)
    rows = [
        {"admission_id": admission_id, "position": position, "task_id": task_id}
        for position, task_id in enumerate(chosen)
    ]
    if rows:
        connection.execute(sa.insert(ProposalReferenceRow), rows)


def _count(
    table: type[AdmissionRow | RolloutRow], unfinished: sa.ColumnElement[bool], run: RunContext
) -> sa.Select[Role, TaskType, int]:
    return (
        sa.select(table.role, table.task_type, sa.func.count())
        .where(table.run_id == run.run_id, unfinished, table.purpose == Purpose.TRAIN)
        .group_by(table.role, table.task_type)
    )
