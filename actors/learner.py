"""The learn actor: claims a batch, takes one optimizer step, commits it.

The commit makes the new policy version official; its weights are published before
the next step, because the learner's process holds only one version at a time.
Generation goes on meanwhile, on the weights that serve.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actors.actor import Drain, PolicyClock, Topic, Wakeups
from azr.advantages import normalise
from azr.annealing import rate_factor
from azr.config import RunConfig
from azr.play_time import PLAYED_SECONDS_METRIC, PlayTime
from azr.ports import Learner, Store
from azr.types import Batch, PolicyVersion, StepResult

log = logging.getLogger(__name__)

type Publish = Callable[[PolicyVersion], Awaitable[None]]
type Gauges = Callable[[], dict[str, float]]
type OnStep = Callable[[StepResult], Awaitable[None]]


@dataclass(kw_only=True, eq=False)
class LearnActor:
    """Steps until the run's last step, the end of its time, or a drain; checkpoints as it goes."""

    store: Store
    learner: Learner
    config: RunConfig
    clock: PolicyClock
    wakeups: Wakeups
    drain: Drain
    publish: Publish
    gauges: Gauges
    """Totals of the node (tokens sampled, busy seconds), recorded with every step."""
    on_step: OnStep
    play_time: PlayTime
    attend: Callable[[], Awaitable[None]]
    """Looks after the replicas while there is nothing to learn from."""
    finished: bool = False
    """The run came to its own end: its steps or its time are used up."""
    _durable: PolicyVersion = -1

    async def run(self) -> None:
        """Learn; then write the final checkpoint and ask the node to drain."""
        self.play_time.begin()
        while not self.drain.requested and not self._is_over:
            ticket = self.wakeups.ticket(Topic.READY)
            waiting_since = time.monotonic()
            await self.attend()
            batch = await self.store.claim_batch(version=self.clock.learner)
            if batch is None:
                await ticket.wait()
                continue
            await self._step(batch)
            log.info(
                "step committed",
                extra={
                    "version": self.clock.learner,
                    "seconds": round(time.monotonic() - waiting_since, 3),
                },
            )
        self.finished = self._is_over
        self.drain.request()
        await self.checkpoint()

    @property
    def _is_over(self) -> bool:
        return self.clock.learner >= self.config.run.steps or self.play_time.is_over

    @property
    def _share_done(self) -> float:
        """Of the run, by steps or by time, whichever is further."""
        return max(self.clock.learner / self.config.run.steps, self.play_time.share)

    async def checkpoint(self) -> None:
        """Make the current version durable, unless it is already."""
        if self._durable == self.clock.learner or self.clock.learner == 0:
            return
        path = await self.learner.checkpoint(self.clock.learner)
        await self.store.mark_durable(self.clock.learner, path)
        self._durable = self.clock.learner

    async def _step(self, batch: Batch) -> None:
        learner = self.config.learner
        advantages = normalise(batch, whitening=learner.whitening, baseline=learner.baseline)
        started = time.monotonic()
        factor = rate_factor(self._share_done, learner.anneal_share)
        result = await self.learner.train(batch, advantages, rate_factor=factor)
        trained_seconds = time.monotonic() - started
        times = {
            "learner/step_seconds": trained_seconds,
            PLAYED_SECONDS_METRIC: self.play_time.seconds,
        }
        result.metrics.update(self.gauges(), **times)
        await self.store.commit_step(batch, result, advantages)
        self.clock.learner = result.version
        if result.version % self.config.learner.checkpoint_every_steps == 0:
            await self.checkpoint()
        await self.publish(result.version)
        self.wakeups.notify(Topic.CAPACITY)
        await self.on_step(result)
