"""Following a run that plays: each look measures what was committed since the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from azr.diagnosis.measures import StepMeasures
from azr.diagnosis.series import Series
from azr.diagnosis.told import Place, still_open
from azr.store import queries
from azr.store.history import open_history


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a run's history brought."""

    seen: Sequence[StepMeasures]
    """Every step that the follower had not seen, oldest first."""
    new: Sequence[StepMeasures]
    """Those of them whose measures nobody had recorded."""
    told: frozenset[Place]
    """Findings that the run's events leave open."""
    cpu_seconds: float = 0.0
    """Processor time of the look."""


@dataclass(eq=False)
class Follower:
    """Reads one run of a database, on connections of its own."""

    url: str
    run_id: int
    _series: Series = field(default_factory=Series)

    def look(self, at_most: int) -> Look:
        """Measure at most so many new steps. Blocks; raises StoreError."""
        known = len(self._series.steps)
        started = time.thread_time()
        with open_history(self.url, run=self.run_id) as history:
            new = self._series.catch_up(history, at_most=at_most)
            told = frozenset(still_open(queries.events(history)))
        return Look(self._series.steps[known:], new, told, time.thread_time() - started)
