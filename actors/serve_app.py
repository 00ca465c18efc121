"""The endpoint as a Ray Serve application: replicas of its own, and the door in front.

The door listens itself instead of behind Serve's proxy, which would be one more process
between a client and its answer. Serve starts both, watches them, starts them again, and
has as many replicas as requests call for.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from actors.serve_calls import NodePolicies, ReplicaPolicies
from actors.serve_kept import Kept
from azr.engine.environment import engine_environment, resolve_device
from azr.run_directory import RunDirectory
from azr.serve.access_log import log_access_to
from azr.serve.app import Inside, build_app
from azr.serve.listen import bound, listening
from azr.serve.opened import open_host, open_inside
from azr.serve.policy import Ask, Head, Policies, PolicyFacts, Sampled, Whole
from azr.serve.target import Target
from azr.types import SamplingRequest

if TYPE_CHECKING:
    from azr.serve.host import PolicyHost

HEALTH_PERIOD_SECONDS = 5.0
HEALTH_TIMEOUT_SECONDS = 60.0
SHUTDOWN_SECONDS = 10.0
"""For an engine to stop, once its requests have ended."""
BESIDE_A_RUN = 5
"""The door's niceness: the run's processes go first where both want the processor."""
_SERVE_ENVIRONMENT = {
    # One event loop for Serve and for what it serves: a hop between threads for every
    # piece of every answer costs more than the pieces do.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where the door is, and who may pass."""

    host: str
    port: int
    key: str | None
    access_log: Path | None


class ReplicaDeployment:
    """One replica of the endpoint's own."""

    async def __init__(self, target: Target) -> None:
        from azr.engine.environment import require_environment  # noqa: PLC0415

        require_environment(target.config)
        name = f"serve-{serve.get_replica_context().replica_id.unique_id}"
        self._kept: Kept[PolicyHost] = Kept(partial(open_host, target, name=name))
        self._host = await self._kept.open()

    async def whole(self, ask: Ask) -> Whole:
        """See `azr.serve.policy.Policies`."""
        return await self._host.whole(ask)

    async def stream(self, ask: Ask) -> AsyncGenerator[Head | bytes]:
        """See `azr.serve.policy.Policies`."""
        async with aclosing(self._host.stream(ask)) as pieces:
            async for piece in pieces:
                yield piece

    async def sample(self, request: SamplingRequest, model: str) -> Sampled:
        """See `azr.serve.policy.Policies`."""
        return await self._host.sample(request, model)

    async def facts(self) -> PolicyFacts:
        """See `azr.serve.policy.Policies`."""
        return await self._host.facts()

    async def check_health(self) -> None:
        """Called by Serve, which replaces a replica whose engine has died."""
        self._host.check_alive()

    async def __del__(self) -> None:
        await self._kept.close()


class DoorDeployment:
    """Where requests come in."""

    async def __init__(
        self,
        target: Target,
        listening_at: Listening,
        replicas: DeploymentHandle | None,
        run_root: Path | None,
    ) -> None:
        """`run_root`: of the live run whose nodes answer, if there are no own replicas."""
        policies: Policies
        if replicas is not None:
            policies = ReplicaPolicies(replicas)
        else:
            assert run_root is not None  # noqa: S101 -- one of the two answers
            os.nice(BESIDE_A_RUN)
            policies = NodePolicies(RunDirectory(run_root))
        if listening_at.access_log is not None:
            log_access_to(listening_at.access_log)
        self._kept = Kept(partial(_door, target, policies, listening_at))
        self._inside, self._port = await self._kept.open()

    async def port(self) -> int:
        """Where it listens."""
        return self._port

    async def ready(self) -> PolicyFacts:
        """Who answers. Raises AzrError if nobody does."""
        return await self._inside.policies.facts()

    async def close(self) -> bool:
        """Let nobody in, and everybody out; whether all left in time."""
        return await self._inside.door.close()

    async def __del__(self) -> None:
        await self._kept.close()


@asynccontextmanager
async def _door(
    target: Target, policies: Policies, at: Listening
) -> AsyncGenerator[tuple[Inside, int]]:
    opened = bound(at.host, at.port)
    async with (
        open_inside(target, policies) as inside,
        listening(build_app(inside, key=at.key), opened),
    ):
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        yield inside, _port_of(opened)


def _port_of(opened: socket.socket) -> int:
    return opened.getsockname()[1]


def application(target: Target, at: Listening, *, run_root: Path | None, node: str) -> Application:
    """The endpoint of a target; of the live run in `run_root`, if that is given.

    `node`: Ray's resource of the machine where the door listens.
    """
    if run_root is not None:
        return door(target, node=node).bind(target, at, None, run_root)
    settings = target.config.serve
    replicas: Any = serve.deployment(
        ReplicaDeployment,
        name="replica",
        max_ongoing_requests=settings.max_in_flight,
        ray_actor_options=_replica_resources(target),
        graceful_shutdown_timeout_s=settings.drain_seconds + SHUTDOWN_SECONDS,
        health_check_period_s=HEALTH_PERIOD_SECONDS,
        health_check_timeout_s=HEALTH_TIMEOUT_SECONDS,
        **_how_many(target),
    )
    return door(target, node=node).bind(target, at, replicas.bind(target), None)


def door(target: Target, *, node: str = "") -> Any:  # noqa: ANN401 -- a deployment, in no stub
    """The deployment in front."""
    resources = {
        "num_cpus": 0,
        "resources": {node: 0.001} if node else {},
        "runtime_env": {"env_vars": _SERVE_ENVIRONMENT},
    }
    return serve.deployment(
        DoorDeployment,
        name="door",
        num_replicas=1,
        max_ongoing_requests=64,
        ray_actor_options=resources,
        graceful_shutdown_timeout_s=target.config.serve.drain_seconds + SHUTDOWN_SECONDS,
        health_check_period_s=HEALTH_PERIOD_SECONDS,
        health_check_timeout_s=HEALTH_TIMEOUT_SECONDS,
    )


def _how_many(target: Target) -> dict[str, Any]:
    settings = target.config.serve
    if settings.min_replicas == settings.max_replicas:
        return {"num_replicas": settings.min_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.target_ongoing_requests,
            "upscale_delay_s": settings.upscale_delay_seconds,
            "downscale_delay_s": settings.downscale_delay_seconds,
        }
    }


def _replica_resources(target: Target) -> dict[str, Any]:
    on_gpu = resolve_device(target.config) == "cuda"
    environment = engine_environment(target.config) | _SERVE_ENVIRONMENT
    return {
        "num_cpus": 1,
        "num_gpus": target.config.engine.tensor_parallel if on_gpu else 0,
        "runtime_env": {"env_vars": environment},
    }
