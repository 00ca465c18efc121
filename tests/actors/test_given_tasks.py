"""Runs whose tasks are given: a seed file starts the buffers, and nobody need propose."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from actors.seeder import fill_buffers
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.play_time import PlayTime
from azr.sandbox import SandboxPool
from azr.store import SqlStore
from azr.testing import CountingLearner, ScriptedEngine
from azr.types import Role, SamplingRequest, TaskType
from tests.actors.playing import fits, play_with_actors
from tests.actors.scripts import play

pytestmark = pytest.mark.timeout(300)  # against hanging, on machines with much else to do

STEPS, SOLVE_ROLLOUTS, ATTEMPTS, BOUND = 5, 6, 3, 2


def seed_file(path: Path, *programs: str) -> Path:
    rows = [{"snippet": program, "input": "3", "output": "?"} for program in programs]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def adding(number: int) -> str:
    return f"def f(a):\n    return a + {number}"


def config(file: Path, **selfplay: object) -> RunConfig:
    return RunConfig.model_validate(
        {
            "run": {"steps": STEPS},
            "selfplay": {
                "seed_file": str(file),
                "task_types": ["deduction", "abduction"],
                "attempts": ATTEMPTS,
                **selfplay,
            },
            "learner": {
                "solve_rollouts": SOLVE_ROLLOUTS,
                "max_staleness": BOUND,
                "baseline": "task",
                "checkpoint_every_steps": 100,
            },
        }
    )


def asked(database: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


async def test_without_proposers_the_buffers_are_replayed_within_the_bound(tmp_path: Path):
    run = config(seed_file(tmp_path / "seeds.jsonl", *map(adding, range(9))), propose=False)
    database = tmp_path / "azr.sqlite"
    async with SandboxPool.open(run.sandbox) as sandbox:
        played = await play_with_actors(
            run,
            sandbox,
            database,
            learner=CountingLearner(),
            play_time=PlayTime(limit_seconds=0),
        )
    assert len(played) == STEPS
    for batch, _ in played:
        assert {row.cell.role for row in batch.trajectories} == {Role.SOLVE}
        assert len(batch.trajectories) == 2 * SOLVE_ROLLOUTS
        assert max(row.staleness for row in batch.trajectories) <= BOUND
        attempts = Counter(row.group for row in batch.trajectories).values()
        assert all(count % ATTEMPTS == 0 for count in attempts), "whole groups"
    assert asked(database, "select count(*) from rollout where state = 'dropped'") == [(0,)]
    [(admitted,)] = asked(database, "select count(*) from admission")
    assert admitted <= 2 * SOLVE_ROLLOUTS * (STEPS + BOUND + 1)


async def test_a_seed_file_starts_the_buffers_of_what_is_played(tmp_path: Path):
    broken = "def f(a):\n    return a / 0"
    run = config(seed_file(tmp_path / "seeds.jsonl", adding(1), broken, adding(2), adding(1)))
    engine = ScriptedEngine(script=play)
    database = tmp_path / "azr.sqlite"
    async with (
        SandboxPool.open(run.sandbox) as sandbox,
        SqlStore.open(f"sqlite:///{database}", run=run) as store,
    ):
        await fill_buffers(store, engine, sandbox, run, fits)
        await fill_buffers(store, engine, sandbox, run, fits)  # once per run
        sizes = await store.buffer_sizes()
    assert engine.requests == []
    assert sizes == {TaskType.DEDUCTION: 2, TaskType.ABDUCTION: 2, TaskType.INDUCTION: 0}
    [(output,)] = asked(database, "select distinct examples from task where program like '%+ 2'")
    assert json.loads(output) == [["3", "5"]], "the jail's output, not the file's"
    [(facts,)] = asked(database, "select facts from event where kind = 'seed_file_finished'")
    assert json.loads(facts) == {"tasks": 4, "refused": 1}


async def test_a_file_that_leaves_a_type_without_tasks_is_refused(tmp_path: Path):
    run = config(seed_file(tmp_path / "seeds.jsonl", "def f(a):\n    return a / 0"))
    async with (
        SandboxPool.open(run.sandbox) as sandbox,
        SqlStore.open(f"sqlite:///{tmp_path}/azr.sqlite", run=run) as store,
    ):
        with pytest.raises(ConfigError, match=r"valid deduction task; line 1: runtime_error"):
            await fill_buffers(store, ScriptedEngine(script=play), sandbox, run, fits)
        assert not any((await store.buffer_sizes()).values())


async def test_a_seed_file_without_errors_still_starts_their_buffer(tmp_path: Path):
    file = seed_file(tmp_path / "seeds.jsonl", *map(adding, range(3)))
    for name, types in {"beside": ["abduction", "error"], "alone": ["error"]}.items():
        run = config(file, task_types=types, seed_batches=1)
        async with (
            SandboxPool.open(run.sandbox) as sandbox,
            SqlStore.open(f"sqlite:///{tmp_path}/{name}.sqlite", run=run) as store,
        ):
            await fill_buffers(store, ScriptedEngine(script=play), sandbox, run, fits)
            sizes = await store.buffer_sizes()
        assert sizes[TaskType.ERROR] > 9
        assert sizes[TaskType.ABDUCTION] == (3 if name == "beside" else 0)
        assert sizes[TaskType.DEDUCTION] == 0, "only what is played"


async def test_error_rows_of_a_file_are_its_error_tasks(tmp_path: Path):
    file = seed_file(tmp_path / "seeds.jsonl", adding(1))
    failing = {"snippet": adding(2), "input": "'a'", "error": "ValueError"}
    file.write_text(file.read_text() + json.dumps(failing))
    run = config(file, task_types=["deduction", "error"])
    database = tmp_path / "azr.sqlite"
    async with (
        SandboxPool.open(run.sandbox) as sandbox,
        SqlStore.open(f"sqlite:///{database}", run=run) as store,
    ):
        await fill_buffers(store, ScriptedEngine(script=play), sandbox, run, fits)
    [(examples,)] = asked(database, "select examples from task where task_type = 'error'")
    assert json.loads(examples) == [["'a'", '"TypeError"']], "the jail's class, not the file's"


async def test_a_run_that_began_without_errors_says_so_instead_of_waiting(tmp_path: Path):
    file = seed_file(tmp_path / "seeds.jsonl", adding(1))
    database = f"sqlite:///{tmp_path}/azr.sqlite"
    for types in (["deduction"], ["deduction", "error"]):
        run = config(file, task_types=types)
        async with (
            SandboxPool.open(run.sandbox) as sandbox,
            SqlStore.open(database, run=run) as store,
        ):
            if len(types) == 1:
                await fill_buffers(store, ScriptedEngine(script=play), sandbox, run, fits)
                continue
            with pytest.raises(ConfigError, match="began without error tasks"):
                await fill_buffers(store, ScriptedEngine(script=play), sandbox, run, fits)


async def test_errors_that_never_validate_train_on_their_seeds(tmp_path: Path):
    """The proposer of errors knows only programs that run; its solvers are fed all the same."""

    def harmless(request: SamplingRequest) -> str:
        if request.prompt.startswith("propose"):
            number = len(request.prompt) + (request.seed or 0) % 97
            body = f"```python\n{adding(number)}\n```\n```input\n3\n```\n"
            return f"hm</think><answer>{body}</answer>"
        return "hm</think><answer>```output\nTypeError\n```\n</answer>"

    run = RunConfig.model_validate(
        {
            "run": {"steps": 3},
            "selfplay": {
                "task_types": ["deduction", "error"],
                "attempts": 2,
                "seed_batches": 2,
                "reject_duplicates": False,
            },
            "learner": {"batch_rollouts": 4, "max_staleness": 1, "checkpoint_every_steps": 100},
        }
    )
    database = tmp_path / "azr.sqlite"
    async with SandboxPool.open(run.sandbox) as sandbox:
        played = await play_with_actors(
            run,
            sandbox,
            database,
            learner=CountingLearner(),
            play_time=PlayTime(limit_seconds=0),
            script=harmless,
        )
    assert len(played) == 3
    for batch, _ in played:
        cells = Counter(str(row.cell) for row in batch.trajectories)
        assert cells == dict.fromkeys(
            ["propose/deduction", "propose/error", "solve/deduction", "solve/error"], 4
        )
    verdicts = "select distinct verdict from rollout where purpose = 'train' and role = 'propose'"
    assert asked(database, verdicts + " and task_type = 'error' and judged_at > 0") == [
        ("no_error",)
    ]
    seeds = "select distinct origin from task where task_type = 'error'"
    assert asked(database, seeds) == [("seed",)]
