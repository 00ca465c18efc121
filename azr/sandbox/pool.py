"""Warm jails behind the Sandbox port: a queue per hash seed, and a task per jail.

A job goes to a jail with hash seed 0; only `validate` asks a jail with the other
seed as well. A jail that dies, falls silent or is abandoned by a cancelled caller
is killed and replaced by its own task. A job that lost its jail is tried once more;
after that it is a SandboxError, never a verdict on the program.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from azr.config import SandboxSection
from azr.errors import SandboxError
from azr.sandbox.jail import Jail, JailFailedError, JailStarter
from azr.sandbox.jobs import agreed, next_job, refused, settled, too_long
from azr.sandbox.protocol import NOT_RUN, PROGRAM_VERDICTS, Request
from azr.sandbox.rootfs import prepare_root
from azr.types import Outcome, Verdict

log = logging.getLogger(__name__)

HASH_SEEDS = (0, 4242)
"""Where programs run, and where `validate` runs them once more."""
HEAP_SHIFTS = (0, 601)
ATTEMPTS = 2
RECYCLE_JOBS = 20_000
"""A jail is replaced after this many jobs."""
BACKOFF_SECONDS = 1.0
"""Between attempts to replace a jail that does not start."""


@dataclass(eq=False, slots=True)
class _Job:
    request: Request
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Cancelled by a caller that no longer wants the result."""
    done: anyio.Event = field(default_factory=anyio.Event)
    outcomes: tuple[Outcome, ...] | None = None
    """None when done: the jail failed."""


@dataclass(frozen=True, eq=False, slots=True)
class _Queue:
    """Jobs for jails of one hash seed; a full queue makes callers wait."""

    send: MemoryObjectSendStream[_Job]
    receive: MemoryObjectReceiveStream[_Job]

    def close(self) -> None:
        """Fail what is still queued, and whoever still waits to queue."""
        while self.receive.statistics().current_buffer_used:
            self.receive.receive_nowait().done.set()
        self.receive.close()
        self.send.close()


