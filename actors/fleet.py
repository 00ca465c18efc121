"""The fleet: starts a run's nodes, watches them, and replaces those that are lost.

It decides and holds no data of the run: everything that matters is in the store, and a
fleet that is itself started again adopts the nodes that still play. How a node is
started, reached and killed is a `Launcher`'s business; `actors.cluster` has Ray's.

A node is lost when its process ends with an error, when it stays silent for too long, or
when its machine is gone. Its work is given back through the learner's node, and a new
incarnation takes its place after a pause (`actors.restarts`). The run ends when the
learner's node comes to its end, or after a drain; a storm of restarts ends it with the
last error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from actors.actor import Drain
from actors.restarts import Restarts
from azr.config import ClusterSection
from azr.errors import AzrError, NodeError, expected_error
from azr.placement import Duty, NodePlan
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

PINGS_PER_SILENCE = 6
"""So often a node is asked within `cluster.silent_seconds` whether it lives."""
START_SECONDS = 300.0
"""For a node's first answer: its process imports torch and vLLM first."""
FAREWELL_SECONDS = 10.0
"""For a word to a node, or about one, that nobody can count on."""


class NodeHandle(Protocol):
    """One incarnation of a node, seen from outside."""

    @property
    def owner(self) -> str:
        """Its incarnation id, as in the store."""
        ...

    async def run(self) -> PolicyVersion:
        """Wait for its end; the version that it saw last. A second caller waits too.

        Raises AzrError: what ended it, NodeError if its process is gone.
        """
        ...

    async def ping(self) -> None:
        """Returns while its event loop turns. Raises NodeError if its process is gone."""
        ...

    async def drain(self) -> None: ...

    async def fence(self, owner: str, cause: str) -> None:
        """Have this node, the learner's, give another one up."""
        ...

    async def kill(self) -> None:
        """End its process, whatever it does; returns when nobody will answer any more."""
        ...


