"""What people ask is answered alike by SQLite and PostgreSQL, and neither can be written."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from azr.errors import StoreError
from azr.seeding import identity_draft
from azr.store import SqlStore
from azr.store.engine import database_path
from azr.store.export import count_rows, export_table, tables
from azr.store.health import examine
from azr.store.history import History, open_history
from azr.store.history.buffers import Order, TaskFilter, list_tasks, task_life
from azr.store.history.life import rollout_life
from azr.store.history.lineage import of_rollout, of_step
from azr.store.history.statements import Answer, ask, ask_question, relations
from azr.store.maintenance import prune, upgrade
from azr.store.private_server import PrivateServer
from azr.store.prune import last_prunable_step, prunable
from azr.store.questions import questions
from azr.store.views import MEANINGS, VIEWS
from azr.task_types import MAIN_TYPES
from tests.store.store_play import Clock, Player, config

MANY = 10_000
PATIENCE = 60.0


async def play(url: str, clock: Clock) -> None:
    """Two steps, a checkpoint of the first, a rejected proposal and one that waits."""
    async with SqlStore.open(url, run=config(), clock=clock) as store:
        player = Player(store)
        await store.add_seed_tasks([identity_draft(kind, num_pairs=4) for kind in MAIN_TYPES])
        await player.seed()
        for version in range(2):
            clock.now += 60
            await player.step(version=version)
        await store.mark_durable(1, "checkpoints/1")
        await player.reject(await player.propose(version=2))
        await player.propose(version=2)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """For tests that only read."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('played') / 'azr.sqlite'}"
    else:
        url = request.getfixturevalue("server").create("played")
    asyncio.run(play(url, Clock()))
    return url


