"""Admissions: who may sample what, under a lease.

Propose admissions are created on demand, up to the pacing limit; solve admissions
are created by judgements (`azr.store.judgements`) and only leased here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from azr.composition import num_composites, usable
from azr.seeds import derive_seed
from azr.store import buffers, tasks
from azr.store.context import RunContext
from azr.store.leases import leasable, may_lease, picked
from azr.store.models import AdmissionRow, ProposalReferenceRow, RolloutRow, RunRow
from azr.store.states import AdmissionState, RolloutState
from azr.task_types import PAIR_TYPES, types_shown
from azr.types import (
    CELLS,
    Admission,
    Cell,
    PolicyVersion,
    Purpose,
    Role,
    TaskType,
)

FIRST_COMPOSITE = 1000
"""Position among what a proposer was shown: from here on, what it must build on."""
WAITING = (AdmissionState.OPEN, AdmissionState.LEASED)
UNTRAINED = (
    RolloutState.GENERATED,
    RolloutState.JUDGED,
    RolloutState.READY,
    RolloutState.CLAIMED,
)

_LEASE = (
    sa.update(AdmissionRow)
    .where(
        picked(
            sa.select(AdmissionRow.admission_id)
            .where(
                AdmissionRow.run_id == sa.bindparam("run"),
                AdmissionRow.role == sa.bindparam("of_role"),
                AdmissionRow.task_type.in_(sa.bindparam("of_types", expanding=True)),
                AdmissionRow.state.in_(WAITING),
                leasable(AdmissionRow.lease_until),
                may_lease(),
            )
            .order_by(AdmissionRow.admission_id)
            .limit(sa.bindparam("at_most", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
    .values(state=AdmissionState.LEASED)
    .returning(AdmissionRow.admission_id)
)
_INSERT = sa.insert(AdmissionRow).returning(AdmissionRow.admission_id, sort_by_parameter_order=True)
_HIGHEST = sa.select(sa.func.max(AdmissionRow.slot)).where(
    AdmissionRow.run_id == sa.bindparam("run"),
    AdmissionRow.role == sa.bindparam("role"),
    AdmissionRow.task_type == sa.bindparam("type"),
)
_LEARNER_VERSION = sa.select(RunRow.learner_version).where(RunRow.run_id == sa.bindparam("run"))
_LEARNER_VERSION_IF_MAY_LEASE = _LEARNER_VERSION.where(may_lease())
_LOAD = sa.select(AdmissionRow.__table__).where(
    AdmissionRow.admission_id.in_(sa.bindparam("ids", expanding=True))
)
_SHOWN = (
    sa.select(
        ProposalReferenceRow.admission_id,
        ProposalReferenceRow.task_id,
        ProposalReferenceRow.position,
    )
    .where(ProposalReferenceRow.admission_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(ProposalReferenceRow.admission_id, ProposalReferenceRow.position)
)


def _untrained(
    table: type[AdmissionRow | RolloutRow], states: Sequence[AdmissionState | RolloutState]
) -> sa.Select[Role, TaskType, Any, int]:
    """Counts by cell and state; grouped by state first, the order of the queues' indices."""
    return (
        sa.select(
            table.role,
            table.task_type,
            sa.type_coerce(table.state, sa.String).label("state"),
            sa.func.count().label("num_rows"),
        )
        .where(
            table.run_id == sa.bindparam("run"),
            table.state.in_(states),
            table.purpose == Purpose.TRAIN,
        )
        .group_by(table.state, table.role, table.task_type)
    )


# One statement, because a put that moves a row from one table to the other is seen by
# all of it or none: two could count the row twice, or not at all.
_CENSUS = sa.union_all(_untrained(AdmissionRow, WAITING), _untrained(RolloutRow, UNTRAINED))


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
    """Returned leases first, then new admissions while the cell has room.

    Nothing new if the learner moved beyond `version`: the limit was computed for
    that version, and a step in between would let rows of the old policy pass as new.
    Nothing at all for a node that was fenced.
    """
    cell = Cell(Role.PROPOSE, task_type)
    ids = _lease(connection, run, Role.PROPOSE, [task_type], owner, at_most)
    room = 0
    asked = {"run": run.run_id, "lessee": owner}
    learner = connection.execute(_LEARNER_VERSION_IF_MAY_LEASE, asked).scalar()
    if learner is not None and learner <= version:
        room = outstanding_limit - census(connection, run).outstanding(cell)
    count = max(0, min(at_most - len(ids), room))
    if count:
        first = next_slot(connection, run, cell)
        new = insert(connection, run, cell, [{}] * count, version=version, owner=owner)
        pool = buffers.reference_pool(connection, run, task_type, version)
        for slot, admission_id in enumerate(new, start=first):
            _draw_references(connection, run, pool, task_type, admission_id, slot)
            _draw_composites(connection, run, task_type, admission_id, slot, version)
        ids += new
    return load(connection, run, ids)


def lease_attempts(
    connection: sa.Connection, run: RunContext, *, owner: str, at_most: int
) -> list[Admission]:
    """Solve admissions that nobody holds, oldest first."""
    ids = _lease(connection, run, Role.SOLVE, list(TaskType), owner, at_most)
    return load(connection, run, ids)


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
    return list(connection.execute(_INSERT, rows).scalars())


