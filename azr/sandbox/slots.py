"""The pool's jails: each serves one hash seed's lanes, and is replaced when it fails.

A jail that dies, falls silent or is abandoned by a cancelled caller is killed and
replaced by its own task; what waits in its lanes stays there for the others.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field

import anyio

from azr.config import SandboxSection
from azr.errors import SandboxError
from azr.sandbox.jail import Jail, JailFailedError, JailStarter
from azr.sandbox.lanes import Lane, Lanes
from azr.sandbox.protocol import Request
from azr.types import Outcome

log = logging.getLogger(__name__)

HASH_SEEDS = (0, 4242)
"""Where programs run, and where `validate` runs them once more."""
HEAP_SHIFTS = (0, 601)
RECYCLE_JOBS = 20_000
"""A jail is replaced after this many jobs."""
BACKOFF_SECONDS = 1.0
"""Between attempts to replace a jail that does not start."""
DEATHS_SECONDS = 60.0
"""How long a jail's death says that something out there kills jails."""


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through a lane and a jail."""

    request: Request
    lane: Lane
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Cancelled by a caller that no longer wants the result."""
    done: anyio.Event = field(default_factory=anyio.Event)
    outcomes: tuple[Outcome, ...] | None = None
    """None when done: no jail brought it to an end."""
    lost_jail: bool = False
    """Its jail died or fell silent while it ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """Of a pool at one moment; counts are since it was opened."""

    queued_validation: int
    queued_grading: int
    running: int
    jobs: int
    """Sent to a jail, retries included."""
    failed_jails: int
    """Died or fell silent without being told to."""
    replaced_jails: int
    """Failed, abandoned by a cancelled caller, or recycled."""


class Slots:
    """Starts, serves, replaces and ends the jails of one pool."""

    def __init__(self, starter: JailStarter, config: SandboxSection) -> None:
        self.lanes: tuple[Lanes[Job], ...] = tuple(Lanes(config.workers) for _ in HASH_SEEDS)
        self.jails: set[Jail] = set()
        self._starter, self._config = starter, config
        self._deaths: deque[float] = deque(maxlen=10_000)
        """When jails died by themselves, on the monotonic clock."""
        self._running = self._jobs = self._failed = self._replaced = 0

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            queued_validation=sum(lanes.waiting(Lane.VALIDATION) for lanes in self.lanes),
            queued_grading=sum(lanes.waiting(Lane.GRADING) for lanes in self.lanes),
            running=self._running,
            jobs=self._jobs,
            failed_jails=self._failed,
            replaced_jails=self._replaced,
        )

    def recent_deaths(self) -> int:
        """Jails that died by themselves lately, those included whose slot is yet to notice."""
        oldest = time.monotonic() - DEATHS_SECONDS
        unnoticed = sum(not jail.alive for jail in self.jails)
        return unnoticed + sum(died >= oldest for died in self._deaths)

    async def start_all(self) -> list[tuple[int, Jail]]:
        """Every jail of the pool, started side by side, with the index of its hash seed."""
        started = [
            (seed_index, await self._start(seed_index))
            for _ in range(self._config.workers)
            for seed_index in range(len(HASH_SEEDS))
        ]
        for _, jail in started:
            await jail.ready()
        return started

    async def serve(self, seed_index: int, jail: Jail | None) -> None:
        """Run queued jobs on one jail, and on its replacements, until cancelled."""
        while True:
            job = await self.lanes[seed_index].get()
            if job.scope.cancel_called:
                continue
            try:
                if jail is not None and not jail.alive:  # died while it had nothing to do
                    await self._bury(jail)
                    jail = None
                if jail is None:
                    jail = await self._replacement(seed_index)
                if jail is not None:
                    await self._run(job, jail)
            finally:
                job.done.set()
            if jail is None:
                await anyio.sleep(BACKOFF_SECONDS)  # leave the queue to jails that work
            elif job.outcomes is None or jail.jobs >= RECYCLE_JOBS:
                await self._discard(jail)
                jail = await self._replacement(seed_index)

    async def aclose(self) -> None:
        """End every jail and fail every job that waits."""
        with anyio.CancelScope(shield=True):
            for jail in list(self.jails):
                await self._discard(jail)
        for lanes in self.lanes:
            for job in lanes.close():
                job.done.set()

    async def _run(self, job: Job, jail: Jail) -> None:
        self._running += 1
        self._jobs += 1
        try:
            with job.scope:
                job.outcomes = await jail.call(job.request)
        except JailFailedError as error:
            job.lost_jail = True
            self._note_death(str(error))
        finally:
            self._running -= 1

    async def _bury(self, jail: Jail) -> None:
        self._note_death(f"jail {jail.pid} died")
        await self._discard(jail)

    def _note_death(self, cause: str) -> None:
        log.warning("a jail failed", extra={"cause": cause})
        self._deaths.append(time.monotonic())
        self._failed += 1

    async def _start(self, seed_index: int) -> Jail:
        jail = await self._starter.start(
            hash_seed=HASH_SEEDS[seed_index], heap_shift=HEAP_SHIFTS[seed_index]
        )
        self.jails.add(jail)
        return jail

    async def _replacement(self, seed_index: int) -> Jail | None:
        """A new jail, or None when it does not start either."""
        self._replaced += 1
        try:
            jail = await self._start(seed_index)
        except (SandboxError, OSError) as error:
            log.warning("a jail could not be replaced", extra={"cause": str(error)})
            return None
        try:
            await jail.ready()
        except SandboxError as error:
            log.warning("a jail could not be replaced", extra={"cause": str(error)})
            await self._discard(jail)
            return None
        return jail

    async def _discard(self, jail: Jail) -> None:
        self.jails.discard(jail)
        try:
            await jail.aclose()
        except SandboxError as error:  # its work may go on, but nobody waits for it
            log.error("a jail could not be ended", extra={"cause": str(error)})  # noqa: TRY400
