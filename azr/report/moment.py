"""Where a run stands now, read from its database: for `azr status` and the live view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from azr.diagnosis import told
from azr.monitor import BEGAN, OVER, alert_lines
from azr.play_time import PLAYED_SECONDS_METRIC, SECONDS_PER_MINUTE
from azr.progress import Progress
from azr.report.standing import read_roster
from azr.report.summary import busy_share, seconds_per_step
from azr.roster import Roster
from azr.store import queries
from azr.store.history import History, open_history, recent
from azr.store.locate import Located
from azr.store.points import CellStepPoint, EventPoint, ProposalPoint, StepPoint
from azr.types import PolicyVersion, TaskType

RECENT_STEPS = 5
"""Validity, solve rate and pace are means over this many steps or versions."""
BUSY_STEPS = 30
"""Over so many steps the busy share is taken where only the learner's node reports it."""
RATE_WINDOW_SECONDS = 15.0
CLOCK_SECONDS = 60.0
"""By so much a proposal may seem older than the step before it."""
LASTING_KINDS = frozenset({*told.KINDS, BEGAN, OVER, "recovered", "node_stopped", "node_fenced"})
"""Events that say what lasts, or that it is over."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a run."""

    progress: Progress
    events: Sequence[EventPoint]
    """Those that no look before this one had."""
    durable_version: PolicyVersion
    """The newest that has a checkpoint; 0 for none."""


@dataclass(kw_only=True, eq=False)
class RunReader:
    """Looks at a run again and again; a look does not take longer because the run has.

    What is settled is read once and remembered, the rest is of the newest steps.
    """

    database: Path | Located
    _drops: recent.DropCounts = field(default_factory=recent.DropCounts)
    _events: recent.EventTail = field(default_factory=recent.EventTail)
    _lasting: list[EventPoint] = field(default_factory=list)

    def look(self) -> Look:
        """Raises StoreError or RunDirectoryError if there is no run to read yet."""
        with open_history(self.database) as history:
            return self.look_at(history)

    def look_at(self, history: History) -> Look:
        """At an open history of the run."""
        config = queries.run_config(history)
        steps = recent.newest_steps(history, BUSY_STEPS)
        step_id = recent.newest_step_id(history)
        newest = [] if step_id is None else queries.cell_steps(history, step_id=step_id)
        proposals = queries.proposals(history, since=_since(steps))
        started_at = queries.first_rollout_at(history)
        speeds = _speeds(history, started_at, steps)
        roster = read_roster(history, tokens_per_second=speeds)
        buffer_sizes, dropped = recent.buffer_sizes(history), self._drops.read(history)
        durable_version = recent.durable_version(history)
        new = self._events.read(history)  # last: what was given out must be shown
        self._lasting += [event for event in new if event.kind in LASTING_KINDS]
        progress = Progress(
            step=steps[-1].step if steps else 0,
            total_steps=config.run.steps,
            elapsed_seconds=steps[-1].committed_at - started_at if steps and started_at else 0.0,
            reward={row.cell: row.mean_reward for row in newest},
            validity=_validity(proposals),
            solve_rate=_solve_rate(proposals),
            buffer_sizes=buffer_sizes,
            mean_staleness=_mean_staleness(newest),
            max_staleness=max((row.max_staleness for row in newest), default=None),
            dropped=dropped,
            generated_tokens_per_second=None if speeds is None else sum(speeds.values()),
            engine_busy_share=_busy(roster, steps),
            seconds_per_step=seconds_per_step(steps[-RECENT_STEPS:]),
            played_seconds=steps[-1].metrics.get(PLAYED_SECONDS_METRIC, 0.0) if steps else 0.0,
            limit_seconds=config.run.minutes * SECONDS_PER_MINUTE,
            findings=(
                *(told.line(facts) for facts in told.still_open(self._lasting).values()),
                *alert_lines((event.kind, event.facts) for event in self._lasting),
            ),
            roster=roster,
        )
        return Look(progress, new, durable_version)


def read_progress(database: Path | Located) -> Progress:
    """One look at a run. `elapsed_seconds` counts from its first rollout to its last step.

    Raises StoreError or RunDirectoryError if there is no database to read.
    """
    return RunReader(database=database).look().progress


def _since(steps: Sequence[StepPoint]) -> float | None:
    """From when on proposals are of the last `RECENT_STEPS` versions; None: from the first."""
    if len(steps) <= RECENT_STEPS:
        return None
    return steps[-RECENT_STEPS - 1].committed_at - CLOCK_SECONDS


def _speeds(
    history: History, started_at: float | None, steps: Sequence[StepPoint]
) -> dict[str, float] | None:
    """Tokens a second by incarnation, in the newest window since the start that is over."""
    newest = recent.newest_rollout_at(history)
    if started_at is None or newest is None:
        return None
    last = max(newest, steps[-1].committed_at if steps else newest)
    num_over = int((last - started_at) / RATE_WINDOW_SECONDS)
    if num_over == 0:
        return None
    until = started_at + num_over * RATE_WINDOW_SECONDS
    tokens = recent.sampled_tokens(history, since=until - RATE_WINDOW_SECONDS, until=until)
    return {owner: count / RATE_WINDOW_SECONDS for owner, count in tokens.items()}


def _busy(roster: Roster, steps: Sequence[StepPoint]) -> float | None:
    """Mean of all replicas; of the learner's node where no replica has reported."""
    shares = [each.busy_share for each in roster.replicas if each.busy_share is not None]
    return fmean(shares) if shares else busy_share(steps)


def _recent(proposals: Sequence[ProposalPoint], task_type: TaskType) -> list[ProposalPoint]:
    newest = max((row.version for row in proposals), default=0)
    return [
        row
        for row in proposals
        if row.task_type is task_type and row.version > newest - RECENT_STEPS
    ]


def _validity(proposals: Sequence[ProposalPoint]) -> dict[TaskType, float]:
    return {
        task_type: sum(row.num_valid for row in rows) / sum(row.num_judged for row in rows)
        for task_type in TaskType
        if (rows := _recent(proposals, task_type))
    }


def _solve_rate(proposals: Sequence[ProposalPoint]) -> dict[TaskType, float]:
    """Each settled proposal counts once."""
    rates: dict[TaskType, float] = {}
    for task_type in TaskType:
        settled = [
            (row.num_settled, row.mean_solve_rate)
            for row in _recent(proposals, task_type)
            if row.mean_solve_rate is not None
        ]
        if settled:
            rates[task_type] = sum(n * rate for n, rate in settled) / sum(n for n, _ in settled)
    return rates


def _mean_staleness(newest: Sequence[CellStepPoint]) -> float | None:
    rows = sum(row.num_rollouts for row in newest)
    return sum(row.mean_staleness * row.num_rollouts for row in newest) / rows if rows else None
