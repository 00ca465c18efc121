"""How every actor takes work, and the two ways it stops.

An actor leases rows from the store, does one thing with each, and commits. *Drain*
means: lease nothing more, finish what is held. *Abort* is cancellation: the scope
ends, leases return by themselves. Actors never call one another; they meet in the
store, and `Wakeups` only saves them the wait for the next poll.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

import anyio

from azr.types import PolicyVersion

POLL_SECONDS = 0.5
"""How long an idle actor waits before it looks again without having been woken."""


class Topic(Enum):
    """What an idle actor waits for."""

    CAPACITY = auto()
    """A batch left the pipeline, or new weights serve: more may be admitted."""
    ATTEMPTS = auto()
    """A task needs solver attempts."""
    GENERATED = auto()
    """A rollout waits to be judged."""
    READY = auto()
    """A reward became final."""
    PHASE = auto()
    """The run went on to its next phase."""


@dataclass(eq=False)
class Wakeups:
    """In-process hints that work may be there. Losing one costs a poll, nothing else."""

    _events: dict[Topic, anyio.Event] = field(default_factory=lambda: defaultdict(anyio.Event))

    def notify(self, *topics: Topic) -> None:
        for topic in topics:
            self._events.pop(topic, anyio.Event()).set()

    def ticket(self, topic: Topic) -> Ticket:
        """Take it before looking for work, so that nothing notified since is missed."""
        return Ticket(self._events[topic])


@dataclass(frozen=True)
class Ticket:
    event: anyio.Event

    async def wait(self, at_most_seconds: float = POLL_SECONDS) -> None:
        with anyio.move_on_after(at_most_seconds):
            await self.event.wait()


@dataclass(kw_only=True, eq=False)
class PolicyClock:
    """Which policy versions learn and serve on this node, right now."""

    learner: PolicyVersion
    """Version of the learner's weights: the last committed step."""
    serving: PolicyVersion
    """Version that every eligible replica has proved."""


@dataclass(eq=False)
class Drain:
    """Set once: no actor leases anything more."""

    _event: anyio.Event = field(default_factory=anyio.Event)

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


class LeasingActor[Work](Protocol):
    """An actor that leases pieces of work and performs each on its own."""

    @property
    def topic(self) -> Topic: ...

    async def lease(self, at_most: int) -> Sequence[Work]: ...

    async def perform(self, work: Work) -> None: ...


async def run_leasing[Work](
    actor: LeasingActor[Work], *, concurrency: int, wakeups: Wakeups, drain: Drain
) -> None:
    """Keep up to `concurrency` pieces of work in progress until drained.

    Leases only what can start at once, so a slow stage holds no idle leases. An
    error in `perform` is a bug or a lost dependency and cancels the actor.
    """
    free = anyio.Semaphore(concurrency)

    async def perform(work: Work) -> None:
        try:
            await actor.perform(work)
        finally:
            free.release()

    async with anyio.create_task_group() as in_progress:
        while not drain.requested:
            await free.acquire()
            capacity = 1
            while free.value > 0:
                free.acquire_nowait()
                capacity += 1
            ticket = wakeups.ticket(actor.topic)
            leased = [] if drain.requested else await actor.lease(capacity)
            for work in leased:
                in_progress.start_soon(perform, work)
            for _ in range(capacity - len(leased)):
                free.release()
            if not leased:
                await ticket.wait()
