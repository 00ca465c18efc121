"""What the parts of one node have in common: settings, the store, the clock, each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from actors.actor import Drain, LeasingActor, PolicyClock, Topic, Wakeups, run_leasing
from azr.config import RunConfig
from azr.engine.replica import VllmReplica
from azr.errors import FencedError
from azr.judging import Fits
from azr.membership import NodeState, RunPhase
from azr.model_path import model_folder
from azr.run_directory import RunDirectory
from azr.sandbox import SandboxPool
from azr.store import SqlStore
from azr.types import Lineage, PolicyVersion

DRAIN_SECONDS = 60.0
"""How long held work may take once draining."""


class Later[T]:
    """Something that a part of the node opens and other parts wait for."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._here = anyio.Event()

    def put(self, value: T) -> None:
        """It is open now."""
        self._value = value
        self._here.set()

    def take_back(self) -> None:
        """It is closed again: who asks from now on waits for the next."""
        self._value = None
        self._here = anyio.Event()

    @property
    def now(self) -> T | None:
        """It, if it is open."""
        return self._value

    async def get(self) -> T:
        """Wait until it is open."""
        while self._value is None:
            await self._here.wait()
        return self._value


@dataclass(kw_only=True, eq=False)
class Shared:
    """Handed to every part of a node."""

    config: RunConfig
    directory: RunDirectory
    store: SqlStore
    name: str
    owner: str
    """Incarnation id: leases and events carry it."""
    drain: Drain
    wakeups: Wakeups = field(default_factory=Wakeups)
    clock: PolicyClock = field(default_factory=lambda: PolicyClock(learner=0, serving=0))
    replica: Later[VllmReplica] = field(default_factory=Later)
    canary: Later[list[list[int]]] = field(default_factory=Later)
    sandbox: Later[SandboxPool] = field(default_factory=Later)
    learning_over: anyio.Event = field(default_factory=anyio.Event)
    """Nobody learns on this node any more: what is to be measured is final."""
    learner_serves: anyio.Event = field(default_factory=anyio.Event)
    """The learner of this node has brought its weights to a replica, here or elsewhere."""
    state: NodeState = NodeState.STARTING
    lineage: Lineage = 0
    """Of the version that this node serves."""
    sampling_over: anyio.Event = field(default_factory=anyio.Event)
    """The node samples nothing more, not even to measure: its jails may close."""

    def fits(self, count_tokens: Callable[[str], int]) -> Fits:
        """Whether a prompt is short enough."""
        limit = self.config.prompts.max_prompt_tokens
        return lambda prompt: count_tokens(prompt) <= limit

    async def beat(self) -> None:
        """Say that this node lives, and keep its leases. Raises FencedError once given up."""
        state = NodeState.DRAINING if self.drain.requested else self.state
        lives = await self.store.beat(
            self.owner, state=state, version=self.clock.serving, lineage=self.lineage
        )
        if not lives:
            raise FencedError(f"{self.owner} was given up: another node has its place")

    async def base(self) -> tuple[PolicyVersion, str]:
        """The newest durable policy: version 0 is the model's own folder."""
        durable = await self.store.latest_durable()
        return durable or (0, str(model_folder(self.config.run)))

    async def until_phase(self, *phases: RunPhase) -> None:
        """Wait until the run is in one of these phases."""
        while True:
            ticket = self.wakeups.ticket(Topic.PHASE)
            if await self.store.phase() in phases:
                return
            await ticket.wait()

    async def enter(self, phase: RunPhase) -> None:
        """The run goes on to this phase; everybody who waits hears of it."""
        await self.store.set_phase(phase)
        self.wakeups.notify(Topic.PHASE)

    async def unless_drained[*Ts, T](
        self, work: Callable[[*Ts], Awaitable[T]], *arguments: *Ts
    ) -> T | None:
        """Work that the next start can do again: a drain cancels it, and gives None."""
        result: T | None = None

        async def stop_on_drain(working: anyio.CancelScope) -> None:
            await self.drain.wait()
            working.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_drain, tasks.cancel_scope)
            if not self.drain.requested:
                result = await work(*arguments)
            tasks.cancel_scope.cancel()
        return result

    async def play(self, actors: Sequence[tuple[LeasingActor[Any], int]]) -> None:
        """Run actors, each with its concurrency, until the node is drained.

        What they still hold then may be finished, for `DRAIN_SECONDS`; after that it is
        aborted, and its leases return.
        """
        async with anyio.create_task_group() as watch:
            async with anyio.create_task_group() as playing:
                watch.start_soon(self._abort_after_drain, playing.cancel_scope)
                for actor, concurrency in actors:
                    playing.start_soon(self._lease, actor, concurrency)
            watch.cancel_scope.cancel()

    async def _lease(self, actor: LeasingActor[Any], concurrency: int) -> None:
        await run_leasing(actor, concurrency=concurrency, wakeups=self.wakeups, drain=self.drain)

    async def _abort_after_drain(self, playing: anyio.CancelScope) -> None:
        await self.drain.wait()
        await anyio.sleep(DRAIN_SECONDS)
        playing.cancel()

    async def told(self, what: str, cause: str, pause_seconds: float) -> None:
        """Record that a part of this node starts again."""
        await self.store.record_event(
            "restarting", owner=self.owner, what=what, cause=cause, pause_seconds=pause_seconds
        )
