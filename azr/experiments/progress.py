"""What an experiment tells whoever waits for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from azr.experiments.plans import Trial
from azr.play_time import PLAYED_SECONDS_METRIC, SECONDS_PER_MINUTE

TAIL_BYTES = 8192
"""Of `metrics.jsonl`: more than its last line."""


class ExperimentView(Protocol):
    """Shows an experiment. Methods are quick and never raise."""

    def note(self, text: str) -> None:
        """Something that stays: a trial begins, ends or fails."""
        ...

    def show(self, text: str) -> None:
        """Where it is at this moment; replaced by the next."""
        ...


def run_position(metrics: Path, minutes: float) -> str:
    """How far a run is, from the end of its `metrics.jsonl`."""
    try:
        with metrics.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            last = json.loads(file.read().splitlines()[-1])
        step, played = last["step"], last[PLAYED_SECONDS_METRIC] / SECONDS_PER_MINUTE
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return "starting"  # or a line is being written
    return f"step {step}, {played:.0f} of {minutes:g} min" if minutes else f"step {step}"


def time_left(done_seconds: float, now: Trial, waiting: Sequence[Trial]) -> str:
    """A guess from the plan: what is left of this trial, and all that follow."""
    own = max(0.0, now.guessed_seconds - done_seconds)
    minutes = (own + sum(trial.guessed_seconds for trial in waiting)) / SECONDS_PER_MINUTE
    return f"about {minutes:.0f} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"
