"""Where nodes run: Ray starts them, watches them, and tells the driver how they end."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from azr.config import RunConfig
from azr.engine.environment import engine_environment
from azr.errors import NodeError, expected_error
from azr.run_directory import RunDirectory
from azr.types import PolicyVersion

NAMESPACE = "azr"
RAY_ATTEMPTS = 3
SWITCH_INTERVAL_SECONDS = 5e-4


class NodeActor:
    """The Ray actor around a node: one process, one event loop.

    `run` and `drain` are concurrent calls on the same loop. Heavy imports happen in
    the actor's process only, after its environment is set.
    """

    def __init__(self, config: RunConfig, root: Path) -> None:
        from actors.node import Node  # noqa: PLC0415 -- pulls in torch and vLLM

        # The engine's thread takes the interpreter back between torch calls; at the default
        # of 5 ms it would wait that long behind every other busy thread of the node.
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        directory = RunDirectory(root)
        _log_to(directory.logs / "node.log")
        self._node = Node(config=config, directory=directory)

    async def run(self) -> PolicyVersion:
        try:
            return await self._node.run()
        except BaseExceptionGroup as group:
            raise (expected_error(group) or group) from None

    async def drain(self) -> None:
        """Stop leasing, finish what is held, checkpoint."""
        self._node.drain.request()

    async def process_id(self) -> int:
        return os.getpid()


def _log_to(path: Path) -> None:
    """This process's log goes to a file in the run directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in ("azr", "actors"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


@contextmanager
def local_ray() -> Generator[None]:
    """A private Ray on this machine's loopback, gone when the block ends."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray runs its workers at nice 15, which starves the node beside anything else.
    os.environ.setdefault("RAY_worker_niceness", "0")
    _start_ray()
    try:
        yield
    finally:
        ray.shutdown()


def _start_ray() -> None:
    """Ray gives its own processes 30 s, which a machine under load may miss: try again.

    Raises NodeError when it stays down.
    """
    for attempt in range(1, RAY_ATTEMPTS + 1):
        try:
            ray.init(
                address="local",
                namespace=NAMESPACE,
                num_cpus=max(2, os.cpu_count() or 2),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=80 << 20,
                _node_ip_address="127.0.0.1",
            )
        except Exception as error:
            ray.shutdown()
            if attempt == RAY_ATTEMPTS:
                raise NodeError(
                    f"Ray did not start: {str(error).splitlines()[0]}",
                    hint="Wait until the machine is less busy; Ray's own logs are in /tmp/ray.",
                ) from error
        else:
            return


def start_node(config: RunConfig, directory: RunDirectory) -> ActorHandle:
    """Place one node runtime; its engine's environment is set before it imports anything."""
    placed: Any = ray.remote(NodeActor).options(
        num_cpus=1,
        max_restarts=0,
        runtime_env={"env_vars": engine_environment(config)},
    )
    return placed.remote(config, directory.root)
