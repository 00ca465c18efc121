"""The learning part of a node: the learner's process, its channel to the replicas, the steps.

One life of it goes from a checkpoint to its end. If the learner's process dies, the next
life goes back to the newest checkpoint and begins a new lineage; the replicas, here and
elsewhere, play on meanwhile and are brought to it.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from actors.benchmarker import Benchmarker, evaluation_command
from actors.cpu_time import tree_cpu_seconds
from actors.learner import LearnActor
from actors.metrics_log import MetricsLog
from actors.publisher import Publisher
from actors.roll_call import Reach, RollCall, sampled_canary
from actors.sentinel import Sentinel
from actors.shared import Shared
from azr.diagnosis.follow import Follower
from azr.engine.weight_backend import WeightBackend
from azr.engine.weight_channel import GlooWeightChannel
from azr.learner.link import LearnerProcess
from azr.membership import ReplicaProof, RunPhase
from azr.play_time import PLAYED_SECONDS_METRIC, PlayTime
from azr.progress import BUSY_SECONDS_METRIC, CPU_SECONDS_METRIC, SAMPLED_TOKENS_METRIC
from azr.types import Lineage, PolicyVersion, StepResult

log = logging.getLogger(__name__)

SEEDING_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRoute:
    """How weights leave the learner's node, and on which GPUs they are."""

    backend: WeightBackend
    host: str
    """Where replicas reach this node."""
    visible_gpus: str | None
    """Of the learner's ranks (CUDA_VISIBLE_DEVICES); None: all of this process."""


@dataclass(kw_only=True, eq=False)
class Learning:
    """Runs until the last step, the end of the run's time, or a drain."""

    shared: Shared
    is_alone: bool
    """Nobody of this run is alive when the first life begins: nothing is to be spared."""
    samples_here: bool
    """Whether the node has a replica of its own."""
    weights: WeightRoute
    reach: Reach
    database_url: str
    _started_at: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """One life. Raises LearnerError when the process ends before its time."""
        shared = self.shared
        version, folder = await shared.base()
        lineage = await shared.store.recover(version, owners_gone=None if self.is_alone else ())
        self.is_alone = False  # whoever plays beside the next life is alive
        shared.clock.learner = version
        async with LearnerProcess.open(
            Path(folder),
            shared.config,
            shared.directory.root,
            weight_backend=self.weights.backend,
            weight_host=self.weights.host,
            visible_gpus=self.weights.visible_gpus,
        ) as learner:
            publisher = await shared.unless_drained(self._serving, learner, version, lineage)
            if publisher is None:  # it was told to stop before anybody could sample
                shared.learning_over.set()
                return
            shared.learner_serves.set()
            before = await shared.store.largest_metric(PLAYED_SECONDS_METRIC)
            play_time = PlayTime.of_minutes(shared.config.run.minutes, before_seconds=before or 0.0)
            if version < shared.config.run.steps and await self._is_finished():
                await shared.enter(RunPhase.PLAYING)  # it was resumed for more steps
            await self._until_played(publisher)
            await self._learn(learner, publisher, play_time)
        shared.learning_over.set()

    async def _is_finished(self) -> bool:
        return await self.shared.store.phase() is RunPhase.FINISHED

    async def _serving(
        self, learner: LearnerProcess, version: PolicyVersion, lineage: Lineage
    ) -> Publisher:
        """The publisher, once a replica serves what the learner has: whichever is open first.

        The others, this node's own among them, are brought to it as they come.
        """
        publisher = await self._publisher(learner, lineage)
        await publisher.publish(version)
        return publisher

    async def _publisher(self, learner: LearnerProcess, lineage: Lineage) -> Publisher:
        shared = self.shared
        canary = await sampled_canary(
            shared.store,
            self.reach,
            own_node=shared.name,
            own=shared.canary.get if self.samples_here else None,
        )

        async def record(proof: ReplicaProof) -> None:
            node_id = roll.node_of(proof.replica)
            roll.note(proof)
            await shared.store.record_proof(replace(proof, node_id=node_id, lineage=lineage))

        channel = GlooWeightChannel(
            learner,
            [],
            engine=shared.config.engine,
            canary=canary,
            record=record,
            lineage=lineage,
        )
        roll = RollCall(
            store=shared.store,
            channel=channel,
            reach=self.reach,
            own_node=shared.name,
            own=lambda: shared.replica.now,
            owner=shared.owner,
            lineage=lineage,
        )
        return Publisher(
            store=shared.store,
            channel=channel,
            roll=roll,
            clock=shared.clock,
            wakeups=shared.wakeups,
            drain=shared.drain,
        )

    async def _learn(
        self, learner: LearnerProcess, publisher: Publisher, play_time: PlayTime
    ) -> None:
        shared = self.shared
        follower = Follower(self.database_url, shared.store.run_id)
        sentinel = Sentinel(store=shared.store, look=follower.look)
        metrics_log = MetricsLog(shared.directory.metrics)
        evaluation = shared.config.evaluation
        root = shared.directory.root
        benchmarker = Benchmarker(
            store=shared.store,
            settings=evaluation,
            root=root,
            command=evaluation_command(evaluation, root, shared.directory.config),
        )

        async def on_step(result: StepResult) -> None:
            await metrics_log.append(result)
            sentinel.notice()
            benchmarker.notice(result.version)

        learn = LearnActor(
            store=shared.store,
            learner=learner,
            config=shared.config,
            clock=shared.clock,
            wakeups=shared.wakeups,
            drain=shared.drain,
            publish=publisher.publish,
            attend=publisher.attend,
            gauges=self._gauges,
            on_step=on_step,
            play_time=play_time,
        )
        async with anyio.create_task_group() as beside:
            beside.start_soon(sentinel.run)
            beside.start_soon(benchmarker.run)
            await learn.run()
            beside.cancel_scope.cancel()
        await sentinel.catch_up()
        if learn.finished:
            await shared.enter(RunPhase.FINISHED)

    async def _until_played(self, publisher: Publisher) -> None:
        """Look after the replicas while one of them fills the buffers."""
        shared = self.shared
        while not shared.drain.requested and await shared.store.phase() is RunPhase.SEEDING:
            await publisher.attend()
            await anyio.sleep(SEEDING_POLL_SECONDS)

    def _gauges(self) -> dict[str, float]:
        """Totals of this node, recorded with every step."""
        gauges = {
            CPU_SECONDS_METRIC: tree_cpu_seconds(os.getpid()),
            "node/uptime_seconds": time.monotonic() - self._started_at,
        }
        if (sandbox := self.shared.sandbox.now) is not None:
            pool = sandbox.statistics
            gauges |= {
                "sandbox/queued_validation": float(pool.queued_validation),
                "sandbox/queued_grading": float(pool.queued_grading),
                "sandbox/jobs": float(pool.jobs),
                "sandbox/failed_jails": float(pool.failed_jails),
            }
        if (replica := self.shared.replica.now) is not None:
            gauges |= {
                BUSY_SECONDS_METRIC: replica.activity.busy_seconds,
                SAMPLED_TOKENS_METRIC: float(replica.activity.sampled_tokens),
            }
        return gauges
