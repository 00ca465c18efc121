"""How long a run has played: what `run.minutes` limits.

Only self-play proper counts: not the start, the seeding or the held-out evaluations,
and not the wait while held work drains. Every learner step records the total so far,
so that a resumed run goes on counting where the last one stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

PLAYED_SECONDS_METRIC = "node/played_seconds"
"""Recorded with every learner step: seconds of self-play behind it, over all restarts."""

SECONDS_PER_MINUTE = 60.0


@dataclass(kw_only=True, eq=False)
class PlayTime:
    """A clock that starts when self-play does and may have a limit."""

    limit_seconds: float
    """0: no limit."""
    before_seconds: float = 0.0
    """Played by earlier starts of the same run."""
    clock: Callable[[], float] = time.monotonic
    _begun_at: float | None = field(default=None, init=False)

    @classmethod
    def of_minutes(
        cls,
        minutes: float,
        *,
        before_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> PlayTime:
        """The clock of a run with `run.minutes`."""
        limit = minutes * SECONDS_PER_MINUTE
        return cls(limit_seconds=limit, before_seconds=before_seconds, clock=clock)

    def begin(self) -> None:
        """Self-play starts now."""
        self._begun_at = self.clock()

    @property
    def seconds(self) -> float:
        """Played so far."""
        now = 0.0 if self._begun_at is None else self.clock() - self._begun_at
        return self.before_seconds + now

    @property
    def share(self) -> float:
        """Of the limit that is used up; 0 without one."""
        return self.seconds / self.limit_seconds if self.limit_seconds else 0.0

    @property
    def is_over(self) -> bool:
        """Whether the limit is reached."""
        return 0 < self.limit_seconds <= self.seconds
