"""One process of a run: builds the parts, starts the actors, and stops them.

The node owns a replica (vLLM), the jails, the learner's process and the store, and
hosts every actor in one task group on one event loop. Only this module knows
concrete adapters; an actor is handed ports. The order of start and stop is the
order of the `async with` lines, so that whatever fails, the rest is closed.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from actors.actor import Drain, LeasingActor, PolicyClock, Topic, Wakeups, run_leasing
from actors.cpu_time import tree_cpu_seconds
from actors.evaluator import Evaluator
from actors.executor import Executor
from actors.learner import LearnActor
from actors.metrics_log import MetricsLog
from actors.proposer import Proposer
from actors.publisher import Publisher
from actors.replayer import Replayer
from actors.seeder import fill_buffers
from actors.sentinel import Sentinel
from actors.solver import Solver
from actors.together import opened_together
from azr.config import RunConfig
from azr.diagnosis.follow import Follower
from azr.engine.canary import sample_canary
from azr.engine.replica import VllmReplica
from azr.engine.weight_channel import GlooWeightChannel
from azr.judging import Fits
from azr.learner.link import LearnerProcess
from azr.model_path import resolve_model
from azr.play_time import PLAYED_SECONDS_METRIC, PlayTime
from azr.progress import BUSY_SECONDS_METRIC, CPU_SECONDS_METRIC
from azr.run_directory import RunDirectory
from azr.sandbox import SandboxPool
from azr.store import SqlStore
from azr.types import PolicyVersion, StepResult

log = logging.getLogger(__name__)

DRAIN_SECONDS = 60.0
"""How long held work may take once draining; then it is aborted and its leases return."""
HEARTBEATS_PER_LEASE = 3


@dataclass(kw_only=True, eq=False)
class Parts:
    """The adapters of a node, open."""

    store: SqlStore
    sandbox: SandboxPool
    learner: LearnerProcess
    replica: VllmReplica
    channel: GlooWeightChannel
    version: PolicyVersion


@dataclass(kw_only=True, eq=False)
class Node:
    """Runs a config in a run directory until its last step, or until drained."""

    config: RunConfig
    directory: RunDirectory
    owner: str = field(default_factory=lambda: f"node-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    """Incarnation id: leases and events carry it."""
    drain: Drain = field(default_factory=Drain)
    wakeups: Wakeups = field(default_factory=Wakeups)
    _started_at: float = field(default_factory=time.monotonic)

    async def run(self) -> PolicyVersion:
        """The version reached. Raises AzrError for expected failures."""
        async with self._parts() as parts:
            clock = PolicyClock(learner=parts.version, serving=parts.version)
            fits = self._fits(parts.replica)
            await parts.store.record_event("node_started", owner=self.owner, version=parts.version)
            await parts.store.record_event(
                "sandbox_opened", owner=self.owner, **parts.sandbox.facts
            )
            publisher = Publisher(
                store=parts.store, channel=parts.channel, clock=clock, wakeups=self.wakeups
            )
            await publisher.publish(parts.version)
            evaluator = Evaluator(
                store=parts.store, engine=parts.replica, sandbox=parts.sandbox, config=self.config
            )
            if parts.version == 0:
                await self._unless_drained(evaluator.measure, parts.version)
            await self._unless_drained(self._seed, parts, fits)
            finished = False
            if not self.drain.requested:
                finished = await self._play(parts, clock, publisher, fits)
            if finished and clock.learner > parts.version:
                await evaluator.measure(clock.learner)
            await parts.store.record_event("node_stopped", owner=self.owner, version=clock.learner)
            return clock.learner

    @asynccontextmanager
    async def _parts(self) -> AsyncGenerator[Parts]:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(SqlStore.open(self._url, run=self.config))
            durable = await store.latest_durable()
            version, path = durable or (0, str(resolve_model(self.config.run.model)))
            await store.recover(version)
            model = Path(path)
            sandbox, learner, replica = await stack.enter_async_context(
                opened_together(
                    SandboxPool.open(self.config.sandbox),
                    LearnerProcess.open(model, self.config, self.directory.root),
                    VllmReplica.open(str(model), self.config, name="replica-0", version=version),
                )
            )
            channel = GlooWeightChannel(
                learner,
                [replica],
                engine=self.config.engine,
                canary=await sample_canary(replica),
                record=store.record_proof,
            )
            yield Parts(
                store=store,
                sandbox=sandbox,
                learner=learner,
                replica=replica,
                channel=channel,
                version=version,
            )

    @property
    def _url(self) -> str:
        """The run's database."""
        return self.config.store.url or f"sqlite:///{self.directory.database}"

    async def _seed(self, parts: Parts, fits: Fits) -> None:
        await fill_buffers(parts.store, parts.replica, parts.sandbox, self.config, fits)

    async def _unless_drained[*Ts](
        self, work: Callable[[*Ts], Awaitable[None]], *arguments: *Ts
    ) -> None:
        """Work that the next start can do again: a drain cancels it."""

        async def stop_on_drain(working: anyio.CancelScope) -> None:
            await self.drain.wait()
            working.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_drain, tasks.cancel_scope)
            await work(*arguments)
            tasks.cancel_scope.cancel()

    async def _play(
        self, parts: Parts, clock: PolicyClock, publisher: Publisher, fits: Fits
    ) -> bool:
        """Run the actors until the learner is done; then let held work finish.

        False if a drain cut the run short.
        """
        before = await parts.store.largest_metric(PLAYED_SECONDS_METRIC)
        play_time = PlayTime.of_minutes(self.config.run.minutes, before_seconds=before or 0.0)
        follower = Follower(self._url, parts.store.run_id)
        sentinel = Sentinel(store=parts.store, look=follower.look)
        learn = self._learn_actor(parts, clock, publisher, play_time, sentinel)
        async with anyio.create_task_group() as supervisors:
            supervisors.start_soon(self._heartbeat, parts.store)
            supervisors.start_soon(self._spread_news, parts.store)
            supervisors.start_soon(sentinel.run)
            async with anyio.create_task_group() as actors:
                supervisors.start_soon(self._abort_after_drain, actors.cancel_scope)
                for actor, concurrency in self._leasing_actors(parts, clock, fits):
                    actors.start_soon(self._run_actor, actor, concurrency)
                actors.start_soon(learn.run)
            supervisors.cancel_scope.cancel()
        await sentinel.catch_up()
        await parts.store.release(self.owner)
        return learn.finished

    def _leasing_actors(
        self, parts: Parts, clock: PolicyClock, fits: Fits
    ) -> list[tuple[LeasingActor, int]]:
        counts = self.config.actors
        source: tuple[LeasingActor, int]
        if self.config.selfplay.propose:
            proposer = Proposer(
                store=parts.store,
                engine=parts.replica,
                config=self.config,
                fits=fits,
                clock=clock,
                wakeups=self.wakeups,
                owner=self.owner,
            )
            source = (proposer, counts.propose_workers)
        else:
            replayer = Replayer(
                store=parts.store, config=self.config, clock=clock, wakeups=self.wakeups
            )
            source = (replayer, 1)
        solver = Solver(
            store=parts.store,
            engine=parts.replica,
            config=self.config,
            fits=fits,
            wakeups=self.wakeups,
            owner=self.owner,
        )
        executor = Executor(
            store=parts.store,
            sandbox=parts.sandbox,
            config=self.config,
            fits=fits,
            wakeups=self.wakeups,
            owner=self.owner,
        )
        return [
            source,
            (solver, counts.solve_workers),
            (executor, counts.execute_workers),
        ]

    def _learn_actor(
        self,
        parts: Parts,
        clock: PolicyClock,
        publisher: Publisher,
        play_time: PlayTime,
        sentinel: Sentinel,
    ) -> LearnActor:
        metrics_log = MetricsLog(self.directory.metrics)

        async def on_step(result: StepResult) -> None:
            await metrics_log.append(result)
            sentinel.notice()

        def gauges() -> dict[str, float]:
            pool = parts.sandbox.statistics
            return {
                "sandbox/queued_validation": float(pool.queued_validation),
                "sandbox/queued_grading": float(pool.queued_grading),
                "sandbox/jobs": float(pool.jobs),
                "sandbox/failed_jails": float(pool.failed_jails),
                BUSY_SECONDS_METRIC: parts.replica.activity.busy_seconds,
                "engine/sampled_tokens": float(parts.replica.activity.sampled_tokens),
                CPU_SECONDS_METRIC: tree_cpu_seconds(os.getpid()),
                "node/uptime_seconds": time.monotonic() - self._started_at,
            }

        return LearnActor(
            store=parts.store,
            learner=parts.learner,
            config=self.config,
            clock=clock,
            wakeups=self.wakeups,
            drain=self.drain,
            publish=publisher.publish,
            gauges=gauges,
            on_step=on_step,
            play_time=play_time,
        )

    async def _run_actor(self, actor: LeasingActor, concurrency: int) -> None:
        await run_leasing(actor, concurrency=concurrency, wakeups=self.wakeups, drain=self.drain)

    async def _heartbeat(self, store: SqlStore) -> None:
        """Extend this node's leases for as long as its loop is alive."""
        while True:
            await anyio.sleep(self.config.actors.lease_seconds / HEARTBEATS_PER_LEASE)
            await store.renew(self.owner)

    async def _spread_news(self, store: SqlStore) -> None:
        """Wake this node's actors for what other nodes commit."""
        async with aclosing(store.news()) as heard:
            async for news in heard:
                self.wakeups.notify(*(Topic[each.name] for each in news))

    async def _abort_after_drain(self, actors: anyio.CancelScope) -> None:
        """Give held work its time to finish, then abort it; its leases return."""
        await self.drain.wait()
        await anyio.sleep(DRAIN_SECONDS)
        actors.cancel()

    def _fits(self, replica: VllmReplica) -> Fits:
        limit = self.config.prompts.max_prompt_tokens
        return lambda prompt: replica.count_tokens(prompt) <= limit
