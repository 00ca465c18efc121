"""Draws from the task buffers: exactly uniform, reproducible, as fast at a million tasks.

A draw at version v sees the tasks with `visible_from <= v`, indexed in
(visible_from, ordinal) order. In a synchronous run that is insertion order; in an
asynchronous one a slow proposal may enter after tasks of a later version, and the
index is exact all the same.

`task_block` has a row per buffer and `visible_from` with the number of tasks before
it, so that an index is found by two seeks, however long the history. A limited
buffer (`azr.eviction`) shifts the index; a reservoir looks up who holds a slot. A task
that is withdrawn leaves its block and moves to a version that never comes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import sqlalchemy as sa

from azr.eviction import kept_range, reservoir_slot
from azr.quota import replay_group
from azr.seeds import derive_seed, draw_by_weight, draw_for_replay, draw_without_replacement
from azr.store.context import RunContext
from azr.store.models import ReservoirSlotRow, TaskBlockRow, TaskRow
from azr.task_types import PAIR_TYPES
from azr.types import PolicyVersion, TaskType

_BUFFER = (
    TaskBlockRow.run_id == sa.bindparam("run"),
    TaskBlockRow.task_type == sa.bindparam("type"),
)
_VISIBLE = (  # the last block that the version may see ends where its tasks end
    sa.select(TaskBlockRow.num_before + TaskBlockRow.num_tasks)
    .where(*_BUFFER, TaskBlockRow.visible_from <= sa.bindparam("version"))
    .order_by(TaskBlockRow.visible_from.desc())
    .limit(1)
)
_GROW = (
    sa.update(TaskBlockRow)
    .where(*_BUFFER, TaskBlockRow.visible_from == sa.bindparam("version"))
    .values(
        num_tasks=TaskBlockRow.num_tasks + sa.bindparam("count", type_=sa.Integer),
        last_ordinal=sa.bindparam("last"),
    )
)
_SHIFT = (
    sa.update(TaskBlockRow)
    .where(*_BUFFER, TaskBlockRow.visible_from > sa.bindparam("version"))
    .values(num_before=TaskBlockRow.num_before + sa.bindparam("count", type_=sa.Integer))
)
_SHRINK = (
    sa.update(TaskBlockRow)
    .where(*_BUFFER, TaskBlockRow.visible_from == sa.bindparam("version"))
    .values(num_tasks=TaskBlockRow.num_tasks - 1)
)
_FORGET_EMPTY = sa.delete(TaskBlockRow).where(
    *_BUFFER, TaskBlockRow.visible_from == sa.bindparam("version"), TaskBlockRow.num_tasks == 0
)
_BLOCKS = (
    sa.select(TaskBlockRow.visible_from, TaskBlockRow.num_before, TaskBlockRow.num_tasks)
    .where(*_BUFFER, TaskBlockRow.visible_from <= sa.bindparam("version"))
    .order_by(TaskBlockRow.visible_from)
)
_BLOCK_AT = (
    sa.select(
        TaskBlockRow.visible_from,
        TaskBlockRow.num_before,
        TaskBlockRow.num_tasks,
        TaskBlockRow.first_ordinal,
        TaskBlockRow.last_ordinal,
    )
    .where(*_BUFFER, TaskBlockRow.num_before <= sa.bindparam("position"))
    .order_by(TaskBlockRow.num_before.desc())
    .limit(1)
)
_TASK_OF_BUFFER = (
    TaskRow.run_id == sa.bindparam("run"),
    TaskRow.task_type == sa.bindparam("type"),
)
_BY_ORDINAL = sa.select(TaskRow.task_id).where(
    *_TASK_OF_BUFFER, TaskRow.ordinal == sa.bindparam("ordinal")
)
_BY_OFFSET = (
    sa.select(TaskRow.task_id)
    .where(*_TASK_OF_BUFFER, TaskRow.visible_from == sa.bindparam("visible_from"))
    .order_by(TaskRow.ordinal)
    .offset(sa.bindparam("offset", type_=sa.Integer))
    .limit(1)
)
_FILLED_LATER = (
    sa.select(TaskRow.task_id)
    .where(
        *_TASK_OF_BUFFER,
        TaskRow.visible_from > sa.bindparam("version"),
        TaskRow.ordinal < sa.bindparam("capacity"),
    )
    .limit(1)
)
_PLACE = sa.select(TaskRow.task_type, TaskRow.visible_from).where(
    TaskRow.task_id == sa.bindparam("this")
)
_WITHDRAW = sa.update(TaskRow).where(TaskRow.task_id == sa.bindparam("this"))
_INSERT_BLOCK = sa.insert(TaskBlockRow)
_TAKE_SLOT = sa.insert(ReservoirSlotRow)
_HOLDER = (
    sa.select(ReservoirSlotRow.task_id)
    .where(
        ReservoirSlotRow.run_id == sa.bindparam("run"),
        ReservoirSlotRow.task_type == sa.bindparam("type"),
        ReservoirSlotRow.slot == sa.bindparam("slot"),
        ReservoirSlotRow.visible_from <= sa.bindparam("version"),
    )
    .order_by(ReservoirSlotRow.visible_from.desc(), ReservoirSlotRow.task_id.desc())
    .limit(1)
)

WITHDRAWN: PolicyVersion = 2**31 - 1
"""`visible_from` of tasks that may not be drawn (`selfplay.task_filter`)."""


@dataclass(frozen=True, slots=True)
class Part:
    """The drawable tasks of one buffer at one version."""

    task_type: TaskType
    version: PolicyVersion
    positions: range
    """In (visible_from, ordinal) order; slots, if `slots`."""
    slots: bool = False
    """A full reservoir."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What a draw chooses from: the parts, concatenated."""

    parts: tuple[Part, ...]
    runs: tuple[tuple[int, int], ...] = ()
    """(tasks, weight of each), over all the parts, where weights decide (recency)."""

    @property
    def size(self) -> int:
        return sum(len(part.positions) for part in self.parts)


