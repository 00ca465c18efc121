"""What a run shows while it plays, and the border to whoever shows it.

The driver polls the store into a `Progress` and hands it to a `RunView`: a live
table on a terminal, one line per step in a log file, nothing in a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from azr.roster import Roster
from azr.types import Cell, DropReason, TaskType

BUSY_SECONDS_METRIC = "engine/busy_seconds"
"""Recorded with every learner step: seconds so far in which the vLLM of the learner's node
had a request in flight, since its process began. Nodes that only sample report their own."""
SAMPLED_TOKENS_METRIC = "engine/sampled_tokens"
"""Recorded with every learner step: tokens sampled so far on the learner's node."""
CPU_SECONDS_METRIC = "node/cpu_seconds"
"""Recorded with every learner step: CPU time so far of the node and all that it started."""


def replica_busy_metric(replica: str) -> str:
    """Reported by every node that samples: seconds so far in which its vLLM had a request in
    flight, since its process began."""
    return f"replica/{replica}/busy_seconds"


def replica_tokens_metric(replica: str) -> str:
    """Reported by every node that samples: tokens sampled so far by its process."""
    return f"replica/{replica}/sampled_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a run. Absent keys and None mean: not known yet."""

    step: int
    """Learner steps committed, of the whole run."""
    total_steps: int
    elapsed_seconds: float
    """Since this process started the run or resumed it."""
    reward: Mapping[Cell, float] = field(default_factory=dict)
    """Mean reward of the last trained batch, per cell."""
    validity: Mapping[TaskType, float] = field(default_factory=dict)
    """Share of recent proposals that became tasks, 0 to 1."""
    solve_rate: Mapping[TaskType, float] = field(default_factory=dict)
    """Mean solve rate of recently settled proposals, 0 to 1."""
    buffer_sizes: Mapping[TaskType, int] = field(default_factory=dict)
    """Tasks in each buffer, seeds included."""
    mean_staleness: float | None = None
    """Policy versions, over the last trained batch."""
    max_staleness: int | None = None
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    """Rollouts dropped since the run began."""
    generated_tokens_per_second: float | None = None
    """Of all replicas together."""
    engine_busy_share: float | None = None
    """Share of the recent past with a request in flight, 0 to 1: the mean of all replicas."""
    seconds_per_step: float | None = None
    """Mean wall-clock time between recent learner steps."""
    played_seconds: float = 0.0
    """Self-play behind the last step, over all restarts."""
    limit_seconds: float = 0.0
    """`run.minutes` in seconds; 0 = no limit."""
    findings: Sequence[str] = ()
    """What `azr.diagnosis` sees going wrong now, a line each."""
    roster: Roster = field(default_factory=Roster)
    """Who plays, and how each fares."""

    @property
    def seconds_left(self) -> float | None:
        """At the recent pace; None before there is one."""
        if self.seconds_per_step is None:
            return None
        by_steps = max(0, self.total_steps - self.step) * self.seconds_per_step
        return min(by_steps, self._time_left) if self.limit_seconds else by_steps

    @property
    def ends_by_time(self) -> bool:
        """Whether `run.minutes` will be used up before `run.steps`."""
        if not self.limit_seconds:
            return False
        pace = self.seconds_per_step
        return pace is None or self._time_left < (self.total_steps - self.step) * pace

    @property
    def _time_left(self) -> float:
        return max(0.0, self.limit_seconds - self.played_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run ended."""

    run_dir: Path
    first_step: int
    """Learner steps that were already committed when this process began."""
    last_step: int
    total_steps: int
    elapsed_seconds: float
    interrupted: bool = False
    """Drained and checkpointed on Ctrl-C before the last step."""

    @property
    def finished(self) -> bool:
        """Its steps or its time are used up: without an interruption it ends only then."""
        return not self.interrupted or self.last_step >= self.total_steps


class RunView(Protocol):
    """Shows a run to whoever watches. Methods are quick and never raise."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def note(self, text: str) -> None:
        """One line about what happens now: a phase, a warning, a checkpoint."""
        ...

    def show(self, progress: Progress) -> None:
        """The newest state; called often, with repeated steps in between."""
        ...


class SilentView:
    """A view that shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def note(self, text: str) -> None:
        """Say nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""
