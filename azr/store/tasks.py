"""The task buffers: insertion with dense ordinals, and exactly uniform draws.

A draw at version v sees the tasks with `visible_from <= v`, indexed in
(visible_from, ordinal) order. In a synchronous run that is insertion order; in an
asynchronous one a slow proposal may enter after tasks of a later version, and the
index is exact all the same.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import sqlalchemy as sa

from azr.seeds import draw_for_replay, draw_without_replacement
from azr.store.codec import storable
from azr.store.context import RunContext
from azr.store.models import TaskRow
from azr.store.states import Origin
from azr.types import Example, PolicyVersion, Task, TaskDraft, TaskType, Value

FIRST_VERSION: PolicyVersion = 0

# Statements are built once: building one costs several times as much as running it.
_HIGHEST = sa.select(sa.func.max(TaskRow.ordinal)).where(
    TaskRow.run_id == sa.bindparam("run"), TaskRow.task_type == sa.bindparam("type")
)
_INSERT = sa.insert(TaskRow).returning(TaskRow.task_id)
_KNOWN = (
    sa.select(TaskRow.task_id)
    .where(
        TaskRow.run_id == sa.bindparam("run"),
        TaskRow.task_type == sa.bindparam("type"),
        TaskRow.content_hash == sa.bindparam("hash"),
    )
    .limit(1)
)
_SIZES = (
    sa.select(TaskRow.task_type, sa.func.count().label("size"))
    .where(TaskRow.run_id == sa.bindparam("run"))
    .group_by(TaskRow.task_type)
)
_LOAD = sa.select(
    TaskRow.task_id, TaskRow.task_type, TaskRow.program, TaskRow.examples, TaskRow.message
).where(TaskRow.task_id.in_(sa.bindparam("ids", expanding=True)))
_BLOCKS = (
    sa.select(
        TaskRow.visible_from,
        sa.func.count(),
        sa.func.min(TaskRow.ordinal),
        sa.func.max(TaskRow.ordinal),
    )
    .where(
        TaskRow.run_id == sa.bindparam("run"),
        TaskRow.task_type == sa.bindparam("type"),
        TaskRow.visible_from <= sa.bindparam("version"),
    )
    .group_by(TaskRow.visible_from)
    .order_by(TaskRow.visible_from)
)
_BY_ORDINAL = sa.select(TaskRow.task_id).where(
    TaskRow.run_id == sa.bindparam("run"),
    TaskRow.task_type == sa.bindparam("type"),
    TaskRow.ordinal == sa.bindparam("ordinal"),
)
_BY_OFFSET = (
    sa.select(TaskRow.task_id)
    .where(
        TaskRow.run_id == sa.bindparam("run"),
        TaskRow.task_type == sa.bindparam("type"),
        TaskRow.visible_from == sa.bindparam("visible_from"),
    )
    .order_by(TaskRow.ordinal)
    .offset(sa.bindparam("offset", type_=sa.Integer))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Block:
    """Visible tasks of one type that share a `visible_from`."""

    task_type: TaskType
    visible_from: PolicyVersion
    size: int
    first: int
    """Lowest ordinal."""
    last: int
    """Highest ordinal; others may lie between, if they become visible elsewhere."""

    @property
    def contiguous(self) -> bool:
        return self.last - self.first + 1 == self.size


@dataclass(frozen=True, slots=True)
class Pool:
    """What a draw chooses from: blocks, concatenated."""

    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        return sum(block.size for block in self.blocks)


def insert(
    connection: sa.Connection,
    run: RunContext,
    draft: TaskDraft,
    *,
    origin: Origin,
    visible_from: PolicyVersion,
    proposal_id: int | None = None,
) -> int:
    """Append a task to its buffer; returns its id."""
    buffer = {"run": run.run_id, "type": draft.task_type}
    highest = connection.execute(_HIGHEST, buffer).scalar_one()
    row = {
        "run_id": run.run_id,
        "task_type": draft.task_type,
        "ordinal": 0 if highest is None else highest + 1,
        "origin": origin,
        "proposal_id": proposal_id,
        "program": storable(draft.program),
        "examples": [
            [storable(example.arguments), storable(example.output.canonical)]
            for example in draft.examples
        ],
        "message": storable(draft.message),
        "content_hash": content_hash(draft),
        "visible_from": visible_from,
        "num_attempts": 0,
        "num_solved": 0,
        "created_at": run.now(),
    }
    return connection.execute(_INSERT, row).scalar_one()


def content_hash(draft: TaskDraft) -> str:
    """Equal exactly for drafts with the same program and inputs."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (draft.program, *(example.arguments for example in draft.examples)):
        raw = part.encode(errors="surrogatepass")
        digest.update(len(raw).to_bytes(8))
        digest.update(raw)
    return digest.hexdigest()