def note_insertion(
    connection: sa.Connection,
    run: RunContext,
    task_type: TaskType,
    *,
    task_ids: Sequence[int],
    first_ordinal: int,
    visible_from: PolicyVersion,
) -> None:
    """Make tasks that were just inserted drawable. In the transaction of their insertion."""
    count, last = len(task_ids), first_ordinal + len(task_ids) - 1
    block = {"run": run.run_id, "type": task_type, "version": visible_from}
    if connection.execute(_GROW, block | {"count": count, "last": last}).rowcount == 0:
        num_before = connection.execute(_VISIBLE, block).scalar() or 0
        row = {"run_id": run.run_id, "task_type": task_type, "visible_from": visible_from}
        row |= {"num_before": num_before, "num_tasks": count}
        connection.execute(
            _INSERT_BLOCK, row | {"first_ordinal": first_ordinal, "last_ordinal": last}
        )
    connection.execute(_SHIFT, block | {"count": count})
    if run.config.selfplay.buffer_capacity and run.config.selfplay.eviction == "reservoir":
        for ordinal, task_id in enumerate(task_ids, start=first_ordinal):
            _take_slot(connection, run, task_type, task_id, ordinal, visible_from)


def withdraw(connection: sa.Connection, run: RunContext, task_id: int) -> None:
    """Never draw this task again; it stays in the history."""
    this = {"this": task_id}
    task_type, visible_from = connection.execute(_PLACE, this).one()
    if visible_from == WITHDRAWN:
        return
    connection.execute(_WITHDRAW, this | {"visible_from": WITHDRAWN})
    block = {"run": run.run_id, "type": task_type, "version": visible_from}
    connection.execute(_SHRINK, block)
    connection.execute(_FORGET_EMPTY, block)
    connection.execute(_SHIFT, block | {"count": -1})


def rebuild_reservoirs(connection: sa.Connection, run: RunContext) -> None:
    """Fill the slots anew from the history, as after a change of capacity or eviction."""
    of_run = ReservoirSlotRow.run_id == run.run_id
    connection.execute(sa.delete(ReservoirSlotRow).where(of_run))
    history = (
        sa.select(TaskRow.task_type, TaskRow.task_id, TaskRow.ordinal, TaskRow.visible_from)
        .where(TaskRow.run_id == run.run_id)
        .order_by(TaskRow.task_type, TaskRow.ordinal)
    )
    for row in connection.execute(history).all():
        _take_slot(connection, run, *row)


def _take_slot(
    connection: sa.Connection,
    run: RunContext,
    task_type: TaskType,
    task_id: int,
    ordinal: int,
    visible_from: PolicyVersion,
) -> None:
    seed = derive_seed(run.config.run.seed, "reservoir", task_type, ordinal)
    slot = reservoir_slot(ordinal, run.config.selfplay.buffer_capacity, seed)
    if slot is not None:
        row = {"run_id": run.run_id, "task_type": task_type, "slot": slot}
        connection.execute(_TAKE_SLOT, row | {"visible_from": visible_from, "task_id": task_id})


def reference_pool(
    connection: sa.Connection, run: RunContext, task_type: TaskType, version: PolicyVersion
) -> Pool:
    """What a proposer may be shown: its own buffer or, for induction, those of pairs."""
    sources: tuple[TaskType, ...] = (task_type,)
    if task_type is TaskType.INDUCTION:
        sources = PAIR_TYPES
    parts = tuple(_part(connection, run, source, version) for source in sources)
    if run.config.selfplay.reference_sampling == "uniform":
        return Pool(parts)
    return Pool(parts, tuple(r for part in parts for r in _recency_runs(connection, run, part)))


