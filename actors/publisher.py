"""The publish actor: new weights to every replica, in flight, proved before they count.

Replicas come and go with their nodes. Whoever comes is brought to the learner's version
before it samples; whoever does not answer is left out until it does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from actors.actor import Drain, PolicyClock, Topic, Wakeups
from azr.errors import WeightSyncError
from azr.ports import Roll, Store, WeightChannel
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

ROLL_SECONDS = 1.0
"""Between two looks at who lives."""
ATTEMPTS = 3
"""Publications of one version that may lose every replica; then the fault is elsewhere."""


@dataclass(kw_only=True, eq=False)
class Publisher:
    """Sends a version, records how long it took, and only then moves the clock."""

    store: Store
    channel: WeightChannel
    roll: Roll
    clock: PolicyClock
    wakeups: Wakeups
    drain: Drain
    _next_roll: float = 0.0

    async def publish(self, version: PolicyVersion) -> None:
        """Returns when a replica has proved the version; waits for one to come if need be.

        Returns as well when the node is drained and nobody is left to publish to. Raises
        WeightSyncError when replicas are there and none proved it.
        """
        measured = await self._until_somebody_proved(version)
        if measured is None:
            log.info("nobody is left to publish to", extra={"version": version})
            return
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

    async def _until_somebody_proved(self, version: PolicyVersion) -> Mapping[str, float] | None:
        """The measurements of a publication; None if the node is drained before there is one."""
        for attempt in range(1, ATTEMPTS + 1):
            await self.roll.reconcile()
            if not await self._somebody_is_there():
                return None
            try:
                return await self.channel.publish(version)
            except WeightSyncError as error:
                if self.channel.names or attempt == ATTEMPTS:
                    raise
                # All of them went away, which is no fault of the weights: others may come.
                log.warning("every replica was lost", extra={"cause": str(error)})
                await self.roll.record(version)
        return None

    async def _somebody_is_there(self) -> bool:
        """Wait for a replica; False if the node is drained first."""
        if self.channel.names:
            return True
        await self.store.record_event("waiting_for_replicas", version=self.clock.learner)
        while not self.drain.requested:
            with anyio.move_on_after(ROLL_SECONDS):
                await self.drain.wait()
            await self.roll.reconcile()
            if self.channel.names:
                return True
        return False
