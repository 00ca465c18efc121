"""The sentinel: measures what each committed step trained on, and tells of failures.

It works in a thread beside everything else and nobody waits for it; a step that it has
not come to is measured with the next one. `azr.diagnosis` has every formula.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from anyio.to_thread import run_sync

from azr.diagnosis.follow import Look
from azr.diagnosis.told import BEGAN, OVER, facts_of, facts_of_end
from azr.diagnosis.watch import Watch
from azr.errors import StoreError
from azr.ports import Store

log = logging.getLogger(__name__)

CPU_SECONDS_METRIC = "sentinel/cpu_seconds"
"""Processor time of measuring a step, recorded with it."""
STEPS_PER_LOOK = 8
"""Measured in one go, so that a drain never waits long for a run that was behind."""


@dataclass(kw_only=True, eq=False)
class Sentinel:
    """Records measures as metrics, and the beginning and the end of findings as events."""

    store: Store
    look: Callable[[int], Look]
    """Reads and measures at most so many new steps; blocks, and runs in a thread."""
    _watch: Watch = field(default_factory=Watch)
    _step_committed: anyio.Event = field(default_factory=anyio.Event)

    def notice(self) -> None:
        """A step was committed."""
        self._step_committed.set()

    async def run(self) -> None:
        """Look whenever there is something new, until cancelled."""
        while True:
            self._step_committed = anyio.Event()
            if not await self.catch_up():
                await self._step_committed.wait()

    async def catch_up(self) -> bool:
        """One look; whether it found as many steps as it may, so that there may be more."""
        is_behind = False
        with anyio.CancelScope(shield=True):  # what was measured is recorded
            try:
                is_behind = await self._look()
            except StoreError as error:
                # Self-play does not need this; the next step brings the next look.
                log.warning("could not measure", extra={"cause": str(error)})
        return is_behind

    async def _look(self) -> bool:
        found = await run_sync(self.look, STEPS_PER_LOOK)
        for step in found.new:
            cost = {CPU_SECONDS_METRIC: found.cpu_seconds / len(found.new)}
            await self.store.record_metrics(step.step, step.to_metrics() | cost)
        for step in found.seen:
            self._watch.add(step)
        if found.seen:
            await self._tell(found)
        return len(found.new) >= STEPS_PER_LOOK

    async def _tell(self, found: Look) -> None:
        """Record how what lasts now differs from what the run's events say."""
        current = {(finding.name, finding.scope): finding for finding in self._watch.current}
        for place, finding in current.items():
            if place not in found.told:
                await self.store.record_event(BEGAN, **facts_of(finding))
        for place in sorted(found.told - current.keys()):
            await self.store.record_event(OVER, **facts_of_end(place, found.seen[-1].step))
