"""One process of a run: opens the store, runs the parts that its duties call for, stops them.

A node learns, samples, examines, or does several of these; `azr.placement` decides. Its
parts meet in the store, like all actors. Jails and the learner's process are started
again when they fail (`actors.restarts`); when the engine fails the node ends, because
vLLM in this process cannot be trusted any more, and the fleet starts another.

The node is an incarnation: it says in the store that it lives, and ends when it hears
that it was given up.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from actors.actor import Drain, Topic
from actors.examining import Examining
from actors.learning import Learning, WeightRoute
from actors.restarts import PERMANENT, Restarts
from actors.roll_call import Reach
from actors.sampling import Sampling
from actors.shared import Shared
from azr.config import RunConfig
from azr.engine.weight_backend import WeightBackend
from azr.errors import FencedError
from azr.membership import LIVING
from azr.placement import Duty, NodePlan
from azr.run_directory import RunDirectory
from azr.store import SqlStore
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

type Life = Callable[[], Coroutine[Any, Any, None]]
"""A part of the node, from its opening to its end."""


@dataclass(kw_only=True, eq=False)
class Node:
    """Plays its part of a run until the run ends, or it is drained."""

    config: RunConfig
    directory: RunDirectory
    plan: NodePlan
    owner: str
    machine: str
    """On which it runs, and where others reach it."""
    address: str
    weight_backend: WeightBackend
    is_alone: bool
    """The only node of the run, and the first in its place."""
    reach: Reach
    """How the learner's node talks to the replicas of others."""
    learner_gpus: str | None = None
    """CUDA_VISIBLE_DEVICES of the learner; None where it uses what this process sees."""
    cause: str = ""
    """Why the incarnation before this one ended; empty for the first."""
    drain: Drain = field(default_factory=Drain)
    shared: Shared | None = None
    """There while it runs."""

    async def run(self) -> PolicyVersion:
        """The version it saw last. Raises AzrError for expected failures."""
        async with SqlStore.open(self._url, run=self.config) as store:
            await store.register_node(
                self.owner,
                name=self.plan.name,
                machine=self.machine,
                address=self.address,
                pid=os.getpid(),
                duties=sorted(self.plan.duties),
            )
            await self._replace_predecessors(store)
            self.shared = Shared(
                config=self.config,
                directory=self.directory,
                store=store,
                name=self.plan.name,
                owner=self.owner,
                drain=self.drain,
            )
            await store.record_event("node_started", owner=self.owner, replaces=self.cause)
            reason = "it failed"
            try:
                await self._play(self.shared)
                reason = "it was drained" if self.drain.requested else "the run has finished"
            finally:
                with anyio.CancelScope(shield=True):
                    await store.end_node(self.owner, reason)
            return self.shared.clock.learner

    async def _replace_predecessors(self, store: SqlStore) -> None:
        """Give up earlier incarnations of this node: their work returns now."""
        for node in await store.nodes():
            is_earlier = node.name == self.plan.name and node.node_id != self.owner
            if is_earlier and node.state in LIVING:
                await store.fence(node.node_id, self.cause or "another one takes its place")

    @property
    def _url(self) -> str:
        """The run's database."""
        return self.config.store.url or f"sqlite:///{self.directory.database}"

    async def _play(self, shared: Shared) -> None:
        async with anyio.create_task_group() as supervisors:
            supervisors.start_soon(self._heartbeat, shared)
            supervisors.start_soon(self._spread_news, shared)
            if Duty.LEARN not in self.plan.duties:
                supervisors.start_soon(self._follow_learner, shared)
            async with anyio.create_task_group() as parts:
                for name, life in self._parts(shared):
                    parts.start_soon(life, name=name)
            supervisors.cancel_scope.cancel()

    def _parts(self, shared: Shared) -> list[tuple[str, Life]]:
        """What the duties call for, by name."""
        duties = self.plan.duties
        lives: list[tuple[str, Life]] = []
        samples_here = Duty.SAMPLE in duties
        if Duty.LEARN in duties:
            learning = Learning(
                shared=shared,
                is_alone=self.is_alone,
                samples_here=samples_here,
                weights=WeightRoute(
                    backend=self.weight_backend,
                    host=self.address,
                    visible_gpus=self.learner_gpus,
                ),
                reach=self.reach,
                database_url=self._url,
            )
            lives.append(
                ("learning", partial(self._restarted, shared, "the learner", learning.run))
            )
        else:
            shared.learning_over.set()
        if samples_here:
            sampling = Sampling(
                shared=shared,
                learns_here=Duty.LEARN in duties,
                seeds=Duty.SEED in duties,
                weight_backend=self.weight_backend,
                data_parallel=self.plan.data_parallel,
            )
            lives.append(("sampling", sampling.run))
        if Duty.EXAMINE in duties:
            examining = Examining(shared=shared, samples_here=samples_here)
            lives.append(
                ("examining", partial(self._restarted, shared, "the jails", examining.run))
            )
        return lives

    async def _restarted(self, shared: Shared, what: str, life: Life) -> None:
        restarts = Restarts(
            what=f"{what} of {self.plan.name}",
            settings=self.config.cluster,
            told=shared.told,
            final=(*PERMANENT, FencedError),
        )
        await restarts.keep(life)

    async def _heartbeat(self, shared: Shared) -> None:
        """Say that this node lives, and keep its leases. Raises FencedError once given up."""
        while True:
            await anyio.sleep(self.config.cluster.heartbeat_seconds)
            await shared.beat()

    async def _spread_news(self, shared: Shared) -> None:
        """Wake this node's actors for what other nodes commit."""
        async with aclosing(shared.store.news()) as heard:
            async for news in heard:
                shared.wakeups.notify(*(Topic[each.name] for each in news))

    async def _follow_learner(self, shared: Shared) -> None:
        """Know which version the learner is at: it paces what may be proposed."""
        while True:
            ticket = shared.wakeups.ticket(Topic.CAPACITY)
            shared.clock.learner = await shared.store.learner_version()
            await ticket.wait()
