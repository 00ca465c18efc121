"""What every statement of a run needs to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from azr.config import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The run that an open store belongs to."""

    run_id: int
    config: RunConfig
    clock: Callable[[], float]
    """Seconds since the epoch; tests bring their own."""

    def now(self) -> float:
        return self.clock()

    def lease_end(self) -> float:
        return self.clock() + self.config.actors.lease_seconds
