"""The actors and the synchronous telling of Algorithm 1 are the same algorithm.

Real jail, real SQLite; a scripted engine whose answers depend on prompt and seed
only. `tests/e2e` repeats this with the real model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from azr.buffers import Buffers
from azr.config import RunConfig
from azr.play_time import PLAYED_SECONDS_METRIC, PlayTime
from azr.quota import batch_rows
from azr.sandbox import SandboxPool
from azr.seeding import Seeder
from azr.selfplay import SelfPlay
from azr.store import SqlStore
from azr.testing import CountingLearner, ScriptedEngine
from azr.types import Admission, Batch
from tests.actors.playing import fits, play_with_actors
from tests.actors.scripts import play

pytestmark = pytest.mark.timeout(300)  # against hanging, on machines with much else to do

STEPS = 3
SMALL: dict[str, dict[str, object]] = {
    "run": {"steps": STEPS},
    "selfplay": {"references": 3, "induction_pairs": 4, "attempts": 3, "seed_batches": 2},
    "learner": {"batch_rollouts": 4, "max_staleness": 0, "checkpoint_every_steps": 100},
    "actors": {"propose_workers": 1, "solve_workers": 1, "execute_workers": 1},
}
SWITCHES: dict[str, dict[str, dict[str, object]]] = {
    "as it comes": {},
    "another seed": {"run": {"seed": 1}},
    "one attempt trains": {"selfplay": {"solver_reuse": "one"}},
    "deduction only": {"selfplay": {"task_types": ["deduction"]}},
    "all attempts train": {"learner": {"solve_rollouts": 12}},
    "fewer solve rows, one attempt trains": {
        "selfplay": {"solver_reuse": "one"},
        "learner": {"solve_rollouts": 3},
    },
    "annealed": {"learner": {"anneal_share": 0.8}},
    "programs once": {"selfplay": {"duplicate_by": "program"}},
    "against the task": {"learner": {"solve_rollouts": 7, "baseline": "task"}},
    "nobody proposes": {"selfplay": {"propose": False}, "learner": {"solve_rollouts": 7}},
    "the step before's tasks": {
        "selfplay": {"solver_reuse": "one", "solve_tasks": "lagged"},
        "learner": {"batch_rollouts": 5},
    },
    "recent references": {"selfplay": {"reference_sampling": "recency"}},
    "only tasks that teach": {"selfplay": {"task_filter": "non_extremes", "solver_reuse": "one"}},
    "warmed up": {"selfplay": {"warmup_steps": 2}},
    "rewards for looks": {
        "intrinsic": {
            "complexity": 0.5,
            "halstead": 0.5,
            "edit_distance": 0.3,
            "answer_diversity": 0.4,
            "input_diversity": 0.2,
            "output_diversity": 0.2,
            "combine": "multiply_sum",
        }
    },
    "building on programs": {"composites": {"chance": 0.7, "start_step": 1}},
    "no abduction": {"selfplay": {"task_types": ["induction", "deduction"]}},
    "errors too": {"selfplay": {"task_types": ["deduction", "abduction", "induction", "error"]}},
    "errors alone": {"selfplay": {"task_types": ["error"]}, "learner": {"solve_rollouts": 6}},
}
"""Ways to play, by what is different."""


def config(switches: Mapping[str, Mapping[str, object]]) -> RunConfig:
    return RunConfig.model_validate(
        {**switches, **{name: {**some, **switches.get(name, {})} for name, some in SMALL.items()}}
    )


def essence(batch: Batch) -> list[tuple[object, ...]]:
    """What must be equal: everything but database ids."""
    return [
        (str(row.cell), row.prompt_token_ids, row.token_ids, row.reward, row.staleness)
        for row in batch.trajectories
    ]


async def tell_synchronously(run: RunConfig, sandbox: SandboxPool) -> list[tuple[Batch, float]]:
    engine = ScriptedEngine(script=play)

    async def ignore(admission: Admission, completion: object, result: object) -> None:
        pass

    seeder = Seeder(engine=engine, sandbox=sandbox, config=run, fits=fits, on_rollout=ignore)
    buffers = Buffers(play=run.selfplay, root_seed=run.run.seed)
    for draft in await seeder.seed():
        buffers.add(draft, visible_from=0)
    game = SelfPlay(
        config=run,
        engine=engine,
        sandbox=sandbox,
        learner=CountingLearner(),
        fits=fits,
        buffers=buffers,
    )
    steps: list[tuple[Batch, float]] = []
    for _ in range(STEPS):
        batch, result = await game.synchronous_step()
        engine.version = game.version
        steps.append((batch, result.loss))
    return steps


@pytest.mark.parametrize("name", SWITCHES)
async def test_without_staleness_the_actors_equal_algorithm_one(tmp_path: Path, name: str):
    run = config(SWITCHES[name])
    async with SandboxPool.open(run.sandbox) as sandbox:
        told = await tell_synchronously(run, sandbox)
        played = await play_with_actors(
            run,
            sandbox,
            tmp_path / "azr.sqlite",
            learner=CountingLearner(),
            play_time=PlayTime(limit_seconds=0),
        )
    assert len(told) == len(played) == STEPS
    for (told_batch, told_loss), (played_batch, played_loss) in zip(told, played, strict=True):
        assert essence(told_batch) == essence(played_batch)
        assert told_loss == played_loss
        cells = Counter(row.cell for row in played_batch.trajectories)
        assert cells == batch_rows(run, played_batch.version)
    assert any(row.reward > 0 for batch, _ in told for row in batch.trajectories)


async def test_a_run_ends_with_the_step_in_which_its_time_is_used_up(tmp_path: Path):
    run, learner = config({}), CountingLearner()
    ten_seconds_a_step = PlayTime(
        limit_seconds=45, before_seconds=30, clock=lambda: 10.0 * len(learner.batches)
    )
    database = tmp_path / "azr.sqlite"
    async with SandboxPool.open(run.sandbox) as sandbox:
        played = await play_with_actors(
            run, sandbox, database, learner=learner, play_time=ten_seconds_a_step
        )
    assert len(played) == 2 < STEPS
    async with SqlStore.open(f"sqlite:///{database}", run=run) as store:
        assert await store.largest_metric(PLAYED_SECONDS_METRIC) == 50
        await store.recover(0)
        assert await store.largest_metric(PLAYED_SECONDS_METRIC) == 50, "undone time was played"
        assert await store.largest_metric("no such metric") is None
