"""A long history in a short time: rows that the database makes from a counter.

Each statement makes the rows of one table from those of the one before, in SQL that
SQLite and PostgreSQL read alike. Numbers of a version's rows are those of the
official recipe: 192 proposals a step.
"""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from azr.store.codec import codec_name, encode_ids, encode_logprobs
from azr.store.engine import Database, Durability, Needs
from azr.store.postgres import PostgresDatabase
from azr.store.sqlite import SqliteDatabase, write_engine
from azr.task_types import MAIN_TYPES
from azr.types import Role

PROPOSALS_PER_STEP = 192
TOKENS = 32
"""Of a response and of a prompt: as in a run of the tiny model."""
PROGRAM = "def f(a):\n    b = sorted(a)\n    return b[::-1]"
EXAMPLES = [["[3, 1, 2]", "[3,2,1]"]]
CARELESS = (
    "PRAGMA cache_size = -1048576",  # KiB: the indices of a long history do not fit otherwise
    "PRAGMA foreign_keys = OFF",
    "PRAGMA synchronous = OFF",
)
"""How SQLite fills, on a connection that is closed afterwards."""
NOT_TRACED = Needs(durability=Durability.RELAXED, traceable=False)

TYPE_OF = "case {} when 0 then 'deduction' when 1 then 'abduction' else 'induction' end"
COUNTER = (
    "with recursive n(i) as (select cast(:first as bigint)"
    " union all select i + 1 from n where i < :last)"
)
PROPOSED = f"""
    insert into admission (run_id, role, task_type, slot, purpose, version, state, created_at)
    {COUNTER}
    select :run, 'propose', {TYPE_OF.format("i % 3")}, i / 3, 'train', i / {PROPOSALS_PER_STEP},
        'done', i from n"""  # noqa: S608 -- of constants
PROPOSALS = """
    insert into rollout (run_id, admission_id, role, task_type, purpose, state, judgement,
        reward, num_expected, num_measured, num_solved, solve_rate, num_prompt_tokens,
        num_tokens, finish_reason, oldest_version, newest_version, staleness_version,
        failures, generated_at, judged_at, ready_at, claimed_at, trained_at)
    select run_id, admission_id, role, task_type, purpose, 'trained', 'valid',
        0.5, 1, 1, 1, 0.5, :tokens, :tokens, 'stop', version, version, version,
        0, created_at, created_at, created_at, created_at, created_at
    from admission
    where run_id = :run and role = 'propose' and slot >= :first_slot
    order by slot, task_type"""
TASKS = """
    insert into task (run_id, task_type, ordinal, origin, proposal_id, program, examples,
        message, content_hash, visible_from, num_attempts, num_solved, created_at)
    select r.run_id, r.task_type, :first_ordinal + a.slot - :first_slot, 'proposed',
        r.rollout_id, :program, :examples,
        '', 'hash-' || cast(r.rollout_id as varchar(20)), r.oldest_version + 1, 1, 1,
        r.generated_at
    from rollout r join admission a on a.admission_id = r.admission_id
    where r.run_id = :run and r.role = 'propose' and a.slot >= :first_slot
    order by r.rollout_id"""
SHOWN = """
    insert into proposal_reference (admission_id, position, task_id)
    select r.admission_id, 0, t.task_id
    from task t join rollout r on r.rollout_id = t.proposal_id
    where t.run_id = :run and t.ordinal >= :first_ordinal"""
ATTEMPTED = """
    insert into admission (run_id, role, task_type, slot, purpose, version, task_id, measures,
        state, created_at)
    select run_id, 'solve', task_type, :first_slot + ordinal - :first_ordinal, 'train',
        visible_from, task_id, proposal_id, 'done', created_at
    from task where run_id = :run and ordinal >= :first_ordinal
    order by task_id"""
