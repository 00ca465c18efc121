"""A look at a run does not take longer because the run has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from azr.report.moment import RunReader
from azr.store.bench import grow, prepare
from azr.store.engine import open_database
from azr.store.history import open_history
from azr.store.sqlite import DRIVER

STEPS = """
    insert into batch (run_id, version, state, claimed_at)
    select run_id, version - 1, 'trained', 192 * version from policy_version
    where version > (select coalesce(max(version), 0) from learner_step)"""
COMMITS = """
    insert into learner_step (run_id, batch_id, version, state, loss, metrics, committed_at)
    select run_id, batch_id, version + 1, 'live', 0.1, '{}', claimed_at from batch
    where version + 1 > (select coalesce(max(version), 0) from learner_step)"""


def lengthen(path: Path, run_id: int, num_tasks: int) -> None:
    """A history of so many tasks, each with a proposal, an attempt, and steps of 192."""
    grow(open_database(path), run_id, num_tasks=num_tasks)
    connection = DRIVER.connect(path)
    connection.execute(STEPS)
    connection.execute(COMMITS)
    connection.commit()
    connection.close()


def instructions(reader: RunReader, path: Path) -> int:
    """What SQLite's machine executes for a look: the same on every computer."""
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    with open_history(path) as history:
        driver: Any = history.connection.connection.driver_connection
        driver.set_progress_handler(counted, 10)
        reader.look_at(history)
        driver.set_progress_handler(None, 0)
    return 10 * count


def test_a_second_look_reads_what_is_new_however_long_the_history(tmp_path: Path) -> None:
    path = tmp_path / "azr.sqlite"
    run_id = prepare(f"sqlite:///{path}")
    costs: list[int] = []
    for num_tasks in (1_200, 12_000):
        lengthen(path, run_id, num_tasks)
        lengthen(path, run_id, num_tasks + 600)  # what is new comes last
        reader = RunReader(database=path)
        reader.look()
        costs.append(instructions(reader, path))
    assert costs[1] < 1.5 * costs[0]


def test_a_reader_says_the_same_at_every_look(tmp_path: Path) -> None:
    path = tmp_path / "azr.sqlite"
    run_id = prepare(f"sqlite:///{path}")
    reader = RunReader(database=path)
    for num_tasks in (600, 1_200):
        lengthen(path, run_id, num_tasks)
        again, fresh = reader.look(), RunReader(database=path).look()
        assert again.progress == fresh.progress
        assert sum(fresh.progress.dropped.values()) == num_tasks // 2
    assert reader.look().events == []