@pytest.fixture
def mine(played: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A copy of it, for tests that write."""
    if played.startswith("sqlite"):
        yield f"sqlite:///{shutil.copy(database_path(played), tmp_path / 'azr.sqlite')}"
        return
    server: PrivateServer = request.getfixturevalue("server")
    yield server.create("mine", template="played")
    server.drop("mine")


def answer(history: History, sql: str, *, timeout_seconds: float = PATIENCE) -> Answer:
    return ask(history, sql, max_rows=MANY, timeout_seconds=timeout_seconds)


def one(history: History, sql: str) -> int:
    [(value,)] = answer(history, sql).rows
    return value


def test_every_question_runs_on_both_databases(played: str) -> None:
    with open_history(played) as history:
        for question in questions().values():
            found = ask_question(history, question, max_rows=MANY, timeout_seconds=PATIENCE)
            assert found.columns
            assert found.complete


WRITES = (
    "delete from task",
    "with gone as (delete from task returning 1) select * from gone",
    "select 1; delete from task",
    "select 1; commit; delete from task",
    "explain analyze delete from task",
    "create table mine (x int)",
    "pragma query_only = off",
    "attach 'other.sqlite' as other",
    "copy task to '/tmp/tasks'",
    "set transaction read write",
)


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_can_be_written(played: str, sql: str) -> None:
    with open_history(played) as history:
        tasks = one(history, "select count(*) from task")
        # SQLite explains a deletion without doing it; everything else is refused.
        if history.connection.dialect.name == "sqlite" and sql.startswith("explain"):
            sql = sql.replace("analyze ", "query plan ")
        with pytest.raises(StoreError):
            answer(history, sql)
    with open_history(played) as history:
        assert one(history, "select count(*) from task") == tasks
        assert len(relations(history)) == len([r for r in relations(history) if r.meaning])


def test_text_of_a_query_means_what_the_database_says(played: str) -> None:
    with open_history(played) as history:
        assert answer(history, "select '50%', '12:30', ':run', '%(x)s'").rows == [
            ("50%", "12:30", ":run", "%(x)s")
        ]


def test_a_mistake_names_what_there_is_and_the_next_query_works(played: str) -> None:
    with open_history(played) as history:
        with pytest.raises(StoreError) as refusal:
            answer(history, "select * from tasks")
        assert "Did you mean task" in refusal.value.hint
        with pytest.raises(StoreError) as refusal:
            answer(history, "select solverate from task")
        assert "solve_rate" in refusal.value.hint
        assert one(history, "select 1") == 1


def test_a_query_is_stopped_when_its_time_is_over(played: str) -> None:
    endless = "with recursive n(i) as (select 1 union all select i from n) select sum(i) from n"
    with open_history(played) as history, pytest.raises(StoreError, match="longer than"):
        answer(history, endless, timeout_seconds=0.05)


def test_every_view_has_a_meaning() -> None:
    assert set(MEANINGS) == set(VIEWS)


def test_tasks_are_listed_in_every_order_and_shown_whole(played: str) -> None:
    with open_history(played) as history:
        lists = [list_tasks(history, TaskFilter(order=order, limit=MANY)) for order in Order]
        assert {frozenset(task.task_id for task in found) for found in lists} == {
            frozenset(task.task_id for task in lists[0])
        }
        [task, *_] = list_tasks(history, TaskFilter(first_version=1, min_solve_rate=0.5))
        life = task_life(history, task.task_id)
        assert [(row.version, row.num_attempts) for row in life.record] == [(1, 2)]
        for parent in life.references:
            children = task_life(history, parent.task_id).children
            assert task.task_id in {child.task_id for child in children}


def test_a_step_descends_from_the_identity_triplet(played: str) -> None:
    with open_history(played) as history:
        for step in (1, 2):
            descent = of_step(history, step)
            path = descent.shortest_path_to_identity()
            assert path[0] in descent.starts
            assert descent.tasks[path[-1]].is_identity
        with pytest.raises(StoreError, match="no learner step 3"):
            of_step(history, 3)


def test_a_rejected_proposal_descends_from_what_it_was_shown(played: str) -> None:
    with open_history(played) as history:
        rejected = one(history, "select max(rollout_id) from rollout where verdict = 'timeout'")
        life = rollout_life(history, rejected)
        assert life.admission is not None
        assert set(of_rollout(history, rejected).starts) == set(life.admission.references)


async def test_a_life_tells_of_batches_that_were_undone(mine: str, clock: Clock) -> None:
    with open_history(mine) as history:
        row = one(history, "select max(rollout_id) from batch_row where batch_id = 2")
    async with SqlStore.open(mine, run=config(), clock=clock) as store:
        await store.recover(1)
        await store.claim_batch(version=1)
    with open_history(mine) as history:
        first, second = rollout_life(history, row).batches
    assert (first.step, first.live, first.step_state) == (2, False, "rolled_back")
    assert (second.step, second.advantage, second.state) == (None, None, "claimed")


def test_a_whole_database_has_nothing_to_complain_of(played: str) -> None:
    with open_history(played) as history:
        assert [finding for finding in examine(history) if not finding.is_well] == []


def test_an_export_is_complete(played: str, tmp_path: Path) -> None:
    with open_history(played) as history:
        for table in tables():
            exported = export_table(history, table, tmp_path, advance=lambda _: None)
            assert exported.num_rows == count_rows(history, table)
            assert parquet.read_table(exported.file).column_names == table.columns.keys()
    assert list(tmp_path.glob("*.unfinished")) == []


def test_pruning_drops_what_it_said_and_only_below_the_checkpoint(mine: str) -> None:
    with open_history(mine) as history:
        run_id = history.run_id or 0
        assert last_prunable_step(history.connection, run_id, keep_steps=0) == 1
        assert last_prunable_step(history.connection, run_id, keep_steps=5) == -3
        planned = prunable(history.connection, run_id, 1)
    assert prune(mine, run_id, 1, advance=lambda _: None) == planned
    assert planned.num_rollouts > 0
    with open_history(mine) as history:
        assert prunable(history.connection, run_id, 1).num_rollouts == 0
        pruned = "select count(*) from rollout_payload where codec = 'pruned'"
        assert one(history, pruned) == planned.num_rollouts
        ready = "select count(*) from rollout join rollout_payload using (rollout_id)"
        assert one(history, f"{ready} where state = 'ready' and codec = 'pruned'") == 0


async def test_a_pruned_run_goes_back_and_trains_on(mine: str, clock: Clock) -> None:
    with open_history(mine) as history:
        run_id = history.run_id or 0
    prune(mine, run_id, 1, advance=lambda _: None)
    async with SqlStore.open(mine, run=config(), clock=clock) as store:
        await store.recover(1)
        batch = await store.claim_batch(version=1)
    assert batch is not None
    assert all(row.token_ids == (0, 1, 2, 3) for row in batch.trajectories)


def test_upgrading_an_upgraded_database_changes_nothing(mine: str) -> None:
    before, after = upgrade(mine)
    assert before == after is not None
