"""The tasks: insertion with dense ordinals, and loading. `azr.store.buffers` draws them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from azr.config import SelfPlaySection
from azr.normal_form import task_key
from azr.store import buffers, task_texts
from azr.store.codec import storable
from azr.store.context import RunContext
from azr.store.models import TaskRow
from azr.store.states import Origin
from azr.task_types import types_shown
from azr.types import Example, PolicyVersion, Task, TaskDraft, TaskType, Value

FIRST_VERSION: PolicyVersion = 0
HASHES_PER_QUERY = 500

# Statements are built once: building one costs several times as much as running it.
_HIGHEST = sa.select(sa.func.max(TaskRow.ordinal)).where(
    TaskRow.run_id == sa.bindparam("run"), TaskRow.task_type == sa.bindparam("type")
)
_INSERT = sa.insert(TaskRow).returning(TaskRow.task_id, sort_by_parameter_order=True)
_KNOWN = (
    sa.select(TaskRow.task_id)
    .where(
        TaskRow.run_id == sa.bindparam("run"),
        TaskRow.task_type == sa.bindparam("type"),
        TaskRow.content_hash == sa.bindparam("hash"),
    )
    .limit(1)
)
_KNOWN_OF = sa.select(TaskRow.content_hash).where(
    TaskRow.run_id == sa.bindparam("run"),
    TaskRow.task_type == sa.bindparam("type"),
    TaskRow.content_hash.in_(sa.bindparam("hashes", expanding=True)),
)
_SIZES = (
    sa.select(TaskRow.task_type, sa.func.count().label("size"))
    .where(TaskRow.run_id == sa.bindparam("run"))
    .group_by(TaskRow.task_type)
)
_LOAD = sa.select(
    TaskRow.task_id, TaskRow.task_type, TaskRow.program, TaskRow.examples, TaskRow.message
).where(TaskRow.task_id.in_(sa.bindparam("ids", expanding=True)))


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
    hashed = {content_hash(draft, run.config.selfplay): draft}
    columns = {"origin": origin, "proposal_id": proposal_id}
    [task_id] = _append(connection, run, draft.task_type, hashed, visible_from, columns)
    return task_id


def _append(
    connection: sa.Connection,
    run: RunContext,
    task_type: TaskType,
    drafts: Mapping[str, TaskDraft],
    visible_from: PolicyVersion,
    columns: Mapping[str, object],
) -> Sequence[int]:
    """Append tasks of one type, given by their hashes, to its buffer; returns their ids."""
    buffer = {"run": run.run_id, "type": task_type}
    highest = connection.execute(_HIGHEST, buffer).scalar_one()
    first = 0 if highest is None else highest + 1
    common = {
        "run_id": run.run_id,
        "task_type": task_type,
        "visible_from": visible_from,
        "num_attempts": 0,
        "num_solved": 0,
        "created_at": run.now(),
        **columns,
    }
    rows = [
        common | {"ordinal": ordinal, "content_hash": hashed} | _content(draft)
        for ordinal, (hashed, draft) in enumerate(drafts.items(), start=first)
    ]
    task_ids = connection.execute(_INSERT, rows).scalars().all()
    place = {"first_ordinal": first, "visible_from": visible_from}
    buffers.note_insertion(connection, run, task_type, task_ids=task_ids, **place)
    examples = [draft.examples for draft in drafts.values()]
    task_texts.note(connection, run, task_type, examples, first_ordinal=first)
    return task_ids


def _content(draft: TaskDraft) -> dict[str, Any]:
    examples = [
        [storable(example.arguments), storable(example.output.canonical)]
        for example in draft.examples
    ]
    return {
        "program": storable(draft.program),
        "examples": examples,
        "message": storable(draft.message),
    }


def content_hash(draft: TaskDraft, play: SelfPlaySection) -> str:
    """Equal exactly for drafts that repeat each other (`azr.normal_form.task_key`)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in task_key(draft, play.same_program, play.duplicate_by):
        raw = part.encode(errors="surrogatepass")
        digest.update(len(raw).to_bytes(8))
        digest.update(raw)
    return digest.hexdigest()


def is_known(connection: sa.Connection, run: RunContext, draft: TaskDraft) -> bool:
    """Whether the draft repeats a task of its buffer."""
    digest = content_hash(draft, run.config.selfplay)
    key = {"run": run.run_id, "type": draft.task_type, "hash": digest}
    return connection.execute(_KNOWN, key).scalar() is not None


def add_seeds(connection: sa.Connection, run: RunContext, drafts: Sequence[TaskDraft]) -> int:
    """Insert the drafts that are new, visible from version 0; returns how many were.

    A buffer's tasks are asked for and inserted together: seed files have thousands.
    """
    play = run.config.selfplay
    seed = {"origin": Origin.SEED, "proposal_id": None}
    new = 0
    for task_type in TaskType:
        unknown: dict[str, TaskDraft] = {}
        for draft in drafts:
            if draft.task_type is task_type:
                unknown.setdefault(content_hash(draft, play), draft)
        for known in _known(connection, run, task_type, list(unknown)):
            unknown.pop(known, None)
        if unknown:
            new += len(_append(connection, run, task_type, unknown, FIRST_VERSION, seed))
    return new


def _known(
    connection: sa.Connection, run: RunContext, task_type: TaskType, hashes: Sequence[str]
) -> Iterator[str]:
    """Those of the hashes that a buffer has."""
    for start in range(0, len(hashes), HASHES_PER_QUERY):
        some = hashes[start : start + HASHES_PER_QUERY]
        key = {"run": run.run_id, "type": task_type, "hashes": some}
        yield from connection.execute(_KNOWN_OF, key).scalars()


def buffer_sizes(connection: sa.Connection, run: RunContext) -> dict[TaskType, int]:
    """Tasks per type, visible or not (`azr.task_types.types_shown`)."""
    sizes = {row.task_type: row.size for row in connection.execute(_SIZES, {"run": run.run_id})}
    return {task_type: sizes.get(task_type, 0) for task_type in types_shown(sizes)}


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


def follow_settings(connection: sa.Connection, run: RunContext, before: Mapping[str, Any]) -> None:
    """Bring the buffers in line with changed settings; `before` are the old ones."""
    if run.config.intrinsic.counts_texts:
        task_texts.count_anew(connection, run)
    play, before = run.config.selfplay, before.get("selfplay", {})
    was = (before.get("same_program", "text"), before.get("duplicate_by", "task"))
    if was != (play.same_program, play.duplicate_by):
        _hash_anew(connection, run)
    limits = {"buffer_capacity": play.buffer_capacity, "eviction": play.eviction}
    if play.eviction == "reservoir" and any(before.get(k) != v for k, v in limits.items()):
        buffers.rebuild_reservoirs(connection, run)


def _hash_anew(connection: sa.Connection, run: RunContext) -> None:
    of_run = sa.select(TaskRow.task_id).where(TaskRow.run_id == run.run_id)
    for task_id, task in load(connection, connection.execute(of_run).scalars()).items():
        digest = content_hash(task, run.config.selfplay)
        this = sa.update(TaskRow).where(TaskRow.task_id == task_id)
        connection.execute(this.values(content_hash=digest))
