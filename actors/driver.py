"""The driver of `azr run`: starts the nodes, shows progress from SQL, and stops them.

It holds no state of the run. Ctrl-C drains (finish what is held, checkpoint); a
second one aborts. If the driver is killed its node goes with it, and the run
directory is all that is needed to go on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from actors.cluster import local_ray, start_node
from actors.watch import RunWatch
from azr.config import RunConfig
from azr.errors import AzrError, NodeError
from azr.progress import RunSummary, RunView
from azr.run_directory import RunDirectory
from azr.store.locate import of_directory
from azr.types import PolicyVersion

REFRESH_SECONDS = 0.5


def run(
    config: RunConfig, *, run_dir: Path, nodes: int = 1, view: RunView, resume: bool = False
) -> RunSummary:
    """Play until the last step or Ctrl-C; `resume` continues what the directory holds.

    Raises AzrError for expected failures, KeyboardInterrupt after a second Ctrl-C.
    """
    if nodes != 1:
        raise NodeError(
            f"--nodes {nodes} is not supported yet: this version runs one node",
            hint="Leave --nodes out.",
        )
    started = time.monotonic()
    directory = RunDirectory(run_dir)
    with local_ray():
        view.note("continuing the run" if resume else "starting: vLLM, the jails and the learner")
        watch = RunWatch(database=of_directory(directory), view=view)
        watch.begin()
        node = start_node(config, directory)
        with _interrupts(node, view) as interrupts:
            version = _follow(node, watch)
        watch.refresh(now=True)
    return RunSummary(
        run_dir=directory.root,
        first_step=watch.first_step,
        last_step=version,
        total_steps=config.run.steps,
        elapsed_seconds=time.monotonic() - started,
        interrupted=interrupts.count > 0,
    )


def _follow(node: ActorHandle, watch: RunWatch) -> PolicyVersion:
    """Show progress until the node returns the version that it reached."""
    outcome = node.run.remote()
    while not ray.wait([outcome], timeout=REFRESH_SECONDS)[0]:
        watch.refresh()
    try:
        return ray.get(outcome)
    except RayTaskError as error:
        if isinstance(error.cause, AzrError):
            raise error.cause from None
        raise
    except RayActorError as error:
        raise NodeError(f"the node's process died: {error}") from None


@dataclass(eq=False)
class _Interrupts:
    """Ctrl-C, counted: once drains, twice aborts."""

    node: ActorHandle
    view: RunView
    count: int = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.count += 1
        if self.count > 1:
            ray.kill(self.node)
            raise KeyboardInterrupt
        self.view.note("stopping: finishing held work and writing a checkpoint (Ctrl-C aborts)")
        self.node.drain.remote()


@contextmanager
def _interrupts(node: ActorHandle, view: RunView) -> Generator[_Interrupts]:
    handler = _Interrupts(node, view)
    previous = {
        number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield handler
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
