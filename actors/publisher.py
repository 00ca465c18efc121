"""The publish actor: new weights to every replica, in flight, proved before they count."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from actors.actor import PolicyClock, Topic, Wakeups
from azr.ports import Store, WeightChannel
from azr.types import PolicyVersion

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Publisher:
    """Sends a version, records how long it took, and only then moves the clock."""

    store: Store
    channel: WeightChannel
    clock: PolicyClock
    wakeups: Wakeups

    async def publish(self, version: PolicyVersion) -> None:
        """Raises WeightSyncError when no replica is left that proved the version."""
        measured = await self.channel.publish(version)
        await self.store.record_metrics(
            version, {f"publish/{name}": value for name, value in measured.items()}
        )
        self.clock.serving = version
        self.wakeups.notify(Topic.CAPACITY)
        log.info("published", extra={"version": version})
