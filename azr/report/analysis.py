"""How a policy's writing changes: lengths, programs and their diversity, behaviours.

Lengths are of every rollout. The rest is of a sample, whose size and seed are part of the
result: `per_cell` rollouts of each cell for each point of a curve. `azr.diagnosis` measures
similar things of what learner steps trained on; this is about all that was written, by
policy version, as in the paper's figures.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from azr import program_measures as programs
from azr.normal_form import arguments_form, program_form
from azr.program_distance import syntax_distance, syntax_labels
from azr.report.behaviours import Behaviour, Behaviours, load
from azr.store.history import History, samples
from azr.store.history.samples import LengthPoint, Sampled, SampledProposal
from azr.types import Cell, PolicyVersion, Task, TaskType

MAX_POINTS = 30
"""Of a curve; longer runs have several policy versions to a point."""
PER_CELL = 20
"""So at most 3600 responses and 1800 proposals are read."""
MAX_REFERENCES = 4096
"""Whose syntax is kept; references are shown again and again."""

type OnRead = Callable[[int, int], None]
"""Called with (rollouts read, rollouts to read)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How much is read of what cannot be summed up by the database."""

    per_cell: int = PER_CELL
    seed: int = 0
    behaviours: Behaviours = field(default_factory=load)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramPoint:
    """Means over sampled valid proposals of one type; None where there is nothing to measure.

    Programs are those that deduction and abduction propose; induction is given its own.
    """

    first_version: PolicyVersion
    task_type: TaskType
    num_proposals: int
    num_sampled: int
    cyclomatic: float | None
    halstead_volume: float | None
    """Bits."""
    halstead_effort: float | None
    program_lines: float | None
    """Without blank ones."""
    comment_share: float | None
    """Characters of comments and docstrings over all."""
    reference_distance: float | None
    """Syntax distance to the references that were shown, 0 to 1, mean."""
    nearest_reference: float | None
    """To the nearest of them."""
    distinct_programs: float | None
    """Different programs over sampled ones, up to names, comments and layout."""
    programs_differ: float | None
    """Chance that two of the sampled proposals have different programs; unlike the share of
    different ones, its expectation does not depend on the size of the sample."""
    distinct_answers: float | None
    """The same of what a solver has to find: output, input, or the outputs of induction."""
    answers_differ: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourPoint:
    """How many sampled responses of a cell show a behaviour."""

    first_version: PolicyVersion
    cell: Cell
    behaviour: str
    num_responses: int
    """Whose part (thoughts, or answer) is not empty."""
    num_showing: int
    """With a match at least."""
    num_matches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All of it; points are in the order of their versions."""

    versions_per_point: int
    per_cell: int
    seed: int
    kinds: tuple[Behaviour, ...]
    """The behaviours that were looked for."""
    lengths: tuple[LengthPoint, ...]
    programs: tuple[ProgramPoint, ...]
    behaviours: tuple[BehaviourPoint, ...]


def analyse(
    history: History, sampling: Sampling | None = None, on_read: OnRead = lambda _done, _all: None
) -> Analysis:
    """Sum up and read a run, also while it plays."""
    sampling = sampling or Sampling()
    width = samples.versions_per_point(history, at_most=MAX_POINTS)
    drawn = {"width": width, "per_cell": sampling.per_cell, "seed": sampling.seed}
    proposed = samples.sample_proposals(history, **drawn)
    judged = samples.sample_responses(history, **drawn)
    read = _Progress(len(proposed) + len(judged), on_read)
    return Analysis(
        versions_per_point=width,
        per_cell=sampling.per_cell,
        seed=sampling.seed,
        kinds=sampling.behaviours.kinds,
        lengths=tuple(samples.lengths(history, width=width)),
        programs=tuple(_program_points(read.each(samples.proposals(history, proposed)))),
        behaviours=tuple(
            _behaviour_points(read.each(samples.responses(history, judged)), sampling.behaviours)
        ),
    )


