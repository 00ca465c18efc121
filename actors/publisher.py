"""The publish actor: new weights to every replica, in flight, proved before they count.

Replicas come and go with their nodes. Whoever comes is brought to the learner's version
before it samples; whoever does not answer is left out until it does.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import anyio

from actors.actor import PolicyClock, Topic, Wakeups
from azr.errors import WeightSyncError
from azr.ports import Roll, Store, WeightChannel
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

ROLL_SECONDS = 1.0
"""Between two looks at who lives."""


@dataclass(kw_only=True, eq=False)
class Publisher:
    """Sends a version, records how long it took, and only then moves the clock."""

    store: Store
    channel: WeightChannel
    roll: Roll
    clock: PolicyClock
    wakeups: Wakeups
    _next_roll: float = 0.0

    async def publish(self, version: PolicyVersion) -> None:
        """Returns when a replica has proved the version; waits for one to come if need be.

        Raises WeightSyncError when replicas are there and none proved it.
        """
        await self.roll.reconcile()
        await self._until_somebody_is_there()
        measured = await self.channel.publish(version)
        await self.store.record_metrics(
            version, {f"publish/{name}": value for name, value in measured.items()}
        )
        await self.roll.record(version)
        self.clock.serving = version
        self.wakeups.notify(Topic.CAPACITY)
        log.info("published", extra={"version": version})

    async def attend(self) -> None:
        """Between steps: bring whoever has come to the learner's version."""
        if time.monotonic() < self._next_roll:
            return
        self._next_roll = time.monotonic() + ROLL_SECONDS
        newcomers = await self.roll.reconcile()
        if not newcomers:
            return
        try:
            await self.channel.publish(self.clock.learner, only=newcomers)
        except WeightSyncError as error:
            log.warning("newcomers were not updated", extra={"cause": str(error)})
        await self.roll.record(self.clock.learner)

    async def _until_somebody_is_there(self) -> None:
        if self.channel.names:
            return
        await self.store.record_event("waiting_for_replicas", version=self.clock.learner)
        while not self.channel.names:
            await anyio.sleep(ROLL_SECONDS)
            await self.roll.reconcile()
