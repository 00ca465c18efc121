"""Whether a database is whole: the file, the schema, and every invariant of the queues.

Read-only, and safe beside a run: the questions see one moment. An invariant is a
query for the rows that break it, so a finding can be looked at with `azr sql`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from azr.errors import StoreError
from azr.store import migrate
from azr.store.history import History
from azr.store.models import Base
from azr.store.views import VIEWS

INVARIANTS: dict[str, str] = {
    "a dropped rollout has exactly one reason": """
        select rollout_id from rollout where run_id = :run
            and (case when state = 'dropped' then 1 else 0 end)
                <> (case when drop_reason is not null then 1 else 0 end)""",
    "what is ready, claimed or trained has a reward": """
        select rollout_id from rollout where run_id = :run
            and state in ('ready', 'claimed', 'trained') and reward is null""",
    "a trained rollout is one live row of one batch": """
        select r.rollout_id from rollout r
        left join batch_row m on m.rollout_id = r.rollout_id and m.live
        where r.run_id = :run and r.state = 'trained'
        group by r.rollout_id having count(m.batch_row_id) <> 1""",
    "a live row of a batch is a trained rollout": """
        select m.batch_row_id from batch_row m join rollout r on r.rollout_id = m.rollout_id
        where r.run_id = :run and m.live and r.state <> 'trained'""",
    "a live row belongs to a surviving learner step": """
        select m.batch_row_id from batch_row m
        join batch b on b.batch_id = m.batch_id
        left join learner_step s on s.batch_id = b.batch_id and s.state = 'live'
        where b.run_id = :run and m.live and s.step_id is null""",
    "a claimed rollout belongs to an open batch": """
        select r.rollout_id from rollout r left join batch b on b.batch_id = r.batch_id
        where r.run_id = :run and r.state = 'claimed' and coalesce(b.state, '') <> 'claimed'""",
    "the rollout of an admission closes it": """
        select r.rollout_id from rollout r join admission a on a.admission_id = r.admission_id
        where r.run_id = :run and a.state <> 'done'""",
    "a closed admission has its rollout": """
        select a.admission_id from admission a
        left join rollout r on r.admission_id = a.admission_id
        where a.run_id = :run and a.state = 'done' and r.rollout_id is null""",
    "a lease has an owner and an end": """
        select admission_id from admission where run_id = :run and state = 'leased'
            and (owner is null or lease_until is null)""",
    "a rollout has its payload": """
        select r.rollout_id from rollout r
        left join rollout_payload p on p.rollout_id = r.rollout_id
        where r.run_id = :run and p.rollout_id is null""",
    "a task was proposed by a valid proposal": """
        select t.task_id from task t left join rollout r on r.rollout_id = t.proposal_id
        where t.run_id = :run and t.origin = 'proposed' and coalesce(r.judgement, '') <> 'valid'""",
    "a valid proposal made a task": """
        select r.rollout_id from rollout r left join task t on t.proposal_id = r.rollout_id
        where r.run_id = :run and r.role = 'propose' and r.judgement = 'valid'
            and r.purpose <> 'seed' and t.task_id is null""",
    "the ordinals of a buffer have no gaps": """
        select task_type from task where run_id = :run
        group by task_type having max(ordinal) <> count(*) - 1""",
    "a task counts its judged attempts": """
        select t.task_id from task t left join rollout r
            on r.task_id = t.task_id and r.solved is not null
        where t.run_id = :run
        group by t.task_id, t.num_attempts, t.num_solved
        having t.num_attempts <> count(r.rollout_id)
            or t.num_solved <> sum(case when r.solved then 1 else 0 end)""",
    "a proposal counts the attempts that measured it": """
        select p.rollout_id from rollout p left join rollout r
            on r.measures = p.rollout_id and r.solved is not null
        where p.run_id = :run and p.num_measured is not null
        group by p.rollout_id, p.num_measured having p.num_measured <> count(r.rollout_id)""",
    "a staleness is no smaller than zero": """
        select m.batch_row_id from batch_row m join batch b on b.batch_id = m.batch_id
        where b.run_id = :run and m.staleness < 0""",
    "no row that may be trained on is of a version to come": """
        select r.rollout_id from rollout r join runs on runs.run_id = r.run_id
        where r.run_id = :run and r.state in ('generated', 'judged', 'ready')
            and r.staleness_version > runs.learner_version and runs.lineage > 0""",
    "the run is of its newest lineage": """
        select r.run_id from runs r left join lineage l on l.run_id = r.run_id
        where r.run_id = :run
        group by r.run_id, r.lineage
        having r.lineage <> coalesce(max(l.lineage), 0) or r.lineage <> count(l.lineage)""",
    "the versions that a replica proves only grow": """
        select proof_id from (
            select proof_id, version, lag(version) over (
                partition by replica, node_id, lineage order by proof_id) as before
            from replica_proof where run_id = :run and accepted and node_id <> ''
        ) as proofs where version < before""",
    "a node that is over holds no lease": """
        select n.node_id from node n join admission a on a.owner = n.node_id
        where n.run_id = :run and a.run_id = :run and a.state = 'leased'
            and n.state in ('ended', 'fenced')
        union all
        select n.node_id from node n join rollout r on r.owner = n.node_id
        where n.run_id = :run and r.run_id = :run and r.state = 'generated'
            and n.state in ('ended', 'fenced')""",
    "surviving policy versions have no gaps and end at the learner's": """
        select r.run_id from runs r
        join policy_version v on v.run_id = r.run_id and v.state = 'live'
        where r.run_id = :run
        group by r.run_id, r.learner_version
        having max(v.version) <> r.learner_version or count(*) <> r.learner_version + 1""",
}
"""What must hold, each with a query for the rows where it does not."""

MAX_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    problems: tuple[str, ...] = ()
    """Empty if all is well."""
    seen: str = ""
    """What there is, for findings that are counts."""

    @property
    def is_well(self) -> bool:
        return not self.problems


def examine(history: History) -> Iterator[Finding]:
    """Everything, the file first."""
    if history.connection.dialect.name == "sqlite":
        yield _pragma(history, "the file is intact", "integrity_check", well="ok")
        yield _pragma(history, "every reference leads somewhere", "foreign_key_check")
    schema = _schema(history)
    yield schema
    if not schema.is_well or history.run_id is None:
        return  # the queries below would only complain of the same
    for name, query in INVARIANTS.items():
        yield _invariant(history, name, query)


def require_current_schema(history: History) -> None:
    """Raise StoreError unless tables and views are those of this version."""
    found = _schema(history)
    if not found.is_well:
        raise StoreError(
            f"{history.database} has another schema than this version: {found.problems[0]}",
            hint="`azr db upgrade RUN` brings an older one up to date, with its data.",
        )


def queue_counts(history: History) -> list[tuple[str, str, int]]:
    """(queue, state, rows) of the run."""
    counts = sa.text(
        "select queue, state, sum(num_rows) from v_queue where run_id = :run"
        " group by queue, state order by queue, state"
    )
    rows = history.connection.execute(counts, {"run": history.run_id})
    return [(queue, state, int(count)) for queue, state, count in rows]


def _pragma(history: History, name: str, pragma: str, *, well: str = "") -> Finding:
    rows = history.connection.exec_driver_sql(f"PRAGMA {pragma}").fetchmany(MAX_PROBLEMS)
    said = [" ".join(map(str, row)) for row in rows]
    return Finding(name, tuple(line for line in said if line != well))


def _schema(history: History) -> Finding:
    """The tables, columns and views of this version, at its revision."""
    head, revision = migrate.head(), migrate.revision(history.connection)
    inspector = sa.inspect(history.connection)
    found = {name: inspector.get_columns(name) for name in inspector.get_table_names()}
    problems = [] if revision == head else [f"it is at revision {revision}, not {head}"]
    for table in Base.metadata.sorted_tables:
        columns = {column["name"] for column in found.get(table.name, ())}
        missing = [column.name for column in table.columns if column.name not in columns]
        if missing:
            problems.append(f"{table.name} lacks {', '.join(missing)}")
    lost = set(VIEWS) - set(inspector.get_view_names())
    problems += [f"the view {name} is missing" for name in sorted(lost)]
    return Finding("the schema is this version's", tuple(problems), seen=f"revision {revision}")


def _invariant(history: History, name: str, query: str) -> Finding:
    rows = history.connection.execute(sa.text(query), {"run": history.run_id}).fetchall()
    if not rows:
        return Finding(name)
    first = ", ".join(str(row[0]) for row in rows[:MAX_PROBLEMS])
    more = "" if len(rows) <= MAX_PROBLEMS else ", ..."
    return Finding(name, (f"{len(rows):,} rows break it: {first}{more}",))
