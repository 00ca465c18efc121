"""The Ray actor around a fleet: it outlives the driver, and starts again where it stood.

The fleet plays in a thread with a loop of its own from the moment the actor exists, so
that a fleet whose process died supervises again as soon as Ray has restarted it, whether
or not anybody asks it anything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

from actors import fleet_state
from actors.cluster import RayLauncher, clear_away
from actors.fleet import Fleet, NodeReport
from actors.node_actor import log_to
from azr.config import RunConfig
from azr.errors import AzrError, NodeError
from azr.placement import Plan
from azr.run_directory import RunDirectory
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

LINGER_SECONDS = 60.0
"""How long a fleet that is over still tells how it ended."""
ANSWER_SECONDS = 10.0
"""For the fleet's loop to begin."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run ended."""

    version: PolicyVersion
    error: AzrError | None = None


class FleetActor:
    """Calls come on Ray's threads; the fleet lives on its own.

    What it should do is in the run directory (`actors.fleet_state`), where `scale` and
    `drain` leave it too: a fleet that starts again does what the one before was told.
    """

    def __init__(self, config: RunConfig, root: Path) -> None:
        self._directory = RunDirectory(root)
        log_to(self._directory.logs / "fleet.log")
        self._telling = threading.Lock()
        self._state = state = fleet_state.read(self._directory)
        is_alone = len(state.now.nodes) == 1 and not state.has_begun
        self._remember(has_begun=True)
        self._fleet = Fleet(
            plans=state.now.nodes,
            launcher=RayLauncher(config, self._directory, state.placed, is_alone=is_alone),
            settings=config.cluster,
        )
        if state.is_draining:
            self._fleet.drain.request()
        self._outcome: Outcome | None = None
        self._token: EventLoopToken | None = None
        self._began = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._play, name="fleet", daemon=True).start()

    def outcome(self, wait_seconds: float) -> Outcome | None:
        """How the run ended, if it does so within this time."""
        self._over.wait(wait_seconds)
        return self._outcome

    def drain(self) -> None:
        """Finish held work, write a checkpoint, end."""
        self._remember(is_draining=True)
        self._on_loop(self._fleet.drain.request)

    def plan(self) -> Plan:
        """Who should do what now."""
        return self._state.now

    def scale(self, plan: Plan) -> None:
        """Have these nodes from now on."""
        self._remember(now=plan)
        self._on_loop(lambda: self._fleet.scale(plan.nodes))

    def report(self) -> list[NodeReport]:
        """The nodes as they are now."""
        return self._on_loop(self._fleet.report)

    def _remember(self, **facts: Plan | bool) -> None:
        """For the next fleet, before anything is done."""
        with self._telling:
            self._state = replace(self._state, **facts)
            fleet_state.write(self._directory, self._state)

    def _on_loop[T](self, function: Callable[[], T]) -> T:
        """Call into the fleet's loop. Raises NodeError if it is over."""
        self._began.wait(ANSWER_SECONDS)
        if self._token is None or self._over.is_set():
            raise NodeError("the run has ended")
        try:
            return from_thread.run_sync(function, token=self._token)
        except anyio.RunFinishedError:  # just now
            raise NodeError("the run has ended") from None

    def _play(self) -> None:
        try:
            self._outcome = Outcome(anyio.run(self._begin))
        except AzrError as error:
            self._outcome = Outcome(self._fleet.version, error)
        except BaseException as error:  # the process's edge: whoever waits must hear
            log.exception("the fleet failed")
            self._outcome = Outcome(
                self._fleet.version, NodeError(f"the fleet failed: {error!r}; see logs/fleet.log")
            )
        finally:
            self._over.set()
            threading.Timer(LINGER_SECONDS, self._leave).start()

    def _leave(self) -> None:
        """End for good: Ray restarts an actor that merely exits."""
        clear_away(self._directory)

    async def _begin(self) -> PolicyVersion:
        self._token = current_token()
        self._began.set()
        return await self._fleet.run()
