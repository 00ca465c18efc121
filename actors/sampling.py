"""The sampling part of a node: a replica, and the actors that keep it busy.

The first sampling node of a run also fills the buffers before anybody plays, and
measures held-out accuracy before and after.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from actors.actor import LeasingActor, Topic
from actors.borrowing import borrowed
from actors.evaluator import Evaluator
from actors.proposer import Proposer
from actors.replayer import Replayer
from actors.roll_call import samples
from actors.seeder import fill_buffers
from actors.shared import Shared
from actors.solver import Solver
from azr.engine.canary import sample_canary
from azr.engine.replica import VllmReplica
from azr.engine.weight_backend import WeightBackend
from azr.membership import NodeState, RunPhase, replica_name
from azr.progress import replica_busy_metric, replica_tokens_metric
from azr.types import PolicyVersion

REPORT_SECONDS = 15.0
"""Between two reports of what this node's engine has done so far."""
ENOUGH_CORES = 4
"""A machine with so many starts an engine and a learner beside each other."""
HEAD_START_SECONDS = 60.0
"""For the learner of a smaller one, while the replicas of other nodes play on."""
LOOK_SECONDS = 1.0
"""Between two looks at whether anybody samples meanwhile."""
SILENT_HEARTBEATS = 3
"""Who has missed so many does not count as somebody who samples."""


@dataclass(kw_only=True, eq=False)
class Sampling:
    """Runs until the node is drained, or the run has finished."""

    shared: Shared
    learns_here: bool
    """The node has the run's learner too."""
    seeds: bool
    """This node fills the buffers and measures."""
    weight_backend: WeightBackend
    data_parallel: int
    """Copies of the weights behind the one engine."""

    async def run(self) -> None:
        """One life of the replica. Raises EngineError when it ends before its time."""
        shared = self.shared
        try:
            if self.learns_here and len(os.sched_getaffinity(0)) < ENOUGH_CORES:
                await let_learner_go_first(shared)
            if shared.drain.requested:
                return
            async with AsyncExitStack() as opened:
                # Its files are held until vLLM has read them.
                async with borrowed(shared.base, shared.directory.borrowed / shared.owner) as base:
                    version, folder = base
                    _, lineage = await shared.store.learner_position()
                    replica = await opened.enter_async_context(
                        VllmReplica.open(
                            folder,
                            shared.config,
                            name=replica_name(shared.name),
                            version=version,
                            lineage=lineage,
                            weight_backend=self.weight_backend,
                            data_parallel=self.data_parallel,
                        )
                    )
                await self._play(replica, version)
        finally:
            shared.sampling_over.set()

    async def _play(self, replica: VllmReplica, version: PolicyVersion) -> None:
        shared = self.shared
        canary = await sample_canary(replica)
        # What it was opened with may be older than what the others serve.
        replica.hold()
        serves = anyio.Event()

        def on_serving(proved: PolicyVersion) -> None:
            shared.clock.serving = proved
            shared.lineage = replica.lineage
            shared.wakeups.notify(Topic.CAPACITY)
            serves.set()

        replica.on_serving = on_serving
        shared.canary.put(canary)
        shared.replica.put(replica)
        try:
            shared.state = NodeState.PLAYING
            await shared.beat()
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._report, replica)
                await self._play_to_the_end(replica, version, serves)
                beside.cancel_scope.cancel()
            await self._say(replica)
        finally:
            shared.replica.take_back()

    async def _play_to_the_end(
        self, replica: VllmReplica, version: PolicyVersion, serves: anyio.Event
    ) -> None:
        """Keep the replica busy until there is nothing left to sample, nor to measure."""
        shared = self.shared
        if await shared.unless_drained(self._prepare, replica, serves):
            await shared.play(self._actors(replica))
        await shared.learning_over.wait()
        has_finished = await shared.store.phase() is RunPhase.FINISHED
        if self.seeds and has_finished and replica.version > version:
            await self._measure(replica)

    async def _report(self, replica: VllmReplica) -> None:
        """Say now and again what this node's engine has done: readers sum up all nodes."""
        while True:
            await self._say(replica)
            await anyio.sleep(REPORT_SECONDS)

    async def _say(self, replica: VllmReplica) -> None:
        done = replica.activity
        await self.shared.store.record_metrics(
            self.shared.clock.learner,
            {
                replica_busy_metric(replica.name): done.busy_seconds,
                replica_tokens_metric(replica.name): float(done.sampled_tokens),
            },
        )

    async def _prepare(self, replica: VllmReplica, serves: anyio.Event) -> bool:
        """Wait until weights are proved and the buffers are full; True then."""
        shared = self.shared
        await serves.wait()
        if self.seeds and await shared.store.phase() is RunPhase.SEEDING:
            if replica.version == 0:
                await self._measure(replica)
            sandbox = await shared.sandbox.get()
            fits = shared.fits(replica.count_tokens)
            await fill_buffers(shared.store, replica, sandbox, shared.config, fits)
            await shared.enter(RunPhase.PLAYING)
        await shared.until_phase(RunPhase.PLAYING, RunPhase.FINISHED)
        return True

    async def _measure(self, replica: VllmReplica) -> None:
        shared = self.shared
        evaluator = Evaluator(
            store=shared.store,
            engine=replica,
            sandbox=await shared.sandbox.get(),
            config=shared.config,
        )
        await evaluator.measure(replica.version)

    def _actors(self, replica: VllmReplica) -> list[tuple[LeasingActor, int]]:
        shared, counts = self.shared, self.shared.config.actors
        fits = shared.fits(replica.count_tokens)
        sources: list[tuple[LeasingActor, int]] = []
        play = shared.config.selfplay
        if play.propose:
            proposer = Proposer(
                store=shared.store,
                engine=replica,
                config=shared.config,
                fits=fits,
                clock=shared.clock,
                wakeups=shared.wakeups,
                owner=shared.owner,
            )
            sources.append((proposer, counts.propose_workers))
        if play.warmup_steps or not play.propose:
            replayer = Replayer(
                store=shared.store,
                config=shared.config,
                clock=shared.clock,
                wakeups=shared.wakeups,
            )
            sources.append((replayer, 1))
        solver = Solver(
            store=shared.store,
            engine=replica,
            config=shared.config,
            fits=fits,
            wakeups=shared.wakeups,
            owner=shared.owner,
        )
        return [*sources, (solver, counts.solve_workers)]


async def let_learner_go_first(shared: Shared) -> None:
    """Wait until this node's learner serves, while other nodes sample for it.

    Starting an engine beside it would take the cores that it needs, and the run goes on as
    soon as the learner does. Nobody else samples, or the learner takes too long: no waiting.
    """
    with anyio.move_on_after(HEAD_START_SECONDS):
        while not (shared.learner_serves.is_set() or shared.drain.requested):
            if not await _others_sample(shared):
                return
            with anyio.move_on_after(LOOK_SECONDS):
                await shared.learner_serves.wait()


async def _others_sample(shared: Shared) -> bool:
    silence_seconds = SILENT_HEARTBEATS * shared.config.cluster.heartbeat_seconds
    silent = {node.node_id for node in await shared.store.silent_nodes(silence_seconds)}
    return any(
        samples(node) and node.name != shared.name and node.node_id not in silent
        for node in await shared.store.nodes()
    )