ATTEMPTS = """
    insert into rollout (run_id, admission_id, role, task_type, purpose, task_id, measures,
        state, drop_reason, judgement, verdict, reward, solved, num_prompt_tokens, num_tokens,
        finish_reason, oldest_version, newest_version, staleness_version, failures,
        generated_at, judged_at, ready_at, trained_at, dropped_at)
    select run_id, admission_id, role, task_type, purpose, task_id, measures,
        case slot % 2 when 0 then 'trained' else 'dropped' end,
        case slot % 2 when 0 then null else 'measured_only' end,
        'correct', 'ok', 1.0, true, :tokens, :tokens, 'stop', version, version, version, 0,
        created_at, created_at, created_at,
        case slot % 2 when 0 then created_at end, case slot % 2 when 0 then null else created_at end
    from admission
    where run_id = :run and role = 'solve' and slot >= :first_slot
    order by slot, task_type"""
PAYLOADS = """
    insert into rollout_payload (rollout_id, codec, prompt_token_ids, token_ids,
        behaviour_logprobs, version_spans, text)
    select r.rollout_id, :codec, :ids, :ids, :logprobs, :spans, :text
    from rollout r left join rollout_payload p on p.rollout_id = r.rollout_id
    where r.run_id = :run and p.rollout_id is null
    order by r.rollout_id"""
FORGET_BLOCKS = "delete from task_block where run_id = :run"
BLOCKS = """
    insert into task_block (run_id, task_type, visible_from, num_before, num_tasks,
        first_ordinal, last_ordinal)
    select run_id, task_type, visible_from,
        sum(count(*)) over (partition by run_id, task_type order by visible_from) - count(*),
        count(*), min(ordinal), max(ordinal)
    from task where run_id = :run group by run_id, task_type, visible_from"""
VERSIONS = f"""
    insert into policy_version (run_id, version, state, durable, created_at)
    {COUNTER}
    select :run, i, 'live', false, i from n where i > (
        select max(version) from policy_version where run_id = :run)"""  # noqa: S608
LEARNER = """
    update runs set learner_version = (select max(version) from policy_version where run_id = :run)
    where run_id = :run"""
READY_ADMISSIONS = f"""
    insert into admission (run_id, role, task_type, slot, purpose, version, task_id, state,
        created_at)
    {COUNTER}
    select :run, cast(:role as varchar(16)), {TYPE_OF.format("i % 3")}, :slot + i / 3, 'train',
        :version, case cast(:role as varchar(16)) when 'solve' then cast(:task as bigint) end,
        'done', i
    from n"""  # noqa: S608
READY = """
    insert into rollout (run_id, admission_id, role, task_type, purpose, task_id, state,
        judgement, reward, num_prompt_tokens, num_tokens, finish_reason, oldest_version,
        newest_version, staleness_version, failures, generated_at, judged_at, ready_at)
    select a.run_id, a.admission_id, a.role, a.task_type, a.purpose, a.task_id, 'ready',
        'correct', 0.5, :tokens, :tokens, 'stop', :version, :version, :version, 0,
        a.created_at, a.created_at, a.created_at
    from admission a left join rollout r on r.admission_id = a.admission_id
    where a.run_id = :run and a.state = 'done' and a.slot >= :slot and r.rollout_id is null"""
RETIRED = (
    "update rollout set state = 'dropped', drop_reason = 'task_lost', owner = null,"
    " lease_until = null, batch_id = null"
    " where run_id = :run and state in ('generated', 'judged', 'ready', 'claimed')",
    "delete from proposal_reference where admission_id in (select admission_id from admission"
    " where run_id = :run and state in ('open', 'leased'))",
    "delete from admission where run_id = :run and state in ('open', 'leased')",
)
"""After a measurement nothing waits."""


