"""Ray: where a run's processes are placed, found again, and called.

One detached actor is the run's fleet, others are its nodes; names in Ray's namespace say
which run and which incarnation they are. Nothing here decides: `actors.fleet` and
`actors.node` do.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import ray
from anyio.to_thread import run_sync
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from actors.node_actor import NodeActor
from actors.remote_replica import RemoteReplica
from azr.config import RunConfig
from azr.engine.environment import engine_environment, has_cpu_build
from azr.errors import AzrError, EngineError, NodeError
from azr.membership import NodeRecord, replica_name
from azr.placement import Machine, NodePlan, Plan
from azr.run_directory import RunDirectory
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

NAMESPACE = "azr"
FLEET = "fleet"
PLACEMENT_SECONDS = 60.0
"""For the cluster to have room for the nodes."""
UNREACHABLE_PAUSE_SECONDS = 1.0


def run_key(directory: RunDirectory) -> str:
    """What the names of a run's actors begin with: the run directory's name and path."""
    path = directory.root.absolute()
    digest = hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()
    return f"{path.name}-{digest}"


async def answered(reference: Any) -> Any:  # noqa: ANN401 -- a Ray reference, and whatever it gives
    """Await a call to an actor; what failed there as the AzrError it was.

    Raises NodeError if the actor's process is gone, the call was lost, or what failed there
    is nothing that was expected: one node's bug must not end a run that others can play on.
    """
    try:
        return await reference
    except RayTaskError as error:
        if isinstance(error.cause, AzrError):
            raise error.cause from None
        log.exception("a call to another process failed unexpectedly")
        raise NodeError(f"it failed unexpectedly: {error.cause!r}") from None
    except ActorUnavailableError:
        raise
    except RayError as error:
        raise NodeError(f"its process is gone: {first_line(error)}") from None


@dataclass(frozen=True, slots=True)
class RayNode:
    """`actors.fleet.NodeHandle` over a named actor."""

    owner: str
    actor: ActorHandle

    async def run(self) -> PolicyVersion:
        """See `NodeHandle`. A break of the network is no end: pings decide about that."""
        while True:
            try:
                return await answered(self.actor.run.remote())
            except ActorUnavailableError:
                await anyio.sleep(UNREACHABLE_PAUSE_SECONDS)

    async def ping(self) -> None:
        """See `NodeHandle`."""
        while True:
            try:
                return await answered(self.actor.ping.remote())
            except ActorUnavailableError:
                await anyio.sleep(UNREACHABLE_PAUSE_SECONDS)

    async def drain(self) -> None:
        """See `NodeHandle`."""
        await self._once(self.actor.drain.remote())

    async def fence(self, owner: str, cause: str) -> None:
        """See `NodeHandle`."""
        await self._once(self.actor.fence.remote(owner, cause))

    async def kill(self) -> None:
        """See `NodeHandle`."""
        # Ray may not answer either: the thread is left to itself then.
        kill = partial(ray.kill, self.actor, no_restart=True)
        await run_sync(kill, abandon_on_cancel=True)

    async def _once(self, reference: Any) -> None:  # noqa: ANN401
        try:
            await answered(reference)
        except ActorUnavailableError as error:
            raise NodeError(f"{self.owner} cannot be reached: {first_line(error)}") from None


@dataclass(eq=False)
class RayLauncher:
    """`actors.fleet.Launcher`: nodes as detached actors, spread by a placement group."""

    config: RunConfig
    directory: RunDirectory
    plan: Plan
    """What the run began with."""
    is_alone: bool
    """Its only node is started for the first time."""
    _group: PlacementGroup | None = None
    _placing: threading.Lock = field(default_factory=threading.Lock)
    _bundles: dict[str, int] = field(default_factory=dict)
    """Of the nodes of that plan."""

    async def start(self, plan: NodePlan, *, cause: str) -> RayNode:
        """See `Launcher`. Raises NodeError when the cluster has no room."""
        owner = f"{plan.name}-{uuid.uuid4().hex[:8]}"
        options = await run_sync(self._options, plan, owner)
        placed: Any = ray.remote(NodeActor).options(**options)
        reach = partial(ray_reach, run_key(self.directory))
        actor = placed.remote(
            self.config,
            self.directory.root,
            plan,
            owner,
            cause,
            reach,
            weight_backend=self.plan.weight_backend,
            is_alone=self.is_alone and not cause,
        )
        return RayNode(owner, actor)

    async def living(self) -> Mapping[str, RayNode]:
        """See `Launcher`."""
        return await run_sync(living_nodes, self.directory)

    def _options(self, plan: NodePlan, owner: str) -> dict[str, Any]:
        gpus = len({*plan.learner_gpus, *plan.replica_gpus})
        return {
            "name": f"{run_key(self.directory)}/{owner}",
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "num_cpus": 1,
            "num_gpus": gpus,
            "max_restarts": 0,
            "max_concurrency": 256,
            "runtime_env": {"env_vars": self._environment()},
            "scheduling_strategy": self._strategy(plan),
        }

    def _environment(self) -> dict[str, str]:
        """For the plan's device: this process may be on a machine without GPUs."""
        engine = self.config.engine.model_copy(update={"device": self.plan.device})
        return engine_environment(self.config.model_copy(update={"engine": engine}))

    def _strategy(self, plan: NodePlan) -> Any:  # noqa: ANN401 -- one of Ray's strategies
        if (plan.name, plan.machine) not in {(n.name, n.machine) for n in self.plan.nodes}:
            ids = {machine.name: ray_id for ray_id, machine in named_machines().items()}
            its_own = ids.get(plan.machine.name)  # gone, if none has its name any more
            return NodeAffinitySchedulingStrategy(its_own, soft=True) if its_own else "DEFAULT"
        with self._placing:  # nodes are started beside each other
            if self._group is None:
                self._group = self._placed()
        return PlacementGroupSchedulingStrategy(self._group, self._bundles[plan.name])

    def _placed(self) -> PlacementGroup:
        """The group of this run: a new one, or that of a fleet before this one."""
        self._bundles = {node.name: index for index, node in enumerate(self.plan.nodes)}
        name = group_name(self.directory)
        with contextlib.suppress(ValueError):
            return ray.util.get_placement_group(name)
        bundles = [
            {"CPU": 1.0, "GPU": float(gpus)} if gpus else {"CPU": 1.0}
            for node in self.plan.nodes
            for gpus in [len({*node.learner_gpus, *node.replica_gpus})]
        ]
        strategy = "STRICT_SPREAD" if self.plan.is_spread else "PACK"
        group = placement_group(bundles, strategy=strategy, name=name, lifetime="detached")
        if not group.wait(PLACEMENT_SECONDS):
            remove_placement_group(group)
            raise NodeError(
                f"the cluster has no room for {len(bundles)} nodes, even after"
                f" {PLACEMENT_SECONDS:g} s",
                hint="`ray status` shows what other jobs hold; `azr run --dry-run` shows the plan.",
            )
        return group


