"""The solve actor: tasks that need attempts in, sampled attempts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.actor import Topic, Wakeups
from azr.config import RunConfig
from azr.judging import Fits, sampling_request
from azr.ports import Engine, Store
from azr.types import Admission


@dataclass(kw_only=True, eq=False)
class Solver:
    """Samples attempts, oldest task first."""

    store: Store
    engine: Engine
    config: RunConfig
    fits: Fits
    wakeups: Wakeups
    owner: str
    topic: Topic = Topic.ATTEMPTS

    async def lease(self, at_most: int) -> Sequence[Admission]:
        return await self.store.lease_attempts(owner=self.owner, at_most=at_most)

    async def perform(self, work: Admission) -> None:
        request = sampling_request(work, self.config, self.fits)
        (completion,) = await self.engine.sample([request])
        await self.store.put_rollout(work, completion)
        self.wakeups.notify(Topic.GENERATED)
