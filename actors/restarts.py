"""Starting again what failed: with patience, and not for ever.

A learner's process, the jails of a node and whole nodes end for reasons that pass (a
killed process, a full memory, a server that was away). Each gets another start after a
growing pause. What fails again and again within a window is a fault that no restart
mends: the storm ends with the last error.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from azr.config import ClusterSection
from azr.errors import (
    AzrError,
    ConfigError,
    InputError,
    ModelError,
    NodeError,
    RunDirectoryError,
    SandboxUnavailableError,
    expected_error,
)

log = logging.getLogger(__name__)

PERMANENT = (ConfigError, InputError, ModelError, RunDirectoryError, SandboxUnavailableError)
"""Another start would meet them again."""
type Told = Callable[[str, str, float], Awaitable[None]]
"""Hears of a restart: what, why, and after how many seconds."""


@dataclass(kw_only=True, eq=False)
class Restarts:
    """Restarts of one thing, counted over a sliding window."""

    what: str
    settings: ClusterSection
    told: Told
    is_wanted: Callable[[], bool] = lambda: True
    """Whether another start is wanted at all; a failure is raised otherwise."""
    final: tuple[type[AzrError], ...] = PERMANENT
    """Failures that no restart mends."""
    now: Callable[[], float] = time.monotonic
    _failures: deque[float] = field(default_factory=deque)

    async def keep[T](self, life: Callable[[], Awaitable[T]]) -> T:
        """Run `life` until it returns, starting it again when it fails.

        Raises:
            AzrError: a failure that no restart mends.
            NodeError: `settings.restart_limit` failures within the window: the last one is told.
        """
        while True:
            try:
                return await life()
            except (AzrError, ExceptionGroup) as error:
                cause = expected_error(error)
                if cause is None or isinstance(cause, self.final):
                    raise
                if not self.is_wanted():
                    raise cause from None
                pause_seconds = self._pause_after(cause)
            await self.told(self.what, str(cause), pause_seconds)
            await anyio.sleep(pause_seconds)

    def _pause_after(self, cause: AzrError) -> float:
        """Seconds to wait; doubles with every failure in the window. Raises NodeError."""
        self._failures.append(self.now())
        while self._failures[0] < self.now() - self.settings.restart_window_seconds:
            self._failures.popleft()
        count = len(self._failures)
        if count > self.settings.restart_limit:
            window_seconds = self.settings.restart_window_seconds
            raise NodeError(
                f"{self.what} failed {count} times within {window_seconds:g} s,"
                f" the last time so: {cause}",
                hint=cause.hint,
            ) from cause
        pause_seconds = self.settings.restart_pause_seconds * 2 ** (count - 1)
        log.warning("%s failed and starts again in %g s: %s", self.what, pause_seconds, cause)
        return min(pause_seconds, self.settings.longest_pause_seconds)
