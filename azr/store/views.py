"""Views for people: the questions one asks of a run, ready for any SQL client.

They hold no state, so they are dropped before a migration and made again after it;
plain SQL that SQLite and PostgreSQL both read.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

VIEWS: dict[str, str] = {
    "v_task_history": """
        select r.run_id, r.rollout_id as proposal_id, r.task_type, r.purpose,
            r.oldest_version as version, r.state, r.judgement, r.verdict, r.detail, r.reward,
            r.solve_rate, t.task_id, t.visible_from, t.program, t.examples, t.message,
            t.num_attempts, t.num_solved, r.generated_at, r.judged_at
        from rollout r left join task t on t.proposal_id = r.rollout_id
        where r.role = 'propose'""",
    "v_difficulty": """
        select t.run_id, t.task_type, t.task_id, t.origin, t.visible_from,
            r.oldest_version as version, count(*) as num_attempts,
            sum(case when r.solved then 1 else 0 end) as num_solved,
            avg(case when r.solved then 1.0 else 0.0 end) as solve_rate
        from task t join rollout r on r.task_id = t.task_id
        where r.solved is not null
        group by t.run_id, t.task_type, t.task_id, t.origin, t.visible_from, r.oldest_version""",
    "v_lineage": """
        select child.run_id, child.task_id, child.task_type, child.visible_from,
            shown.position, parent.task_id as parent_id, parent.task_type as parent_type,
            parent.origin as parent_origin
        from task child
        join rollout r on r.rollout_id = child.proposal_id
        join proposal_reference shown on shown.admission_id = r.admission_id
        join task parent on parent.task_id = shown.task_id""",
    "v_why_dropped": """
        select r.run_id, r.rollout_id, r.role, r.task_type, r.purpose, r.drop_reason,
            r.judgement, r.verdict, r.detail, r.reward, r.failures,
            r.oldest_version as version, r.num_tokens, r.task_id, r.measures,
            r.generated_at, r.dropped_at
        from rollout r where r.state = 'dropped'""",
    "v_throughput": """
        select run_id, cast(floor(at / 60) as bigint) * 60 as minute, what, role,
            count(*) as num_rollouts, sum(num_tokens) as num_tokens
        from (
            select run_id, role, num_tokens, 'generated' as what, generated_at as at from rollout
            union all
            select run_id, role, num_tokens, 'trained' as what, trained_at as at from rollout
                where state = 'trained'
            union all
            select run_id, role, num_tokens, 'dropped' as what, dropped_at as at from rollout
                where state = 'dropped'
        ) as happened
        group by run_id, cast(floor(at / 60) as bigint) * 60, what, role""",
    "v_cell_rewards": """
        select s.run_id, s.version as step, r.role, r.task_type, count(*) as num_rollouts,
            avg(r.reward) as mean_reward, min(r.reward) as min_reward,
            max(r.reward) as max_reward, avg(m.advantage) as mean_advantage,
            avg(r.num_tokens) as mean_tokens
        from learner_step s
        join batch_row m on m.batch_id = s.batch_id and m.live
        join rollout r on r.rollout_id = m.rollout_id
        where s.state = 'live'
        group by s.run_id, s.version, r.role, r.task_type""",
    "v_staleness": """
        select s.run_id, s.version as step, r.role, m.staleness, count(*) as num_rollouts
        from learner_step s
        join batch_row m on m.batch_id = s.batch_id and m.live
        join rollout r on r.rollout_id = m.rollout_id
        where s.state = 'live'
        group by s.run_id, s.version, r.role, m.staleness""",
    "v_queue": """
        select run_id, 'admission' as queue, role, task_type, purpose, state,
            count(*) as num_rows, min(version) as oldest_version
        from admission where state <> 'done'
        group by run_id, role, task_type, purpose, state
        union all
        select run_id, 'rollout' as queue, role, task_type, purpose, state,
            count(*) as num_rows, min(oldest_version) as oldest_version
        from rollout
        group by run_id, role, task_type, purpose, state""",
}


MEANINGS: dict[str, str] = {
    "v_task_history": "Every proposal, its verdict and, if it made one, the task and its record.",
    "v_difficulty": "How hard each task is to each policy version that tried it.",
    "v_lineage": "Which tasks a proposer was shown before it wrote which task.",
    "v_why_dropped": "Every rollout that will not be trained on, with what is known about it.",
    "v_throughput": "Rollouts and tokens per minute, by what happened in that minute.",
    "v_cell_rewards": "Reward, advantage and length of what each surviving step trained on.",
    "v_staleness": "How many optimizer steps lay between sampling and learning.",
    "v_queue": "What waits where: admissions to be sampled and rollouts on their way.",
}
"""What a row of each view is, in a sentence."""


def drop_views(connection: sa.Connection) -> None:
    """Remove every view of this list, so that tables under them can change."""
    for name in VIEWS:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")


def create_views(connection: sa.Connection) -> None:
    """Make them again; the tables must be those of this version."""
    for name, query in VIEWS.items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {query}")
        if connection.dialect.name == "postgresql":  # which keeps no text of the query
            connection.exec_driver_sql(f"COMMENT ON VIEW {name} IS '{_digest(query)}'")


def views_are_current(connection: sa.Connection) -> bool:
    """Whether the views are there, and are those of this version."""
    if connection.dialect.name == "postgresql":
        found = connection.exec_driver_sql(_COMMENTS)
        return VIEWS.keys() <= {name for name, digest in found if digest == _DIGESTS.get(name)}
    found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    made = {f"CREATE VIEW {name} AS {query}" for name, query in VIEWS.items()}
    return made <= {sql for _, sql in found}


def _digest(query: str) -> str:
    return hashlib.blake2b(query.encode(), digest_size=16).hexdigest()


_DIGESTS = {name: _digest(query) for name, query in VIEWS.items()}
_COMMENTS = """
    SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
    WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace"""
