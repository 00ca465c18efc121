"""Warm jails behind the Sandbox port: lanes for each hash seed, and a task for each jail.

A job goes to a jail with hash seed 0; only `validate` asks a jail with the other
seed as well. Validation and grading wait in lanes of their own, served in turn.

A job that lost its jail is tried again, and after a few times it is a SandboxError,
never a verdict on the program. Where jails die that did not run it, too, something
out there kills jails, and it is tried for much longer.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread

from azr.config import SandboxSection
from azr.errors import SandboxError
from azr.sandbox.cgroups import Cgroups
from azr.sandbox.jail import SHOT, JailStarter
from azr.sandbox.jobs import agreed, next_job, refused, settled, too_long
from azr.sandbox.lanes import Lane
from azr.sandbox.launch import isolation_facts, isolation_warning
from azr.sandbox.protocol import NOT_RUN, PROGRAM_VERDICTS, Request
from azr.sandbox.rootfs import prepare_root
from azr.sandbox.slots import Job, PoolStatistics, Slots
from azr.types import Outcome, Verdict

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Of a job in whose hands jails, or its own process, are killed."""
MOST_ATTEMPTS = 100
"""The same, while jails die that have nothing to do with it."""


@dataclass(kw_only=True, eq=False)
class SandboxPool:
    """Implements `azr.ports.Sandbox`. Serves one event loop, which may run in any thread."""

    config: SandboxSection
    root_key: str
    """Identifies interpreter and guest: part of the environment a task was validated in."""
    facts: Mapping[str, str]
    """What separates programs from this machine; a run's history keeps it."""
    _slots: Slots

    @classmethod
    @asynccontextmanager
    async def open(
        cls, config: SandboxSection, *, shown: Path | None = None
    ) -> AsyncGenerator[SandboxPool]:
        """Start every jail, serve, and leave no process behind.

        Jobs may read the files of the folder `shown`, whenever they come, under
        `nsjail_config.SHOWN`; not with `isolation = "process"`, which hides it.

        Raises:
            SandboxUnavailableError: no jail can start on this machine; the hint says why.
        """
        warning = isolation_warning(config)
        if warning:
            log.warning(warning)
        root = await anyio.to_thread.run_sync(prepare_root)
        cgroups = await anyio.to_thread.run_sync(Cgroups.probe)
        starter = JailStarter(root, config, cgroups, shown=shown)
        slots = Slots(starter, config)
        limited = cgroups.description if cgroups else "none"
        facts = {**isolation_facts(config), "cgroup": limited, "root_key": root.key}
        failure: Exception | None = None
        try:
            jails = await slots.start_all()
            async with anyio.create_task_group() as tasks:
                for seed_index, jail in jails:
                    tasks.start_soon(slots.serve, seed_index, jail)
                try:
                    yield cls(config=config, root_key=root.key, facts=facts, _slots=slots)
                except Exception as error:  # noqa: BLE001 -- kept from being wrapped in a group
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            await slots.aclose()
            starter.close()
        if failure is not None:
            raise failure

    @property
    def pids(self) -> frozenset[int]:
        """The jails' nsjail processes at this moment."""
        return frozenset(jail.pid for jail in self._slots.jails)

    @property
    def statistics(self) -> PoolStatistics:
        """Queue depth and counts at this moment."""
        return self._slots.statistics()

    async def run(
        self, program: str, calls: Sequence[str], *, stop_at_first_failure: bool = False
    ) -> tuple[Outcome, ...]:
        """See `azr.ports.Sandbox.run`."""
        request = Request(
            program=program, calls=tuple(calls), stop_at_failure=stop_at_first_failure
        )
        return await self.examine(request)

    async def validate(
        self, program: str, calls: Sequence[str], *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        """See `azr.ports.Sandbox.validate`."""
        request = Request(program=program, calls=tuple(calls))
        return await self.examine_twice(request, failing=failing)

    async def parse_literals(self, texts: Sequence[str]) -> tuple[Outcome, ...]:
        """See `azr.ports.Sandbox.parse_literals`."""
        return await self.examine(Request(operation="parse_literals", calls=tuple(texts)))

    async def examine_twice(
        self, request: Request, *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        """Two runs of each call in one process, one under the other hash seed; all must agree.

        Of calls that raised the last is asked only if `failing`.
        """
        lane = Lane.VALIDATION
        runs = await self.examine(replace(request, repeats=2), lane=lane)
        found = [agreed(*pair, "same process") for pair in zip(runs[::2], runs[1::2], strict=True)]
        # Backwards, so that a call whose result depends on the calls before it is found out.
        asked = {Verdict.OK, Verdict.RUNTIME_ERROR} if failing else {Verdict.OK}
        passed = [i for i, outcome in reversed([*enumerate(found)]) if outcome.verdict in asked]
        again = replace(request, calls=tuple(request.calls[index] for index in passed))
        others = await self.examine(again, seed_index=1, lane=lane)
        for index, other in zip(passed, others, strict=True):
            found[index] = agreed(found[index], other, "other hash seed")
        return tuple(found)

    async def examine(
        self, request: Request, *, seed_index: int = 0, lane: Lane = Lane.GRADING
    ) -> tuple[Outcome, ...]:
        """One outcome per run, from as many jobs as it takes.

        A run that ends its process (a timeout, say) does not end the others: they
        go on in a new one, unless the request stops at the first failure.
        """
        refusal = refused(request, self.config)
        if refusal is not None:
            return (refusal,) * request.runs
        found: list[Outcome] = []
        while len(found) < request.runs:
            job = next_job(request, len(found) // request.repeats, self.config)
            if job is None:
                found += [too_long(request)] * request.repeats
            else:
                found += settled(await self._submit(job, seed_index, lane), job)
            if found[0].verdict in PROGRAM_VERDICTS:
                return (found[0],) * request.runs
            if request.stop_at_failure and found[-1].verdict is not Verdict.OK:
                break
        return (*found, *[NOT_RUN] * (request.runs - len(found)))

    async def _submit(self, request: Request, seed_index: int, lane: Lane) -> tuple[Outcome, ...]:
        """One job's outcomes, from as many tries as it takes and deserves."""
        own_deaths, tries = 0, 0
        while True:
            job = Job(request, lane)
            await self._finish(job, seed_index)
            if job.outcomes is not None and SHOT not in job.outcomes:
                return job.outcomes
            tries += 1
            own_deaths += job.lost_jail
            others_die = self._slots.recent_deaths() > own_deaths
            if tries >= (MOST_ATTEMPTS if others_die else ATTEMPTS):
                break
        if job.outcomes is not None:
            return job.outcomes
        raise SandboxError(f"{tries} jails failed while they ran the same job")

    async def _finish(self, job: Job, seed_index: int) -> None:
        """Queue a job and await its end; its jail is killed if this is cancelled."""
        try:
            await self._slots.lanes[seed_index].put(job, job.lane)
            await job.done.wait()
        except anyio.get_cancelled_exc_class():
            job.scope.cancel()
            raise
        except anyio.ClosedResourceError as error:
            raise SandboxError("the sandbox is closed") from error
