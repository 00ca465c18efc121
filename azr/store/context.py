"""What every statement of a run needs to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from azr.config import RunConfig
from azr.types import Lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The run that an open store belongs to."""

    run_id: int
    config: RunConfig
    clock: Callable[[], float]
    """Seconds since the epoch; tests bring their own."""
    lineage: Lineage = 0
    """What a learner behind this store continues: the newest when it was opened, then
    the one that its own recovery began."""
    oldest_lineage: Lineage = 0
    """Whatever is put here was sampled by this lineage or a newer one: nobody of an older
    one is behind this store."""
    node_id: str = ""
    """The incarnation that registered through this store, if one did."""

    def now(self) -> float:
        return self.clock()

    def lease_end(self) -> float:
        return self.clock() + self.config.actors.lease_seconds