def learner_version(connection: sa.Connection, run: RunContext) -> PolicyVersion:
    """The version the run is at."""
    return connection.execute(_LEARNER_VERSION, {"run": run.run_id}).scalar_one()


def next_slot(connection: sa.Connection, run: RunContext, cell: Cell) -> int:
    """The slot of the cell's next admission."""
    of_cell = {"run": run.run_id, "role": cell.role, "type": cell.task_type}
    slot = connection.execute(_HIGHEST, of_cell).scalar_one()
    return 0 if slot is None else slot + 1


def load(connection: sa.Connection, run: RunContext, ids: Sequence[int]) -> list[Admission]:
    """Admissions with their tasks and references, in the order of `ids`."""
    if not ids:
        return []
    rows = {row.admission_id: row for row in connection.execute(_LOAD, {"ids": ids})}
    references: dict[int, list[int]] = defaultdict(list)
    composites: dict[int, list[int]] = defaultdict(list)
    proposals = [i for i, row in rows.items() if row.role is Role.PROPOSE]
    if proposals:  # attempts are shown no references
        for admission_id, task_id, position in connection.execute(_SHOWN, {"ids": proposals}):
            shown = references if position < FIRST_COMPOSITE else composites
            shown[admission_id].append(task_id)
    wanted = [row.task_id for row in rows.values() if row.task_id is not None]
    wanted += [i for some in (*references.values(), *composites.values()) for i in some]
    known = tasks.load(connection, wanted)
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
            composites=tuple(known[i] for i in composites[row.admission_id]),
            task=None if row.task_id is None else known[row.task_id],
        )
        for row in (rows[i] for i in ids)
    ]


@dataclass(frozen=True, slots=True)
class Census:
    """TRAIN rows between admission and training, by cell and state, at one moment."""

    counts: Mapping[tuple[Cell, str], int]

    def outstanding(self, cell: Cell) -> int:
        """All of a cell."""
        return self.num(cell, *WAITING, *UNTRAINED)

    def num(self, cell: Cell, *states: AdmissionState | RolloutState) -> int:
        """Those of a cell in these states."""
        return sum(self.counts.get((cell, state.value), 0) for state in states)


def census(connection: sa.Connection, run: RunContext) -> Census:
    """Count the pipeline: as many rows as it holds, however long the history."""
    rows = connection.execute(_CENSUS, {"run": run.run_id})
    return Census({(Cell(row.role, row.task_type), row.state): row.num_rows for row in rows})


def outstanding(connection: sa.Connection, run: RunContext) -> dict[Cell, int]:
    """Per cell that may be played, TRAIN rows between admission and training."""
    counted = census(connection, run)
    types = types_shown(run.config.selfplay.task_types)
    return {cell: counted.outstanding(cell) for cell in CELLS if cell.task_type in types}


def _lease(
    connection: sa.Connection,
    run: RunContext,
    role: Role,
    task_types: Sequence[TaskType],
    owner: str,
    at_most: int,
) -> list[int]:
    """Lease up to `at_most` admissions that are open or whose lease ran out."""
    if at_most <= 0:
        return []
    wanted = {"run": run.run_id, "of_role": role, "of_types": task_types, "at_most": at_most}
    wanted["lessee"] = owner
    lease = {"now": run.now(), "owner": owner, "lease_until": run.lease_end()}
    return sorted(connection.execute(_LEASE, wanted | lease).scalars())


def _draw_references(
    connection: sa.Connection,
    run: RunContext,
    pool: buffers.Pool,
    task_type: TaskType,
    admission_id: int,
    slot: int,
) -> None:
    seed = derive_seed(run.config.run.seed, "references", task_type, slot)
    chosen = buffers.draw_references(connection, run, pool, task_type, seed)
    _show(connection, admission_id, chosen, first_position=0)


def _draw_composites(
    connection: sa.Connection,
    run: RunContext,
    task_type: TaskType,
    admission_id: int,
    slot: int,
    version: PolicyVersion,
) -> None:
    """Choose what the proposal must build on; most often nothing."""
    if task_type not in PAIR_TYPES or not run.config.composites.chance:
        return
    seed = derive_seed(run.config.run.seed, "composites", task_type, slot)
    count = num_composites(run.config.composites, version, seed)
    if count:
        pool = buffers.visible_pool(connection, run, task_type, version)
        drawn = buffers.draw_distinct(connection, run, pool, count, seed)
        known = tasks.load(connection, drawn)
        chosen = [task.task_id for task in usable([known[i] for i in drawn])]
        _show(connection, admission_id, chosen, first_position=FIRST_COMPOSITE)


def _show(
    connection: sa.Connection, admission_id: int, task_ids: Sequence[int], *, first_position: int
) -> None:
    rows = [
        {"admission_id": admission_id, "position": position, "task_id": task_id}
        for position, task_id in enumerate(task_ids, start=first_position)
    ]
    if rows:
        connection.execute(sa.insert(ProposalReferenceRow), rows)