class Launcher(Protocol):
    """Starts nodes somewhere."""

    async def start(self, plan: NodePlan, *, cause: str) -> NodeHandle:
        """A new incarnation. `cause` says why the one before it ended; empty for the first."""
        ...

    async def living(self) -> Mapping[str, NodeHandle]:
        """Incarnations of this run that an earlier fleet started, by node name."""
        ...


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node as the fleet knows it."""

    name: str
    owner: str
    duties: Sequence[Duty]
    machine: str
    num_restarts: int
    last_cause: str
    is_leaving: bool


@dataclass(kw_only=True, eq=False)
class _Slot:
    """A place in the fleet: who fills it now."""

    plan: NodePlan
    handle: NodeHandle | None = None
    num_starts: int = 0
    last_cause: str = ""
    is_leaving: bool = False


@dataclass(kw_only=True, eq=False)
class Fleet:
    """All nodes of one run."""

    plans: Sequence[NodePlan]
    launcher: Launcher
    settings: ClusterSection
    drain: Drain = field(default_factory=Drain)
    version: PolicyVersion = 0
    """That the learner's node ended with."""
    _wanted: dict[str, NodePlan] = field(default_factory=dict)
    """By name; a slot may still be filled by who has to leave first."""
    _slots: dict[str, _Slot] = field(default_factory=dict)
    _arrivals: list[_Slot] = field(default_factory=list)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> PolicyVersion:
        """Until every node has ended, the learner's well; the version that the run reached.

        Raises AzrError for what no restart mends; all nodes are then gone.
        """
        adopted = dict(await self.launcher.living())
        self._wanted = {plan.name: plan for plan in self.plans}
        for plan in self.plans:
            self._add(_Slot(plan=plan, handle=adopted.pop(plan.name, None)))
        try:
            async with anyio.create_task_group() as nodes:
                for stray in adopted.values():
                    nodes.start_soon(self._dismiss, stray, name=stray.owner)
                await self._attend(nodes)
                await self._see_out(nodes.cancel_scope)
        except ExceptionGroup as group:
            raise (expected_error(group) or group) from None
        finally:
            with anyio.CancelScope(shield=True):
                await _for_each(self._slots.values(), self._kill)
        return self.version

    def scale(self, plans: Sequence[NodePlan]) -> None:
        """The nodes that the run should have from now on, the learner's among them."""
        self._wanted = {plan.name: plan for plan in plans}
        for name, slot in self._slots.items():
            slot.is_leaving = slot.is_leaving or name not in self._wanted
        for name, plan in self._wanted.items():
            if name not in self._slots:
                self._add(_Slot(plan=plan))
        self._changed.set()

    def report(self) -> list[NodeReport]:
        """Every node that is there, or should be."""
        return [
            NodeReport(
                name=name,
                owner=slot.handle.owner if slot.handle else "",
                duties=sorted(slot.plan.duties),
                machine=slot.plan.machine.name,
                num_restarts=max(0, slot.num_starts - 1),
                last_cause=slot.last_cause,
                is_leaving=slot.is_leaving,
            )
            for name, slot in self._slots.items()
        ]

    def _add(self, slot: _Slot) -> None:
        self._slots[slot.plan.name] = slot
        self._arrivals.append(slot)

    async def _attend(self, nodes: TaskGroup) -> None:
        """Start who is wanted and drain who is not, until the whole run drains."""
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(self._wake_on_drain)
            while True:
                self._changed = anyio.Event()
                arrivals, self._arrivals = self._arrivals, []
                for slot in arrivals:
                    nodes.start_soon(self._keep, slot, name=slot.plan.name)
                if self.drain.requested:
                    break
                leaving = [slot for slot in self._slots.values() if slot.is_leaving]
                await _for_each(leaving, self._ask_to_drain)
                await self._changed.wait()
            waiting.cancel_scope.cancel()

    async def _wake_on_drain(self) -> None:
        await self.drain.wait()
        self._changed.set()

    async def _see_out(self, nodes: anyio.CancelScope) -> None:
        """Have every node finish what it holds; who takes too long is killed at the end."""
        await _for_each(self._slots.values(), self._ask_to_drain)
        nodes.deadline = anyio.current_time() + self.settings.drain_seconds

    async def _keep(self, slot: _Slot) -> None:
        """Have the slot filled until its node ends well, or is not wanted any more."""
        is_learner = Duty.LEARN in slot.plan.duties

        async def told(what: str, cause: str, pause_seconds: float) -> None:
            log.warning("%s is replaced in %g s: %s", what, pause_seconds, cause)

        restarts = Restarts(
            what=slot.plan.name,
            settings=self.settings,
            told=told,
            is_wanted=lambda: not (slot.is_leaving or self.drain.requested),
        )
        try:
            version = await restarts.keep(lambda: self._live(slot))
        except AzrError as error:
            if is_learner or restarts.is_wanted():
                raise
            log.warning("%s did not end well: %s", slot.plan.name, error)
            version = self.version
        if is_learner:
            self.version = version
            self.drain.request()
        if slot.is_leaving:
            self._replace(slot.plan.name)

    def _replace(self, name: str) -> None:
        """Who had to leave has left; the place may be wanted again meanwhile."""
        del self._slots[name]
        if name in self._wanted:
            self._add(_Slot(plan=self._wanted[name]))
            self._changed.set()

    async def _dismiss(self, stray: NodeHandle) -> None:
        """See a node out that nobody wants any more, and whose fleet died meanwhile."""
        try:
            with anyio.move_on_after(self.settings.drain_seconds):
                await self._ask_to_drain(stray)
                await stray.run()
        except AzrError as error:
            log.info("%s did not end well: %s", stray.owner, error)
        finally:
            await self._kill(stray)

    async def _live(self, slot: _Slot) -> PolicyVersion:
        """One incarnation, from its start (or its adoption) to its end."""
        handle = slot.handle
        if slot.is_leaving or (self.drain.requested and handle is None):
            return self.version
        if handle is None:
            handle = slot.handle = await self.launcher.start(slot.plan, cause=slot.last_cause)
            slot.num_starts += 1
        if slot.is_leaving or self.drain.requested:
            await self._ask_to_drain(slot.handle)
        try:
            version = await self._watched(handle)
        except (AzrError, ExceptionGroup) as error:
            cause = expected_error(error)
            if cause is None:
                raise
            slot.last_cause = str(cause)
            await self._give_up(slot, handle)
            slot.handle = None
            raise cause from None
        slot.handle = None
        return version

    async def _watched(self, handle: NodeHandle) -> PolicyVersion:
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._listen, handle)
            version = await handle.run()
            watch.cancel_scope.cancel()
        return version

    async def _listen(self, handle: NodeHandle) -> None:
        """Raise NodeError once the node has answered nothing for too long."""
        patience_seconds = START_SECONDS  # it answers nothing while it imports
        while True:
            try:
                with anyio.fail_after(patience_seconds):
                    await handle.ping()
            except TimeoutError:
                raise NodeError(
                    f"{handle.owner} has not answered for {patience_seconds:g} s"
                ) from None
            patience_seconds = self.settings.silent_seconds
            await anyio.sleep(patience_seconds / PINGS_PER_SILENCE)

    async def _give_up(self, slot: _Slot, handle: NodeHandle) -> None:
        """End what is left of a lost node, and have its work given back."""
        with anyio.move_on_after(FAREWELL_SECONDS, shield=True):
            await self._kill(slot.handle)
        learner = self._learner
        if learner is None or learner is handle:
            return  # the next learner's node fences the one before it
        with anyio.move_on_after(FAREWELL_SECONDS, shield=True):
            try:
                await learner.fence(handle.owner, slot.last_cause)
            except AzrError as error:
                log.warning("%s could not be fenced: %s", handle.owner, error)

    @property
    def _learner(self) -> NodeHandle | None:
        slots = self._slots.values()
        return next((slot.handle for slot in slots if Duty.LEARN in slot.plan.duties), None)

    async def _ask_to_drain(self, handle: NodeHandle | None) -> None:
        if handle is None:
            return
        with anyio.move_on_after(FAREWELL_SECONDS):
            try:
                await handle.drain()
            except AzrError as error:  # its own task sees why
                log.info("%s did not hear of the drain: %s", handle.owner, error)

    async def _kill(self, handle: NodeHandle | None) -> None:
        if handle is None:
            return
        with anyio.move_on_after(FAREWELL_SECONDS, shield=True):
            try:
                await handle.kill()
            except AzrError as error:
                log.info("%s was gone already: %s", handle.owner, error)


async def _for_each(
    slots: Iterable[_Slot], tell: Callable[[NodeHandle | None], Coroutine[Any, Any, None]]
) -> None:
    """Tell all nodes at once: one that cannot be reached must not make the others wait."""
    async with anyio.create_task_group() as telling:
        for slot in slots:
            telling.start_soon(tell, slot.handle)
