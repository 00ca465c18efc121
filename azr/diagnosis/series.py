"""A run's measures, step by step: those that its node recorded, and the rest computed.

A node measures each step as it is committed. What reads a run afterwards takes those
numbers, and computes only steps that nobody measured (an older run, or the last moments
of one that was killed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from azr.diagnosis.measures import PREFIX, StepMeasures, from_metrics
from azr.diagnosis.windows import Measurer
from azr.store.history import History
from azr.store.history.trained import (
    programs_before,
    recorded_metrics,
    trained_rows,
    trained_steps,
)
from azr.types import PolicyVersion

MAX_REMEMBERED = 20_000
"""Older programs that are read again when a history is taken up in its middle."""

type OnStep = Callable[[int, int], None]
"""Called with (steps measured, steps to measure)."""


def _ignore(_done: int, _total: int) -> None:
    """For callers that show no progress."""


@dataclass(eq=False)
class Series:
    """The measures of a run so far; `catch_up` extends them by what is new."""

    steps: list[StepMeasures] = field(default_factory=list)
    """Surviving steps, oldest first."""
    _measurer: Measurer | None = None

    def catch_up(
        self, history: History, on_step: OnStep = _ignore, *, at_most: int | None = None
    ) -> list[StepMeasures]:
        """Measure the steps since the last one; returns those that nobody had recorded.

        Each costs a bounded number of rows, whatever the length of the run.
        """
        recorded: dict[PolicyVersion, dict[str, float]] = {}
        if not self.steps:
            recorded = recorded_metrics(history, PREFIX)
            at_most = None if at_most is None else at_most + len(recorded)
        last = self.steps[-1].step if self.steps else 0
        waiting = trained_steps(history, after=last, at_most=at_most)
        num_new = sum(found.step not in recorded for found in waiting)
        new: list[StepMeasures] = []
        for found in waiting:
            if found.step in recorded:
                self.steps.append(from_metrics(found.step, recorded[found.step]))
                continue
            if self._measurer is None:
                self._measurer = Measurer()
                older = programs_before(history, found.batch_id, at_most=MAX_REMEMBERED)
                self._measurer.remember(older)
            rows = trained_rows(history, found.batch_id)
            measured = self._measurer.measure(found.step, rows, entropy=found.entropy)
            self.steps.append(measured)
            new.append(measured)
            on_step(len(new), num_new)
        return new


def read_series(history: History, on_step: OnStep = _ignore) -> list[StepMeasures]:
    """The measures of every surviving step of a run."""
    series = Series()
    series.catch_up(history, on_step)
    return series.steps
