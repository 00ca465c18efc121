"""Every actor of a node on a real store and a real jail, with a scripted model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from actors.actor import Drain, LeasingActor, PolicyClock, Wakeups, run_leasing
from actors.executor import Executor
from actors.learner import LearnActor
from actors.proposer import Proposer
from actors.replayer import Replayer
from actors.seeder import fill_buffers
from actors.solver import Solver
from azr.config import RunConfig
from azr.play_time import PlayTime
from azr.sandbox import SandboxPool
from azr.store import SqlStore
from azr.testing import CountingLearner, Script, ScriptedEngine
from azr.types import Batch, PolicyVersion, StepResult
from tests.actors.scripts import play

PLAY_SECONDS = 280.0
"""A deadline against hanging."""


def fits(prompt: str) -> bool:
    return len(prompt) < 2000


async def play_with_actors(
    run: RunConfig,
    sandbox: SandboxPool,
    database: Path,
    *,
    learner: CountingLearner,
    play_time: PlayTime,
    script: Script = play,
) -> list[tuple[Batch, float]]:
    engine = ScriptedEngine(script=script)
    drain, wakeups, clock = Drain(), Wakeups(), PolicyClock(learner=0, serving=0)
    losses: list[float] = []

    async def publish(version: PolicyVersion) -> None:
        engine.version = clock.serving = version

    async def attend() -> None:
        """There is one replica, and it stays."""

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
        proposer = Proposer(engine=engine, clock=clock, **shared)
        replayer = Replayer(store=store, config=run, clock=clock, wakeups=wakeups)
        sources: list[LeasingActor[Any]] = [proposer] if run.selfplay.propose else []
        if run.selfplay.warmup_steps or not run.selfplay.propose:
            sources.append(replayer)
        leasing: list[LeasingActor[Any]] = [
            *sources,
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
            attend=attend,
            gauges=dict,
            on_step=keep,
            play_time=play_time,
        )

        async def run_one(actor: LeasingActor[Any]) -> None:
            await run_leasing(actor, concurrency=1, wakeups=wakeups, drain=drain)

        with anyio.fail_after(PLAY_SECONDS):
            async with anyio.create_task_group() as actors:
                for actor in leasing:
                    actors.start_soon(run_one, actor)
                actors.start_soon(learn.run)
    return list(zip(learner.batches, losses, strict=True))
