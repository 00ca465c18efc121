"""Watching a run from outside its nodes: everything shown comes from the database."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from azr.errors import StoreError
from azr.progress import RunView
from azr.report.moment import RunReader
from azr.store.locate import Located
from azr.store.points import EventPoint
from azr.types import PolicyVersion

REREAD_SECONDS = 2.0
"""A look costs the machine that plays the run some milliseconds; this bounds how often."""

NOTES = {
    "recovered": "continuing from v{version}; steps after it that were undone: {steps_rolled_back}",
    "node_started": "{owner} is up",
    "restarting": "{what} starts again in {pause_seconds} s: {cause}",
    "node_fenced": "{node} was given up: {reason}",
    "waiting_for_replicas": "no replica can be reached; waiting for one",
    "evaluating": "measuring v{version} on {problems} held-out problems",
    "seeding_started": "filling the buffers from the identity triplet",
    "seeding_finished": "buffers hold {tasks} tasks after {rounds} rounds; self-play begins",
    "seed_file_opened": "validating {rows} tasks of {file} in the jail",
    "seed_file_progress": "validated {validated} of {rows} seed tasks",
    "seed_file_finished": "buffers hold {tasks} tasks ({refused} rows refused); play begins",
    "replica_refused": "replica {replica} failed its proof at v{version} and serves nothing",
    "finding": "{severity}: {name} in {scope} since step {since_step} ({figures}): {meaning}",
    "thoughts_flagged": "warning: {share} of the last {num_rollouts} responses were flagged,"
    " most often for {pattern}: `azr thoughts list` shows them",
    "thoughts_flagged_over": "over: {share} of the last {num_rollouts} responses were flagged",
    "thought_score_failed": "a thought was not scored ({failed} so far): {cause}",
    "finding_over": "over at step {step}: {name} in {scope}",
}
"""Events worth a line, by kind."""


@dataclass(kw_only=True, eq=False)
class RunWatch:
    """Reads a run's database into a view, as often as that is worth it."""

    database: Path | Located
    view: RunView
    first_step: PolicyVersion = 0
    """The step that the run was at when it was first seen."""
    _started: float = field(default_factory=time.monotonic)
    _next_reading: float = 0.0
    _reader: RunReader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = RunReader(database=self.database)

    def begin(self) -> None:
        """Look once before the nodes start, so that old events are not told again."""
        # A run that was killed while it started has a file, but no tables or no rows yet.
        with contextlib.suppress(StoreError):
            self.first_step = self._reader.look().durable_version

    def refresh(self, *, now: bool = False) -> None:
        """Show what is new; does nothing between readings or before there is a database."""
        if not now and time.monotonic() < self._next_reading:
            return
        self._next_reading = time.monotonic() + REREAD_SECONDS
        try:
            look = self._reader.look()
        except StoreError:
            return  # The node has not begun its run yet.
        for event in look.events:
            self._tell(event)
        elapsed = time.monotonic() - self._started
        self.view.show(replace(look.progress, elapsed_seconds=elapsed))

    def _tell(self, event: EventPoint) -> None:
        wording = NOTES.get(event.kind)
        fresh_run = event.kind == "recovered" and not event.facts.get("version")
        if wording is not None and not fresh_run:
            self.view.note(wording.format_map(_Known(event.facts)))


class _Known(dict[str, object]):
    """Facts by name; one that an event lacks reads as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"