def grow(database: Database, run_id: int, *, num_tasks: int) -> None:
    """Lengthen the run's history to about so many tasks, and tell the planner of it."""
    with _transaction(database) as connection:
        each = num_tasks // len(MAIN_TYPES)
        known = _one(connection, "select count(*) from task where run_id = :run", run_id)
        slot = next_slot(connection, run_id)
        more = each - known // len(MAIN_TYPES)
        if more > 0:
            first, last = 3 * slot, 3 * (slot + more) - 1
            _run(connection, PROPOSED, {"run": run_id, "first": first, "last": last})
            facts = {"run": run_id, "first_slot": slot, "first_ordinal": known // len(MAIN_TYPES)}
            sizes, texts = {"tokens": TOKENS}, {"program": PROGRAM, "examples": EXAMPLES}
            _run(connection, PROPOSALS, facts | sizes)
            _run(connection, TASKS, facts | texts)
            _run(connection, SHOWN, facts)
            _run(connection, ATTEMPTED, facts)
            _run(connection, ATTEMPTS, facts | sizes)
            _run(connection, PAYLOADS, facts | _payload())
            _run(connection, FORGET_BLOCKS, facts)
            _run(connection, BLOCKS, facts)
            newest = last // PROPOSALS_PER_STEP + 1
            _run(connection, VERSIONS, {"run": run_id, "first": 1, "last": newest})
            _run(connection, LEARNER, facts)
    _settle(database)


def add_ready(database: Database, run_id: int, *, rows_per_cell: int, version: int) -> None:
    """Rows of each cell that only wait for a batch."""
    with _transaction(database) as connection:
        facts: dict[str, Any] = {
            "run": run_id,
            "slot": next_slot(connection, run_id),
            "version": version,
            "first": 0,
            "last": len(MAIN_TYPES) * rows_per_cell - 1,
            "task": _one(connection, "select max(task_id) from task where run_id = :run", run_id),
        }
        for role in Role:
            _run(connection, READY_ADMISSIONS, facts | {"role": role.value})
        _run(connection, READY, facts | {"tokens": TOKENS})
        _run(connection, PAYLOADS, facts | _payload())


def retire(database: Database, run_id: int) -> None:
    """Leave nothing waiting, so that the next measurement begins with empty queues."""
    with _transaction(database) as connection:
        for statement in RETIRED:
            _run(connection, statement, {"run": run_id})


def next_slot(connection: sa.Connection, run_id: int) -> int:
    """A slot that no admission of any cell has reached."""
    return _one(
        connection, "select coalesce(max(slot), -1) + 1 from admission where run_id = :run", run_id
    )


@contextmanager
def _transaction(database: Database) -> Generator[sa.Connection]:
    if isinstance(database, SqliteDatabase):
        engine = write_engine(database.path)
        try:
            with engine.connect() as connection:
                _run_outside(connection, CARELESS)
                with connection.begin():
                    yield connection
        finally:
            engine.dispose()
        return
    session = database.session()
    try:
        with session.transaction(NOT_TRACED) as connection:
            yield connection
    finally:
        session.close()


def _run_outside(connection: sa.Connection, statements: Sequence[str]) -> None:
    """Outside any transaction, which SQLAlchemy would begin."""
    driver: Any = connection.connection.driver_connection
    for statement in statements:
        driver.execute(statement).close()


def _settle(database: Database) -> None:
    """What a database does by itself over the days in which such a history grows."""
    if isinstance(database, SqliteDatabase):
        engine, statements = write_engine(database.path), ["PRAGMA wal_checkpoint(TRUNCATE)"]
    elif isinstance(database, PostgresDatabase):
        engine = database.engine(pool_size=1, isolation_level="AUTOCOMMIT")
        statements = ["VACUUM (ANALYZE)", "CHECKPOINT"]
    else:
        return
    try:
        with engine.connect() as connection:
            _run_outside(connection, statements)
    finally:
        engine.dispose()
    if isinstance(database, SqliteDatabase):  # else the first commits would wait for the disk
        with database.path.open("rb") as file:
            os.fsync(file.fileno())


def _payload() -> dict[str, Any]:
    """Tokens that compress as little as real ones."""
    drawn = random.Random(0)  # noqa: S311 -- filling
    ids = encode_ids([drawn.randrange(150_000) for _ in range(TOKENS)])
    logprobs = encode_logprobs([-drawn.random() for _ in range(TOKENS)], "float32")
    return {
        "codec": codec_name("float32"),
        "ids": ids,
        "logprobs": logprobs,
        "spans": [[0, 0, TOKENS]],
        "text": "x" * TOKENS,
    }


def _one(connection: sa.Connection, sql: str, run_id: int) -> int:
    return connection.execute(sa.text(sql), {"run": run_id}).scalar_one()


def _run(connection: sa.Connection, sql: str, facts: Mapping[str, Any]) -> None:
    names = sa.text(sql).compile().params
    json = [sa.bindparam(name, type_=sa.JSON()) for name in ("examples", "spans") if name in names]
    connection.execute(sa.text(sql).bindparams(*json), {name: facts[name] for name in names})