def is_known(connection: sa.Connection, run: RunContext, draft: TaskDraft) -> bool:
    """Whether the draft's buffer holds the same program and inputs."""
    key = {"run": run.run_id, "type": draft.task_type, "hash": content_hash(draft)}
    return connection.execute(_KNOWN, key).scalar() is not None


def add_seeds(connection: sa.Connection, run: RunContext, drafts: Sequence[TaskDraft]) -> int:
    """Insert the drafts that are new, visible from version 0; returns how many were."""
    new = 0
    for draft in drafts:
        if not is_known(connection, run, draft):
            insert(connection, run, draft, origin=Origin.SEED, visible_from=FIRST_VERSION)
            new += 1
    return new


def buffer_sizes(connection: sa.Connection, run: RunContext) -> dict[TaskType, int]:
    """Tasks per type, visible or not."""
    sizes = {row.task_type: row.size for row in connection.execute(_SIZES, {"run": run.run_id})}
    return {task_type: sizes.get(task_type, 0) for task_type in TaskType}


def load(connection: sa.Connection, task_ids: Iterable[int]) -> dict[int, Task]:
    """The tasks with these ids."""
    wanted = sorted(set(task_ids))
    rows = connection.execute(_LOAD, {"ids": wanted}) if wanted else ()
    return {
        task_id: Task(
            task_id=task_id,
            task_type=task_type,
            program=program,
            examples=tuple(Example(arguments, Value(value)) for arguments, value in examples),
            message=message,
        )
        for task_id, task_type, program, examples, message in rows
    }


def reference_pool(
    connection: sa.Connection, run: RunContext, task_type: TaskType, version: PolicyVersion
) -> Pool:
    """What a proposer may be shown: its own buffer or, for induction, the other two."""
    if task_type is TaskType.INDUCTION:
        pools = [
            visible_pool(connection, run, source, version)
            for source in (TaskType.DEDUCTION, TaskType.ABDUCTION)
        ]
        return Pool(tuple(block for pool in pools for block in pool.blocks))
    return visible_pool(connection, run, task_type, version)


def draw_references(
    connection: sa.Connection, run: RunContext, pool: Pool, task_type: TaskType, seed: int
) -> list[int]:
    """Ids of K tasks; for induction, of the one program to describe."""
    count = 1 if task_type is TaskType.INDUCTION else run.config.selfplay.references
    return _ids_at(connection, run, pool, draw_without_replacement(pool.size, count, seed))


def draw_replays(
    connection: sa.Connection, run: RunContext, pool: Pool, count: int, seed: int
) -> list[int]:
    """Ids of older tasks to attempt again; empty if the pool is."""
    return _ids_at(connection, run, pool, draw_for_replay(pool.size, count, seed))


def visible_pool(
    connection: sa.Connection, run: RunContext, task_type: TaskType, version: PolicyVersion
) -> Pool:
    """The tasks of a type that `version` may see; one pass over an index."""
    visible = {"run": run.run_id, "type": task_type, "version": version}
    return Pool(tuple(Block(task_type, *row) for row in connection.execute(_BLOCKS, visible)))


def _ids_at(
    connection: sa.Connection, run: RunContext, pool: Pool, indices: Sequence[int]
) -> list[int]:
    """Task ids at these indices into the pool, in the given order."""
    ends = list(accumulate(block.size for block in pool.blocks))
    ids: list[int] = []
    for index in indices:
        at = bisect_right(ends, index)
        block = pool.blocks[at]
        offset = index - (ends[at] - block.size)
        place = {"run": run.run_id, "type": block.task_type}
        if block.contiguous:  # nearly always: the offset is an ordinal, with a unique index
            found = connection.execute(_BY_ORDINAL, place | {"ordinal": block.first + offset})
        else:
            place |= {"visible_from": block.visible_from, "offset": offset}
            found = connection.execute(_BY_OFFSET, place)
        ids.append(found.scalar_one())
    return ids