def group_name(directory: RunDirectory) -> str:
    """Of the run's placement group."""
    return f"{run_key(directory)}/group"


def fleet_name(directory: RunDirectory) -> str:
    """Of the run's fleet."""
    return f"{run_key(directory)}/{FLEET}"


def clear_away(directory: RunDirectory) -> None:
    """End a fleet that is over, for good, and give its places back."""
    with contextlib.suppress(ValueError):
        remove_placement_group(ray.util.get_placement_group(group_name(directory)))
    with contextlib.suppress(ValueError):
        ray.kill(named_actor(fleet_name(directory)), no_restart=True)


def kill_all(directory: RunDirectory) -> None:
    """Abort a run: its fleet first, so that nothing is started again."""
    clear_away(directory)
    for node in living_nodes(directory).values():
        ray.kill(node.actor, no_restart=True)


def living_nodes(directory: RunDirectory) -> dict[str, RayNode]:
    """The incarnations of a run that have a process, by node name."""
    prefix = f"{run_key(directory)}/"
    found: dict[str, RayNode] = {}
    for entry in ray.util.list_named_actors(all_namespaces=True):
        name = entry["name"]
        owner = name.removeprefix(prefix)
        if entry["namespace"] != NAMESPACE or not name.startswith(prefix) or owner == FLEET:
            continue
        with contextlib.suppress(ValueError):  # it ended just now
            found[owner.rpartition("-")[0]] = RayNode(owner, named_actor(name))
    return found


def ray_reach(key: str, config: RunConfig, node: NodeRecord) -> RemoteReplica:
    """The proxy of another node's replica (`actors.roll_call.Reach`, but for `key`, `config`)."""
    found: list[ActorHandle] = []  # by its name once: the name is of this incarnation alone

    async def call(method: str, *arguments: object) -> Any:  # noqa: ANN401
        try:
            if not found:
                name = f"{key}/{node.node_id}"
                found.append(await run_sync(named_actor, name, abandon_on_cancel=True))
            return await answered(found[0].replica.remote(node.node_id, method, arguments))
        except EngineError:
            raise
        except (ValueError, RayError, AzrError) as error:
            raise EngineError(f"{node.node_id} cannot be reached: {first_line(error)}") from None

    return RemoteReplica(
        replica_name(node.name),
        node.node_id,
        call,
        update_seconds=config.engine.update_timeout_seconds,
    )


def named_actor(name: str) -> ActorHandle:
    """A named actor of this run. Raises ValueError if there is none."""
    return ray.get_actor(name, namespace=NAMESPACE)


def named_machines() -> dict[str, Machine]:
    """The machines of the cluster this process has joined, by Ray's id, its own first."""
    own = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"]]
    alive.sort(key=lambda node: node["NodeID"] != own)
    hosts = Counter(node["NodeManagerHostname"] for node in alive)
    return {node["NodeID"]: _machine(node, hosts) for node in alive}


def _machine(node: Mapping[str, Any], hosts: Mapping[str, int]) -> Machine:
    host, resources = node["NodeManagerHostname"], node["Resources"]
    # Several raylets on one host, as in a test, are told apart by their ids.
    name = host if hosts[host] == 1 else f"{host}/{node['NodeID'][:6]}"
    return Machine(
        name=name,
        address=node["NodeManagerAddress"],
        cpus=int(resources.get("CPU", 0)),
        gpus=0 if has_cpu_build() else int(resources.get("GPU", 0)),
        memory_mib=int(resources.get("memory", 0)) >> 20,
    )


def first_line(error: BaseException) -> str:
    """What an error of Ray says before its details."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