@dataclass(eq=False)
class _Progress:
    total: int
    on_read: OnRead
    done: int = 0

    def each[T](self, things: Iterator[T]) -> Iterator[T]:
        for thing in things:
            yield thing
            self.done += 1
            self.on_read(self.done, self.total)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A sampled proposal in numbers."""

    rollout: Sampled
    program: str
    """Its normal form: equal for the same program."""
    answer: Hashable
    numbers: dict[str, float]


@dataclass(eq=False)
class _Measurer:
    """Remembers the syntax of references."""

    _known: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def measured(self, proposal: SampledProposal) -> _Measured:
        task = proposal.task
        numbers = self._of_program(proposal) if task.task_type is not TaskType.INDUCTION else {}
        form = program_form(task.program, "renamed")
        return _Measured(proposal.rollout, form, _answer(task), numbers)

    def _of_program(self, proposal: SampledProposal) -> dict[str, float]:
        program = proposal.task.program
        lines = sum(bool(line.strip()) for line in program.splitlines())
        tree, counts = programs.parsed(program), programs.halstead(program)
        if tree is None or counts is None:
            return {"program_lines": lines}
        own = syntax_labels(tree)
        distances = [syntax_distance(own, self._labels(task)) for task in proposal.references]
        compared = {
            "reference_distance": statistics.fmean(distances),
            "nearest_reference": min(distances),
        } if distances else {}  # fmt: skip
        return compared | {
            "cyclomatic": programs.cyclomatic_complexity(tree),
            "halstead_volume": counts.volume,
            "halstead_effort": counts.effort,
            "program_lines": lines,
            "comment_share": programs.comment_share(program, tree),
        }

    def _labels(self, task: Task) -> tuple[str, ...]:
        if task.task_id not in self._known:
            if len(self._known) >= MAX_REFERENCES:
                self._known.clear()
            tree = programs.parsed(task.program)
            self._known[task.task_id] = () if tree is None else syntax_labels(tree)
        return self._known[task.task_id]


def _answer(task: Task) -> Hashable:
    """What a solver has to find, in a form that is equal for equal answers."""
    if task.task_type is TaskType.ABDUCTION:
        return arguments_form(task.examples[0].arguments)
    return tuple(example.output for example in task.examples)


def _program_points(proposals: Iterator[SampledProposal]) -> Iterator[ProgramPoint]:
    measurer = _Measurer()
    groups: dict[tuple[PolicyVersion, TaskType], list[_Measured]] = defaultdict(list)
    for proposal in proposals:
        key = (proposal.rollout.first_version, proposal.rollout.cell.task_type)
        groups[key].append(measurer.measured(proposal))
    for (first_version, task_type), group in sorted(groups.items()):
        forms, answers = [each.program for each in group], [each.answer for each in group]
        yield ProgramPoint(
            first_version=first_version,
            task_type=task_type,
            num_proposals=group[0].rollout.out_of,
            num_sampled=len(group),
            cyclomatic=_mean(group, "cyclomatic"),
            halstead_volume=_mean(group, "halstead_volume"),
            halstead_effort=_mean(group, "halstead_effort"),
            program_lines=_mean(group, "program_lines"),
            comment_share=_mean(group, "comment_share"),
            reference_distance=_mean(group, "reference_distance"),
            nearest_reference=_mean(group, "nearest_reference"),
            distinct_programs=len(set(forms)) / len(forms),
            programs_differ=pairs_that_differ(forms),
            distinct_answers=len(set(answers)) / len(answers),
            answers_differ=pairs_that_differ(answers),
        )


def pairs_that_differ(things: Sequence[Hashable]) -> float | None:
    """Share of all pairs whose two things are different; None if there is no pair.

    An unbiased estimate, from a sample, of the same share in the population: Simpson,
    Measurement of diversity, Nature 1949.
    """
    pairs = len(things) * (len(things) - 1)
    if not pairs:
        return None
    return 1 - sum(count * (count - 1) for count in Counter(things).values()) / pairs


def _mean(group: Sequence[_Measured], name: str) -> float | None:
    found = [each.numbers[name] for each in group if name in each.numbers]
    return statistics.fmean(found) if found else None


def _behaviour_points(
    responses: Iterator[tuple[Sampled, str]], behaviours: Behaviours
) -> Iterator[BehaviourPoint]:
    num_responses: Counter[tuple[PolicyVersion, Cell, str]] = Counter()
    num_showing: Counter[tuple[PolicyVersion, Cell, str]] = Counter()
    num_matches: Counter[tuple[PolicyVersion, Cell, str]] = Counter()
    for rollout, text in responses:
        shown = behaviours.shown_by(text)
        for kind in behaviours.kinds:
            key = (rollout.first_version, rollout.cell, kind.name)
            matches = shown.matches.get(kind.name, 0)
            num_responses[key] += kind.part in shown.parts
            num_showing[key] += matches > 0
            num_matches[key] += matches
    for key, count in num_responses.items():
        first_version, cell, name = key
        yield BehaviourPoint(
            first_version=first_version,
            cell=cell,
            behaviour=name,
            num_responses=count,
            num_showing=num_showing[key],
            num_matches=num_matches[key],
        )
