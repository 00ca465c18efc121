"""What must hold in a store's database, whatever was killed and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from azr.errors import StoreError
from azr.staleness import counted_version
from azr.store.crash.play import BATCH_ROLLOUTS, OUTSTANDING_LIMIT, read_weights
from azr.store.engine import open_database
from azr.store.models import RolloutPayloadRow, RolloutRow
from azr.store.reader import Reader
from azr.store.recovery import LEARNED, SAMPLED

type Rows = list[tuple[Any, ...]]

NOTHING_FOUND = {
    "a dropped rollout has a reason, and no other has": """
        select rollout_id from rollout
        where (state = 'dropped') <> (drop_reason is not null)""",
    "a final rollout has a reward": """
        select rollout_id from rollout
        where state in ('ready', 'claimed', 'trained') and reward is null""",
    "a rollout has its tokens": """
        select r.rollout_id from rollout r
        left join rollout_payload p on p.rollout_id = r.rollout_id
        where p.rollout_id is null""",
    "a sampled admission is closed, and no other is": """
        select a.admission_id from admission a
        left join rollout r on r.admission_id = a.admission_id
        where (a.state = 'done') <> (r.rollout_id is not null)""",
    "a trained rollout is a row of a surviving batch": """
        select r.rollout_id from rollout r
        left join batch_row m on m.rollout_id = r.rollout_id and m.live
        where (r.state = 'trained') <> (m.rollout_id is not null)""",
    "no rollout is in two surviving batches": """
        select rollout_id from batch_row where live group by rollout_id having count(*) > 1""",
    "a surviving step trained one batch of every cell": f"""
        select s.version, r.role, r.task_type from learner_step s
        join batch_row m on m.batch_id = s.batch_id and m.live
        join rollout r on r.rollout_id = m.rollout_id
        where s.state = 'live' group by s.version, r.role, r.task_type
        having count(*) <> {BATCH_ROLLOUTS}""",  # noqa: S608 -- a number of ours
    "no staleness is negative": """
        select batch_row_id from batch_row where staleness < 0""",
    "no rollout is of a version to come": """
        select rollout_id from rollout join runs on runs.run_id = rollout.run_id
        where state in ('generated', 'judged', 'ready') and staleness_version > learner_version""",
    "a fenced node holds nothing": """
        select n.node_id from node n join admission a on a.owner = n.node_id
        where n.state = 'fenced' and a.state = 'leased' union all
        select n.node_id from node n join rollout r on r.owner = n.node_id
        where n.state = 'fenced' and r.state = 'generated'""",
    "surviving versions are whole": """
        select max(version) from learner_step where state = 'live'
        having count(*) <> max(version) or count(distinct version) <> max(version)""",
    "the run is at its last surviving step": """
        select learner_version from runs where learner_version <>
            (select coalesce(max(version), 0) from learner_step where state = 'live')""",
    "the tasks of a type are numbered from 0 without a gap": """
        select task_type from task group by task_type
        having count(*) <> max(ordinal) + 1 or min(ordinal) <> 0""",
    "the blocks of a buffer count its tasks": """
        select task_type from task t group by task_type having count(*) <>
            (select sum(num_tasks) from task_block b where b.task_type = t.task_type)""",
    "the slots of a cell are numbered from 0 without a gap": """
        select role, task_type from admission group by role, task_type
        having count(*) <> max(slot) + 1 or min(slot) <> 0""",
    "no task is in a buffer twice": """
        select task_type, content_hash from task
        group by task_type, content_hash having count(*) > 1""",
    "a task counts its attempts": """
        select t.task_id from task t
        left join rollout r on r.task_id = t.task_id and r.solved is not null
        group by t.task_id, t.num_attempts, t.num_solved
        having t.num_attempts <> count(r.rollout_id)
            or t.num_solved <> sum(case when r.solved then 1 else 0 end)""",
    "a proposal counts the attempts that measure it": """
        select p.rollout_id from rollout p
        left join rollout r on r.measures = p.rollout_id and r.solved is not null
        where p.num_measured is not null group by p.rollout_id, p.num_measured
        having p.num_measured <> count(r.rollout_id)""",
    "a cell of proposals keeps to its limit": f"""
        select task_type, count(*) from (
            select task_type from admission
            where role = 'propose' and purpose = 'train' and state <> 'done'
            union all
            select task_type from rollout where role = 'propose' and purpose = 'train'
            and state in ('generated', 'judged')
        ) as outstanding group by task_type having count(*) > {OUTSTANDING_LIMIT}""",  # noqa: S608
}
"""Law -> a query for what breaks it."""

SQLITE_ONLY = {
    "the file is whole": "select * from pragma_integrity_check where integrity_check <> 'ok'"
}


def broken(url: str, folder: Path) -> list[str]:
    """The laws that do not hold, with what breaks them; empty if all is well."""
    return asked(
        url,
        lambda found: [
            *_found(found),
            *_stalenesses(found),
            *_journals(found, folder),
            *_weights(found),
        ],
    )


def asked[T](url: str, question: Callable[[sa.Connection], T]) -> T:
    """The answer, once a server that still recovers from its last kill can give it."""
    reader = Reader(open_database(url))
    try:
        return reader.run_blocking(question)
    finally:
        reader.close()


def _rows(connection: sa.Connection, query: str) -> Rows:
    return [tuple(row) for row in connection.exec_driver_sql(query)]


def _found(connection: sa.Connection) -> Iterable[str]:
    only = SQLITE_ONLY if connection.dialect.name == "sqlite" else {}
    for law, query in (NOTHING_FOUND | only).items():
        if rows := _rows(connection, query):
            yield f"{law}: {rows[:5]}"


def _stalenesses(connection: sa.Connection) -> Iterable[str]:
    """Every rollout is as stale as its tokens are far from the surviving weights."""
    forks = _rows(connection, "select lineage, forked_at from lineage")
    rollouts = sa.select(
        RolloutRow.rollout_id, RolloutRow.staleness_version, RolloutPayloadRow.version_spans
    ).join(RolloutPayloadRow, RolloutPayloadRow.rollout_id == RolloutRow.rollout_id)
    for rollout_id, staleness_version, spans in connection.execute(
        rollouts.where(RolloutRow.state.in_((*SAMPLED, *LEARNED)))
    ):
        counted = [
            counted_version(version, min((at for began, at in forks if began > of), default=None))
            for version, _, _, of in spans
        ]
        if staleness_version != min(counted):
            yield f"rollout {rollout_id} counts as of {staleness_version}, not {min(counted)}"


def _journals(connection: sa.Connection, folder: Path) -> Iterable[str]:
    """Everything that the store acknowledged is there."""
    known = {
        "put": set(_rows(connection, "select rollout_id, admission_id from rollout")),
        "step": set(_rows(connection, "select batch_id, version from learner_step")),
        "durable": set(_rows(connection, "select version, path from policy_version where durable")),
    }
    for kind, facts in acknowledged(folder):
        if facts not in known[kind]:
            yield f"an acknowledged {kind} is lost: {facts}"


def acknowledged(folder: Path) -> list[tuple[str, tuple[Any, ...]]]:
    """The journals' lines: (kind, facts)."""
    lines = [line for file in folder.glob("*.journal") for line in file.read_text().splitlines()]
    return [(kind, tuple(map(_fact, facts))) for kind, *facts in map(str.split, lines)]


def _fact(word: str) -> int | str:
    return int(word) if word.isdigit() else word


def _weights(connection: sa.Connection) -> Iterable[str]:
    """The surviving weights saw exactly what the database says they did."""
    durable = _rows(
        connection, "select version, path from policy_version where durable and state = 'live'"
    )
    version, path = max(durable, default=(0, ""))
    seen = read_weights(path) if path else []
    if len(seen) != len(set(seen)):
        yield f"the weights of version {version} saw a rollout twice"
    rows = _rows(
        connection,
        "select m.rollout_id, b.version from batch_row m"
        " join batch b on b.batch_id = m.batch_id where m.live",
    )
    if sorted(seen) != sorted(rollout_id for rollout_id, at in rows if at < version):
        yield f"the weights of version {version} saw other rollouts than the database says"


def require(url: str, folder: Path) -> None:
    """Raise StoreError if a law is broken."""
    if found := broken(url, folder):
        raise StoreError(
            f"{len(found)} laws are broken; first: {found[0]}", hint="A bug: report it."
        )