@dataclass(kw_only=True, eq=False)
class SandboxPool:
    """Implements `azr.ports.Sandbox`. Serves one event loop, which may run in any thread."""

    config: SandboxSection
    root_key: str
    """Identifies interpreter and guest: part of the environment a task was validated in."""
    _starter: JailStarter
    _queues: tuple[_Queue, ...]
    _jails: set[Jail] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SandboxSection) -> AsyncGenerator[SandboxPool]:
        """Start every jail, serve, and leave no process behind.

        Raises:
            SandboxUnavailableError: no jail can start on this machine; the hint says why.
        """
        root = await anyio.to_thread.run_sync(prepare_root)
        pool = cls(
            config=config,
            root_key=root.key,
            _starter=JailStarter(root, config),
            _queues=tuple(
                _Queue(*anyio.create_memory_object_stream[_Job](config.workers)) for _ in HASH_SEEDS
            ),
        )
        failure: Exception | None = None
        try:
            jails = await pool._start_all()
            async with anyio.create_task_group() as slots:
                for seed_index, jail in jails:
                    slots.start_soon(pool._serve, seed_index, jail)
                try:
                    yield pool
                except Exception as error:  # noqa: BLE001 -- kept from being wrapped in a group
                    failure = error
                slots.cancel_scope.cancel()
        finally:
            await pool._close()
        if failure is not None:
            raise failure

    @property
    def pids(self) -> frozenset[int]:
        """The jails' nsjail processes at this moment."""
        return frozenset(jail.pid for jail in self._jails)

    async def run(
        self, program: str, calls: Sequence[str], *, stop_at_first_failure: bool = False
    ) -> tuple[Outcome, ...]:
        """See `azr.ports.Sandbox.run`."""
        request = Request(
            program=program, calls=tuple(calls), stop_at_failure=stop_at_first_failure
        )
        return await self.examine(request)

    async def validate(self, program: str, calls: Sequence[str]) -> tuple[Outcome, ...]:
        """See `azr.ports.Sandbox.validate`."""
        return await self.examine_twice(Request(program=program, calls=tuple(calls)))

    async def parse_literals(self, texts: Sequence[str]) -> tuple[Outcome, ...]:
        """See `azr.ports.Sandbox.parse_literals`."""
        return await self.examine(Request(operation="parse_literals", calls=tuple(texts)))

    async def examine_twice(self, request: Request) -> tuple[Outcome, ...]:
        """Two runs of each call in one process, one under the other hash seed; all must agree."""
        runs = await self.examine(replace(request, repeats=2))
        found = [agreed(*pair, "same process") for pair in zip(runs[::2], runs[1::2], strict=True)]
        passed = [index for index, outcome in enumerate(found) if outcome.verdict is Verdict.OK]
        again = replace(request, calls=tuple(request.calls[index] for index in passed))
        for index, other in zip(passed, await self.examine(again, seed_index=1), strict=True):
            found[index] = agreed(found[index], other, "other hash seed")
        return tuple(found)

    async def examine(self, request: Request, *, seed_index: int = 0) -> tuple[Outcome, ...]:
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
                found += settled(await self._submit(job, seed_index), job)
            if found[0].verdict in PROGRAM_VERDICTS:
                return (found[0],) * request.runs
            if request.stop_at_failure and found[-1].verdict is not Verdict.OK:
                break
        return (*found, *[NOT_RUN] * (request.runs - len(found)))

    async def _submit(self, request: Request, seed_index: int) -> tuple[Outcome, ...]:
        """Queue one job and await it; its jail is killed if this is cancelled."""
        for _ in range(ATTEMPTS):
            job = _Job(request)
            try:
                await self._queues[seed_index].send.send(job)
                await job.done.wait()
            except anyio.get_cancelled_exc_class():
                job.scope.cancel()
                raise
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise SandboxError("the sandbox is closed") from error
            if job.outcomes is not None:
                return job.outcomes
        raise SandboxError(f"{ATTEMPTS} jails failed while they ran the same job")

    async def _serve(self, seed_index: int, jail: Jail | None) -> None:
        """Run queued jobs on one jail, and on its replacements, until cancelled."""
        while True:
            job = await self._queues[seed_index].receive.receive()
            if job.scope.cancel_called:
                continue
            if jail is None:
                jail = await self._replacement(seed_index)
            try:
                with job.scope:
                    if jail is not None:
                        job.outcomes = await jail.call(job.request)
            except JailFailedError as error:
                log.warning("a jail failed", extra={"cause": str(error)})
            finally:
                job.done.set()
            if jail is None:
                await anyio.sleep(BACKOFF_SECONDS)  # leave the queue to jails that work
            elif job.outcomes is None or jail.jobs >= RECYCLE_JOBS:
                await self._discard(jail)
                jail = await self._replacement(seed_index)

    async def _start_all(self) -> list[tuple[int, Jail]]:
        """Every jail of the pool, started side by side."""
        started = [
            (seed_index, await self._start(seed_index))
            for _ in range(self.config.workers)
            for seed_index in range(len(HASH_SEEDS))
        ]
        for _, jail in started:
            await jail.ready()
        return started

    async def _start(self, seed_index: int) -> Jail:
        jail = await self._starter.start(
            hash_seed=HASH_SEEDS[seed_index], heap_shift=HEAP_SHIFTS[seed_index]
        )
        self._jails.add(jail)
        return jail

    async def _replacement(self, seed_index: int) -> Jail | None:
        """A new jail, or None when it does not start either."""
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
        self._jails.discard(jail)
        try:
            await jail.aclose()
        except SandboxError as error:  # its work may go on, but nobody waits for it
            log.error("a jail could not be ended", extra={"cause": str(error)})  # noqa: TRY400

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            for jail in list(self._jails):
                await self._discard(jail)
        self._starter.close()
        for queue in self._queues:
            queue.close()
