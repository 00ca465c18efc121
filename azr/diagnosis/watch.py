"""Findings: when a failure began in a run, and when it was over.

A `Watch` reads steps in their order and keeps two windows, the run's beginning and the
last few steps. It costs the same at every step and gives the same findings whether it
sees a run as it plays or afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from azr.diagnosis.measures import MEASURES, StepMeasures, pooled
from azr.diagnosis.rules import BASELINE_STEPS, MIN_COUNT, RULES, WINDOW_STEPS, Rule, Severity
from azr.types import PolicyVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A failure of a run, from the step at which it showed."""

    name: str
    """Of the rule; `azr.diagnosis.rules.RULES` has its meaning and advice."""
    scope: str
    """A cell, or `run`."""
    since_step: PolicyVersion
    until_step: PolicyVersion | None = None
    """The step at which it was over; None while it lasts."""
    value: float
    """Of the measure: now, or when it was over."""
    baseline: float | None
    """Of the run's beginning; None if too little was measured there."""
    threshold: float

    @property
    def rule(self) -> Rule:
        return RULES[self.name]

    @property
    def severity(self) -> Severity:
        return self.rule.severity

    @property
    def figures(self) -> str:
        """The measure, its value, and what it is compared with."""
        unit = MEASURES[self.rule.measure].unit
        began = "" if self.baseline is None else f", at the beginning {self.baseline:.3g}"
        unit = "" if unit in ("1", "share") else f" {unit}"
        return f"{self.rule.measure} {self.value:.3g}{unit}{began}, limit {self.threshold:.3g}"

    def __str__(self) -> str:
        end = "" if self.until_step is None else f" until step {self.until_step}"
        return (
            f"{self.name} in {self.scope} since step {self.since_step}{end}"
            f" ({self.figures}): {self.rule.meaning}"
        )


@dataclass(eq=False)
class Watch:
    """The state of every rule in every scope, step by step."""

    _beginning: list[StepMeasures] = field(default_factory=list)
    _recent: deque[StepMeasures] = field(default_factory=lambda: deque(maxlen=WINDOW_STEPS))
    _open: dict[tuple[str, str], Finding] = field(default_factory=dict)
    _ended: list[Finding] = field(default_factory=list)

    @property
    def current(self) -> list[Finding]:
        """What lasts, in the order of the rules, with the latest figures."""
        order = list(RULES)
        return sorted(self._open.values(), key=lambda found: order.index(found.name))

    @property
    def ended(self) -> list[Finding]:
        """What is over, in the order in which it ended."""
        return list(self._ended)

    def add(self, step: StepMeasures) -> list[Finding]:
        """Take the next step in; returns findings that began or ended with it."""
        self._recent.append(step)
        if len(self._beginning) < BASELINE_STEPS:
            self._beginning.append(step)
        if len(self._recent) < WINDOW_STEPS:
            return []
        changes = [
            self._judge(rule, scope, step.step) for rule in RULES.values() for scope in rule.scopes
        ]
        return [change for change in changes if change is not None]

    def _judge(self, rule: Rule, scope: str, step: PolicyVersion) -> Finding | None:
        now = pooled(self._recent, scope, rule.measure)
        if now is None or now.count < MIN_COUNT:
            return None
        began = pooled(self._beginning, scope, rule.measure)
        baseline = None if began is None or began.count < MIN_COUNT else began.value
        threshold = rule.threshold(baseline)
        if threshold is None:
            return None
        known = self._open.get((rule.name, scope))
        if known is None:
            return self._begin(rule, scope, step, now.value, baseline, threshold)
        latest = replace(known, value=now.value)
        if rule.is_over(now.value, threshold):
            del self._open[rule.name, scope]
            self._ended.append(replace(latest, until_step=step))
            return self._ended[-1]
        self._open[rule.name, scope] = latest
        return None

    def _begin(
        self,
        rule: Rule,
        scope: str,
        step: PolicyVersion,
        value: float,
        baseline: float | None,
        threshold: float,
    ) -> Finding | None:
        if not rule.is_past(value, threshold):
            return None
        found = Finding(
            name=rule.name,
            scope=scope,
            since_step=step,
            value=value,
            baseline=baseline,
            threshold=threshold,
        )
        self._open[rule.name, scope] = found
        return found


def watch(steps: Iterable[StepMeasures]) -> Watch:
    """What a whole run shows."""
    seen = Watch()
    for step in steps:
        seen.add(step)
    return seen


def findings(steps: Sequence[StepMeasures]) -> list[Finding]:
    """Everything that was ever found: what lasts first, then what is over."""
    seen = watch(steps)
    return [*seen.current, *seen.ended]
