"""The numbers that a run is watched by, and how they are kept.

One learner step gives one `StepMeasures`: a value for each measure and scope, and how
many things the value is over, so that several steps can be pooled. They are stored as
metrics of the step, named `watch/SCOPE/MEASURE` and `watch/SCOPE/num_POPULATION`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from azr.types import CELLS, PolicyVersion, Role, TaskType

PREFIX = "watch/"
RUN = "run"
"""The scope of what concerns all cells."""
SCOPES: tuple[str, ...] = (*map(str, CELLS), RUN)
type Key = tuple[str, str]
"""(scope, measure or population)."""


class Over(StrEnum):
    """What a value is a mean over, within one step and scope."""

    ROWS = "rows"
    """Rollouts that the step trained on."""
    PROGRAMS = "programs"
    """Proposals that ran in the jail, also those that were then refused as repetitions."""
    COMPARED = "compared"
    """Of these, those of deduction and abduction, whose proposer was shown references."""
    TASKS = "tasks"
    """Valid proposals."""
    SETTLED = "settled"
    """Valid proposals whose solve rate is known."""
    ANSWERS = "answers"
    """Attempts that kept the format."""
    SOLVED = "solved"
    """Different tasks among the correct attempts."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a learner step."""

    name: str
    unit: str
    over: Over
    meaning: str


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("reward", "1", Over.ROWS, "mean reward"),
        Measure("reward_std", "1", Over.ROWS, "deviation of the rewards within a step"),
        Measure("tokens", "tokens", Over.ROWS, "mean length of a response"),
        Measure("truncated", "share", Over.ROWS, "responses cut off at the length limit"),
        Measure("bad_format", "share", Over.ROWS, "responses that break the contract"),
        Measure("valid", "share", Over.ROWS, "proposals that became tasks"),
        Measure("correct", "share", Over.ROWS, "attempts that were right"),
        Measure("distinct", "share", Over.PROGRAMS,
                "different programs (induction: messages) within a step"),
        Measure("repeats_reference", "share", Over.COMPARED,
                "programs equal to one that their proposer was shown"),
        Measure("repeats_older", "share", Over.PROGRAMS,
                "programs equal to one of an earlier step or seed"),
        Measure("reference_distance", "1", Over.COMPARED,
                "syntax distance to the references, mean"),
        Measure("nearest_reference", "1", Over.COMPARED,
                "syntax distance to the nearest reference"),
        Measure("cyclomatic", "1", Over.PROGRAMS, "cyclomatic complexity of a program"),
        Measure("halstead_volume", "bits", Over.PROGRAMS, "Halstead volume of a program"),
        Measure("program_chars", "chars", Over.PROGRAMS, "length of a program"),
        Measure("comment_share", "share", Over.PROGRAMS, "comments and docstrings in a program"),
        Measure("gives_away", "share", Over.TASKS,
                "tasks whose comments or message hold the answer"),
        Measure("trivial_program", "share", Over.TASKS,
                "tasks that return an argument unchanged or ignore their arguments"),
        Measure("distinct_outputs", "share", Over.TASKS, "different outputs within a step"),
        Measure("solved_by_none", "share", Over.SETTLED, "tasks with solve rate 0"),
        Measure("solved_by_all", "share", Over.SETTLED, "tasks with solve rate 1"),
        Measure("solve_rate", "share", Over.SETTLED, "mean solve rate"),
        Measure("same_answer", "share", Over.SOLVED,
                "pairs of different tasks that were solved by one answer"),
        Measure("lookup_table", "share", Over.ANSWERS,
                "induction answers that list the shown pairs"),
        Measure("entropy", "nats", Over.ROWS, "mean entropy of the next token"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pooled:
    """A measure over several steps."""

    value: float
    count: int


@dataclass(frozen=True, slots=True)
class StepMeasures:
    """What one learner step trained on, in numbers. Nothing to count: no value."""

    step: PolicyVersion
    values: Mapping[Key, float]
    """By scope and measure."""
    counts: Mapping[Key, int] = field(default_factory=dict)
    """By scope and population; those of zero may be missing."""

    def to_metrics(self) -> dict[str, float]:
        """By the names under which the store keeps them."""
        named = {f"{PREFIX}{scope}/{name}": value for (scope, name), value in self.values.items()}
        sizes = {
            f"{PREFIX}{scope}/num_{over}": float(count)
            for (scope, over), count in self.counts.items()
        }
        return named | sizes


def from_metrics(step: PolicyVersion, metrics: Mapping[str, float]) -> StepMeasures:
    """The measures that `to_metrics` named; other metrics are passed over."""
    values: dict[Key, float] = {}
    counts: dict[Key, int] = {}
    for name, value in metrics.items():
        scope, _, measure = name.removeprefix(PREFIX).rpartition("/")
        if measure in MEASURES:
            values[scope, measure] = value
        elif measure.startswith("num_"):
            counts[scope, measure.removeprefix("num_")] = int(value)
    return StepMeasures(step, values, counts)


def pooled(steps: Iterable[StepMeasures], scope: str, name: str) -> Pooled | None:
    """Mean over the things that the steps' values are over; None if there were none."""
    population = str(MEASURES[name].over)
    weighted = [
        (found.counts.get((scope, population), 0), found.values[scope, name])
        for found in steps
        if (scope, name) in found.values
    ]
    count = sum(weight for weight, _ in weighted)
    if not count:
        return None
    return Pooled(sum(weight * value for weight, value in weighted) / count, count)


def scopes_of(name: str, series: Sequence[StepMeasures]) -> list[str]:
    """The scopes in which a measure was ever taken, in the order of `SCOPES`."""
    found = {scope for step in series for scope, measure in step.values if measure == name}
    return [scope for scope in SCOPES if scope in found]


def cell_name(role: Role, task_type: TaskType) -> str:
    """The scope of a cell."""
    return f"{role}/{task_type}"
