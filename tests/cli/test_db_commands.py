"""Laws of `azr db`: damage is found, exports are whole, and pruning keeps what is wanted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pyarrow import parquet

from azr.errors import AzrError
from azr.run_directory import RunDirectory, locked
from azr.store.browse import LOOPBACK, listening, site
from azr.store.health import INVARIANTS
from azr.store.questions import questions
from azr.store.views import VIEWS
from tests.cli.conftest import Azr


@contextmanager
def opened(run_dir: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(run_dir / "azr.sqlite")) as connection:
        yield connection
        connection.commit()


def ask(run_dir: Path, sql: str, *arguments: object) -> list[tuple]:
    with opened(run_dir) as connection:
        return connection.execute(sql, arguments).fetchall()


def broken(azr: Azr, run_dir: Path) -> list[str]:
    """What `azr db check` finds broken."""
    result = azr("db", "check", run_dir, "--json")
    found = [row["what must hold"] for row in json.loads(result.output) if row["status"] != "ok"]
    assert result.exit_code == (2 if found else 0)
    return found


def test_a_whole_database_passes_every_check(azr: Azr, run_dir: Path) -> None:
    assert broken(azr, run_dir) == []
    assert "trained" in azr("db", "check", run_dir).output


TRAINED = "(select max(rollout_id) from rollout where state = 'trained')"
DAMAGE = {
    "a dropped rollout has exactly one reason": "update rollout set drop_reason = 'stale'"
    " where state = 'ready'",
    "what is ready, claimed or trained has a reward": "update rollout set reward = null"
    " where rollout_id = TRAINED",
    "a trained rollout is one live row of one batch": "delete from batch_row"
    " where rollout_id = TRAINED",
    "a live row of a batch is a trained rollout": "update rollout set state = 'ready'"
    " where rollout_id = TRAINED",
    "a live row belongs to a surviving learner step": "update learner_step"
    " set state = 'rolled_back' where version = 2",
    "a claimed rollout belongs to an open batch": "update rollout set state = 'claimed'"
    " where state = 'ready'",
    "the rollout of an admission closes it": "update admission set state = 'open'",
    "a closed admission has its rollout": "insert into admission (run_id, role, task_type, slot,"
    " purpose, version, state, created_at) values (1, 'solve', 'deduction', 999, 'train', 0,"
    " 'done', 0)",
    "a lease has an owner and an end": "insert into admission (run_id, role, task_type, slot,"
    " purpose, version, state, created_at) values (1, 'solve', 'deduction', 999, 'train', 0,"
    " 'leased', 0)",
    "a rollout has its payload": "delete from rollout_payload where rollout_id = 1",
    "a task was proposed by a valid proposal": "update rollout set judgement = 'invalid'"
    " where role = 'propose' and state = 'trained'",
    "a valid proposal made a task": "update task set proposal_id = null where task_id ="
    " (select max(task_id) from task)",
    "the ordinals of a buffer have no gaps": "update task set ordinal = 999 where ordinal = 0",
    "a task counts its judged attempts": "update task set num_solved = num_solved + 1",
    "a proposal counts the attempts that measured it": "update rollout"
    " set num_measured = num_measured + 1 where num_measured is not null",
    "a staleness is no smaller than zero": "update batch_row set staleness = -1",
    "no row that may be trained on is of a version to come": "update runs"
    " set lineage = 1, learner_version = 0",
    "the run is of its newest lineage": "update runs set lineage = 3",
    "the versions that a replica proves only grow": "insert into replica_proof (run_id, replica,"
    " node_id, version, fingerprint, accepted, created_at)"
    " values (1, 'r', 'n', 5, '', true, 0), (1, 'r', 'n', 4, '', true, 0)",
    "a node that is over holds no lease": "insert into node (node_id, run_id, name, machine,"
    " address, pid, duties, state, lineage, started_at, seen_at)"
    " values ('n', 1, 'n', '', '', 1, '[]', 'fenced', 0, 0, 0);"
    " update rollout set owner = 'n', lease_until = 9e9 where state = 'generated'",
    "surviving policy versions have no gaps and end at the learner's": "update runs"
    " set learner_version = 7",
    "the schema is this version's": "drop view v_lineage",
    "every reference leads somewhere": "update rollout set batch_id = 999",
}


@pytest.mark.parametrize("name", list(DAMAGE))
def test_damage_is_found_and_named(azr: Azr, run_dir: Path, name: str) -> None:
    with opened(run_dir) as connection:
        connection.executescript(DAMAGE[name].replace("TRAINED", TRAINED))
    assert name in broken(azr, run_dir)


def test_every_invariant_is_known_to_find_something() -> None:
    assert set(INVARIANTS) <= set(DAMAGE)


def test_an_export_has_every_row_of_every_table(azr: Azr, run_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "parquet"
    assert azr("db", "export", run_dir, "--out", out).exit_code == 0
    tables = {file.stem: parquet.read_table(file) for file in out.glob("*")}
    assert {"runs", "task", "rollout", "rollout_payload", "batch_row"} <= set(tables)
    for name, table in tables.items():
        assert [(table.num_rows,)] == ask(run_dir, f"select count(*) from {name}")  # noqa: S608
    payload = tables["rollout_payload"].slice(0, 1).to_pylist()[0]
    assert payload["prompt_token_ids"] == [7, 8, 9]
    assert payload["behaviour_logprobs"] == [0, -0.25, -0.5, -0.75]
    assert tables["rollout"].column("role").unique().to_pylist() == ["propose", "solve"]


def arrays(run_dir: Path, state: str) -> int:
    """Rollouts in a state that have their tokens."""
    [(count,)] = ask(
        run_dir,
        "select count(*) from rollout join rollout_payload using (rollout_id)"
        " where state = ? and length(token_ids) > 0",
        state,
    )
    return count


def test_pruning_keeps_what_may_be_trained_on_again(azr: Azr, run_dir: Path) -> None:
    # Version 1 is the last checkpoint: a resumed run would train on step 2's rows again.
    before = {state: arrays(run_dir, state) for state in ("trained", "ready", "generated")}
    said = azr("db", "prune", run_dir, "--keep-steps", 0).output
    assert "up to step 1" in said
    assert "bytes smaller" in said
    assert arrays(run_dir, "trained") == before["trained"] // 2 > 0
    assert arrays(run_dir, "ready") == before["ready"] > 0
    assert arrays(run_dir, "generated") == before["generated"] > 0
    assert broken(azr, run_dir) == []


def test_pruning_keeps_texts_lineage_and_pages(azr: Azr, run_dir: Path) -> None:
    [(pruned,)] = ask(run_dir, "select max(rollout_id) from batch_row where batch_id = 1")
    shown = azr("tasks", "lineage", "--step", 1, "--db", run_dir).output
    azr("db", "prune", run_dir, "--keep-steps", 0)
    assert azr("tasks", "lineage", "--step", 1, "--db", run_dir).output == shown
    page = azr("why", pruned, "--db", run_dir).output
    assert "(its token ids were pruned)" in page
    assert "hm" in page


def test_pruning_twice_finds_nothing_and_a_dry_run_does_nothing(azr: Azr, run_dir: Path) -> None:
    first = azr("db", "prune", run_dir, "--keep-steps", 0, "--dry-run").output
    assert azr("db", "prune", run_dir, "--keep-steps", 0, "--dry-run").output == first
    azr("db", "prune", run_dir, "--keep-steps", 0)
    again = azr("db", "prune", run_dir, "--keep-steps", 0).output
    assert again.startswith("0 bytes of tokens of 0 rollouts")


def test_the_file_of_a_run_that_plays_is_pruned_but_not_rewritten(azr: Azr, run_dir: Path) -> None:
    with locked(RunDirectory(run_dir)):
        said = azr("db", "prune", run_dir, "--keep-steps", 0).output
    assert "can shrink when the run is over" in said


def test_a_pruned_run_exports(azr: Azr, run_dir: Path, tmp_path: Path) -> None:
    azr("db", "prune", run_dir, "--keep-steps", 0)
    azr("db", "export", run_dir, "--out", tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "rollout_payload.parquet")
    assert 0 < table.column("token_ids").null_count < table.num_rows


def test_upgrading_makes_the_views_again(azr: Azr, run_dir: Path) -> None:
    with opened(run_dir) as connection:
        connection.execute("drop view v_lineage")
    refusal = azr("db", "export", run_dir, "--out", run_dir / "out").exception
    assert isinstance(refusal, AzrError)
    assert "azr db upgrade" in refusal.hint
    assert "already at revision" in azr("db", "upgrade", run_dir).output
    assert broken(azr, run_dir) == []


async def test_the_browser_shows_tables_views_and_questions(run_dir: Path) -> None:
    pages = site(run_dir / "azr.sqlite")
    try:
        for name in ("task", *VIEWS, *questions()):
            answer = await pages.client.get(f"/azr/{name}.json?_shape=array")
            assert answer.status_code == 200, name
        step = await pages.client.get("/azr/step.json?step=1&_shape=array")
        assert {row["staleness"] for row in step.json()} == {0}
        wrote = await pages.client.get("/azr.json", params={"sql": "delete from task"})
        assert wrote.status_code == 400
    finally:
        for database in pages.databases.values():
            database.close()


def test_the_browser_is_for_this_machine_only_and_says_where() -> None:
    with listening(0) as (server, url):
        assert server.getsockname()[0] == LOOPBACK
        port = server.getsockname()[1]
        assert url == f"http://127.0.0.1:{port}/"
        server.listen()
        with pytest.raises(AzrError, match="cannot be used"), listening(port):
            pass
