"""The actors and the synchronous telling of Algorithm 1 are the same algorithm.

Real jail, real SQLite; a scripted engine whose answers depend on prompt and seed
only. `tests/e2e` repeats this with the real model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

from actors.actor import Drain, LeasingActor, PolicyClock, Wakeups, run_leasing
from actors.executor import Executor
from actors.learner import LearnActor
from actors.proposer import Proposer
from actors.seeder import fill_buffers
from actors.solver import Solver
from azr.buffers import Buffers
from azr.config import ActorSection, LearnerSection, RunConfig, RunSection, SelfPlaySection
from azr.sandbox import SandboxPool
from azr.seeding import Seeder
from azr.selfplay import SelfPlay
from azr.store import SqlStore
from azr.testing import CountingLearner, ScriptedEngine
from azr.types import Admission, Batch, PolicyVersion, StepResult
from tests.actors.scripts import play

STEPS = 3


def config(seed: int, reuse: Literal["all", "one"]) -> RunConfig:
    return RunConfig(
        run=RunSection(steps=STEPS, seed=seed),
        selfplay=SelfPlaySection(
            references=3, induction_pairs=4, attempts=3, seed_batches=2, solver_reuse=reuse
        ),
        learner=LearnerSection(batch_rollouts=4, max_staleness=0, checkpoint_every_steps=100),
        actors=ActorSection(propose_workers=1, solve_workers=1, execute_workers=1),
    )


def fits(prompt: str) -> bool:
    return len(prompt) < 2000


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


async def play_with_actors(
    run: RunConfig, sandbox: SandboxPool, database: Path
) -> list[tuple[Batch, float]]:
    engine, learner = ScriptedEngine(script=play), CountingLearner()
    drain, wakeups, clock = Drain(), Wakeups(), PolicyClock(learner=0, serving=0)
    losses: list[float] = []

    async def publish(version: PolicyVersion) -> None:
        engine.version = clock.serving = version

    async def keep(result: StepResult) -> None:
        losses.append(result.loss)

    async with SqlStore.open(f"sqlite:///{database}", run=run) as store:
        await fill_buffers(store, engine, sandbox, run, fits)
        shared: dict[str, Any] = {
            "store": store,
            "config": run,
            "fits": fits,
            "wakeups": wakeups,
            "owner": "test",
        }
        leasing: list[LeasingActor[Any]] = [
            Proposer(engine=engine, clock=clock, **shared),
            Solver(engine=engine, **shared),
            Executor(sandbox=sandbox, **shared),
        ]
        learn = LearnActor(
            store=store,
            learner=learner,
            config=run,
            clock=clock,
            wakeups=wakeups,
            drain=drain,
            publish=publish,
            gauges=dict,
            on_step=keep,
        )

        async def run_one(actor: LeasingActor[Any]) -> None:
            await run_leasing(actor, concurrency=1, wakeups=wakeups, drain=drain)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as actors:
                for actor in leasing:
                    actors.start_soon(run_one, actor)
                actors.start_soon(learn.run)
    return list(zip(learner.batches, losses, strict=True))


@pytest.mark.parametrize("reuse", ["all", "one"])
@pytest.mark.parametrize("seed", [0, 1])
async def test_without_staleness_the_actors_equal_algorithm_one(
    tmp_path: Path, seed: int, reuse: Literal["all", "one"]
):
    run = config(seed, reuse)
    async with SandboxPool.open(run.sandbox) as sandbox:
        told = await tell_synchronously(run, sandbox)
        played = await play_with_actors(run, sandbox, tmp_path / "azr.sqlite")
    assert len(told) == len(played) == STEPS
    for (told_batch, told_loss), (played_batch, played_loss) in zip(told, played, strict=True):
        assert essence(told_batch) == essence(played_batch)
        assert told_loss == played_loss
    assert any(row.reward > 0 for batch, _ in told for row in batch.trajectories)