def visible_pool(
    connection: sa.Connection, run: RunContext, task_type: TaskType, version: PolicyVersion
) -> Pool:
    """The drawable tasks of one type."""
    return Pool((_part(connection, run, task_type, version),))


def newest_pool(
    connection: sa.Connection, run: RunContext, task_type: TaskType, version: PolicyVersion
) -> Pool:
    """The tasks of one type that became visible with this version, whatever a buffer keeps."""
    before, now = (
        connection.execute(
            _VISIBLE, {"run": run.run_id, "type": task_type, "version": visible}
        ).scalar()
        for visible in (version - 1, version)
    )
    return Pool((Part(task_type, version, range(before or 0, now or 0)),))


def draw_references(
    connection: sa.Connection, run: RunContext, pool: Pool, task_type: TaskType, seed: int
) -> list[int]:
    """Ids of K tasks; for induction, of the one program to describe."""
    count = 1 if task_type is TaskType.INDUCTION else run.config.selfplay.references
    if pool.runs:
        return _ids_at(connection, run, pool, draw_by_weight(pool.runs, count, seed))
    return draw_distinct(connection, run, pool, count, seed)


def draw_distinct(
    connection: sa.Connection, run: RunContext, pool: Pool, count: int, seed: int
) -> list[int]:
    """Ids of `count` tasks, or of all there are, uniformly."""
    return _ids_at(connection, run, pool, draw_without_replacement(pool.size, count, seed))


def draw_replays(
    connection: sa.Connection, run: RunContext, pool: Pool, count: int, seed: int
) -> list[int]:
    """Ids of older tasks, one for each attempt to make again; empty if the pool is."""
    group_size = replay_group(run.config)
    indices = draw_for_replay(pool.size, count, seed, group_size=group_size)
    ids = _ids_at(connection, run, pool, indices[::group_size])
    return [task_id for task_id in ids for _ in range(group_size)][:count]


def _part(
    connection: sa.Connection, run: RunContext, task_type: TaskType, version: PolicyVersion
) -> Part:
    buffer = {"run": run.run_id, "type": task_type, "version": version}
    visible = connection.execute(_VISIBLE, buffer).scalar() or 0
    play = run.config.selfplay
    if play.eviction == "reservoir" and 0 < play.buffer_capacity < visible:
        capacity = {"capacity": play.buffer_capacity}
        if connection.execute(_FILLED_LATER, buffer | capacity).scalar() is None:
            return Part(task_type, version, range(play.buffer_capacity), slots=True)
    positions = kept_range(visible, play.buffer_capacity, play.eviction)
    return Part(task_type, version, positions)


def _recency_runs(connection: sa.Connection, run: RunContext, part: Part) -> list[tuple[int, int]]:
    """(tasks, weight) of the part's blocks: the step that proposed them, plus one."""
    buffer = {"run": run.run_id, "type": part.task_type, "version": part.version}
    runs: list[tuple[int, int]] = []
    for visible_from, num_before, num_tasks in connection.execute(_BLOCKS, buffer):
        first = max(num_before, part.positions.start)
        count = min(num_before + num_tasks, part.positions.stop) - first
        if count > 0:
            runs.append((count, visible_from + 1))
    return runs


def _ids_at(
    connection: sa.Connection, run: RunContext, pool: Pool, indices: Sequence[int]
) -> list[int]:
    """Task ids at these indices into the pool, in the given order."""
    ends = list(accumulate(len(part.positions) for part in pool.parts))
    ids: list[int] = []
    for index in indices:
        at = bisect_right(ends, index)
        part = pool.parts[at]
        position = part.positions[index - ends[at]]  # from the end: ends[at] is past it
        ids.append(_id_at(connection, run, part, position))
    return ids


def _id_at(connection: sa.Connection, run: RunContext, part: Part, position: int) -> int:
    buffer = {"run": run.run_id, "type": part.task_type}
    if part.slots:
        held = buffer | {"slot": position, "version": part.version}
        return connection.execute(_HOLDER, held).scalar_one()
    block = connection.execute(_BLOCK_AT, buffer | {"position": position}).one()
    offset = position - block.num_before
    if block.last_ordinal - block.first_ordinal + 1 == block.num_tasks:  # nearly always
        ordinal = {"ordinal": block.first_ordinal + offset}
        return connection.execute(_BY_ORDINAL, buffer | ordinal).scalar_one()
    place = {"visible_from": block.visible_from, "offset": offset}
    return connection.execute(_BY_OFFSET, buffer | place).scalar_one()
