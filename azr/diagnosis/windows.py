"""From the rows that a learner step trained on to the step's measures.

Only programs that ran in the jail are parsed here, so the parser meets nothing that has
not been through one already.
"""

from __future__ import annotations

import ast
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

from azr import program_measures as programs
from azr.config import ParsingName
from azr.diagnosis import leaks
from azr.diagnosis.measures import RUN, Key, Over, StepMeasures
from azr.normal_form import arguments_form, program_form
from azr.parsing import parse_answer, parse_proposal
from azr.program_distance import syntax_distance, syntax_labels
from azr.store.history.trained import TrainedRow
from azr.task_types import MAIN_CELLS
from azr.types import (
    CELLS,
    Cell,
    FinishReason,
    FormatError,
    Judgement,
    PolicyVersion,
    Role,
    Task,
    TaskType,
    Verdict,
)

RAN = frozenset(
    {
        Verdict.DUPLICATE,
        Verdict.NOT_NOVEL,
        Verdict.LEAKED_MESSAGE,
        Verdict.REPEATED_INPUT,
        Verdict.CONSTANT_OUTPUT,
        Verdict.NO_ERROR,
    }
)
"""Verdicts on proposals that ran well and were refused for what they are."""
POLICIES: tuple[ParsingName, ...] = ("strict", "paper")
"""How the text of a row that was judged well-formed is read: what a strict run took is
read strictly, and only what a tolerant one took needs tolerance."""
MAX_REFERENCES = 4096
"""References that are kept measured; they are shown again and again."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal whose program ran."""

    row: TrainedRow
    program: str
    tree: ast.Module | None
    """None for text beyond the bounds of what is measured."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What proposals are compared with."""

    digest: bytes
    labels: tuple[str, ...]


@dataclass(eq=False)
class Measurer:
    """Measures steps in their order; remembers which programs there were before."""

    _known: set[bytes] = field(default_factory=set)
    """Digests of program forms."""
    _references: dict[int, Reference] = field(default_factory=dict)
    """By task id."""

    def remember(self, texts: Iterable[str]) -> None:
        """Programs that count as older from now on."""
        self._known.update(map(_digest, texts))

    def measure(
        self, step: PolicyVersion, rows: Sequence[TrainedRow], *, entropy: float | None = None
    ) -> StepMeasures:
        """The measures of one step, whose programs are remembered."""
        values: dict[Key, float] = {}
        counts: dict[Key, int] = {(RUN, Over.ROWS): len(rows)}
        if entropy is not None:
            values[RUN, "entropy"] = entropy
        seen: list[str] = []
        for cell in CELLS:
            own = [row for row in rows if row.cell == cell]
            if not own and cell not in MAIN_CELLS:
                continue
            proposed = _proposed(own) if cell.role is Role.PROPOSE else []
            found = _of_rows(own) | _of_cell(cell, own)
            found |= self._of_programs(cell, proposed)
            sizes = _sizes(cell, own, proposed)
            values |= {(str(cell), name): value for name, value in found.items()}
            counts |= {(str(cell), str(over)): size for over, size in sizes.items()}
            if cell.task_type is not TaskType.INDUCTION:
                seen.extend(each.program for each in proposed)
        self.remember(seen)
        return StepMeasures(step, values, counts)

    def _of_programs(self, cell: Cell, proposed: Sequence[Proposed]) -> dict[str, float]:
        if not proposed:
            return {}
        if cell.task_type is TaskType.INDUCTION:  # whose program the store chose
            messages = [" ".join(each.row.task.message.split()) for each in proposed
                        if each.row.task is not None]  # fmt: skip
            return _shape(proposed) | _share("distinct", len(set(messages)), len(messages))
        forms = [_digest(each.program) for each in proposed]
        old = sum(form in self._known for form in forms)
        return (
            _shape(proposed)
            | _share("distinct", len(set(forms)), len(forms))
            | _share("repeats_older", old, len(forms))
            | self._against_references(proposed)
        )

    def _against_references(self, proposed: Sequence[Proposed]) -> dict[str, float]:
        """Repetition of, and distance to, what the proposers were shown."""
        compared = [each for each in proposed if each.row.references]
        repeated = sum(
            _digest(each.program) in {shown.digest for shown in self._shown(each.row)}
            for each in compared
        )
        distances = [
            [syntax_distance(own, shown.labels) for shown in self._shown(each.row)]
            for each in compared
            if each.tree is not None
            for own in [syntax_labels(each.tree)]
        ]
        return (
            _share("repeats_reference", repeated, len(compared))
            | _mean("reference_distance", [statistics.fmean(found) for found in distances])
            | _mean("nearest_reference", [min(found) for found in distances])
        )

    def _shown(self, row: TrainedRow) -> list[Reference]:
        return [self._reference(task) for task in row.references]

    def _reference(self, task: Task) -> Reference:
        known = self._references.get(task.task_id)
        if known is None:
            tree = programs.parsed(task.program)
            labels = () if tree is None else syntax_labels(tree)
            known = Reference(_digest(task.program), labels)
            if len(self._references) >= MAX_REFERENCES:
                self._references.clear()
            self._references[task.task_id] = known
        return known


def _proposed(rows: Sequence[TrainedRow]) -> list[Proposed]:
    found = [(row, _program_of(row)) for row in rows]
    return [
        Proposed(row, program, programs.parsed(program))
        for row, program in found
        if program is not None
    ]


def _program_of(row: TrainedRow) -> str | None:
    """The program of a proposal that ran; None for any other."""
    if row.task is not None:
        return row.task.program
    if row.verdict not in RAN:
        return None
    if row.cell.task_type is TaskType.INDUCTION:
        return row.references[0].program if row.references else None
    for policy in POLICIES:
        read = parse_proposal(row.text, single_function=False, policy=policy)
        if not isinstance(read, FormatError):
            return read.program
    return None


def _of_rows(rows: Sequence[TrainedRow]) -> dict[str, float]:
    """What every cell has."""
    if not rows:
        return {}
    rewards = [row.reward for row in rows]
    cut = sum(row.finish_reason is FinishReason.LENGTH for row in rows)
    broken = sum(row.judgement is Judgement.BAD_FORMAT for row in rows)
    return (
        _mean("reward", rewards)
        | {"reward_std": statistics.pstdev(rewards)}
        | _mean("tokens", [row.num_tokens for row in rows])
        | _share("truncated", cut, len(rows))
        | _share("bad_format", broken, len(rows))
    )


def _of_cell(cell: Cell, rows: Sequence[TrainedRow]) -> dict[str, float]:
    if cell.role is Role.PROPOSE:
        return _of_tasks(rows)
    right = [row for row in rows if row.judgement is Judgement.CORRECT]
    found = _share("correct", len(right), len(rows))
    if cell.task_type is TaskType.ERROR:
        return found  # few classes answer all: that two tasks share one is no sign of anything
    if cell.task_type is not TaskType.INDUCTION:
        return found | _same_answer(right)
    answered = _answered(rows)
    tabled = sum(
        leaks.is_lookup_table(_answer(row), row.task.shown)
        for row in answered
        if row.task is not None
    )
    return found | _share("lookup_table", tabled, len(answered))


def _of_tasks(rows: Sequence[TrainedRow]) -> dict[str, float]:
    """Validity and difficulty of proposals."""
    rates = [row.solve_rate for row in rows if row.solve_rate is not None]
    valid = [row.task for row in rows if row.task is not None]
    outputs = {tuple(example.output for example in task.examples) for task in valid}
    return (
        _share("valid", len(valid), len(rows))
        | _share("distinct_outputs", len(outputs), len(valid))
        | _share("solved_by_none", rates.count(0.0), len(rates))
        | _share("solved_by_all", rates.count(1.0), len(rates))
        | _mean("solve_rate", rates)
    )


def _shape(proposed: Sequence[Proposed]) -> dict[str, float]:
    """Complexity, size, comments and leaks of programs."""
    parsed = [(each.program, each.tree) for each in proposed if each.tree is not None]
    counted = [found for program, _ in parsed if (found := programs.halstead(program))]
    tasks = [
        (each.row.task, each.tree)
        for each in proposed
        if each.row.task is not None and each.tree is not None
    ]
    away = sum(leaks.gives_answer_away(task, tree) for task, tree in tasks)
    trivial = sum(leaks.is_trivial(task, tree) for task, tree in tasks)
    return (
        _mean("cyclomatic", [programs.cyclomatic_complexity(tree) for _, tree in parsed])
        | _mean("halstead_volume", [found.volume for found in counted])
        | _mean("program_chars", [len(each.program) for each in proposed])
        | _mean("comment_share", [programs.comment_share(text, tree) for text, tree in parsed])
        | _share("gives_away", away, len(tasks))
        | _share("trivial_program", trivial, len(tasks))
    )


def _same_answer(right: Sequence[TrainedRow]) -> dict[str, float]:
    """How often two different tasks were solved by the same answer."""
    answers = {(row.task.task_id, arguments_form(_answer(row))) for row in right if row.task}
    solved = {task_id for task_id, _ in answers}
    if len(solved) < 2:
        return {}
    tasks_by_answer: dict[str, set[int]] = defaultdict(set)
    for task_id, answer in answers:
        tasks_by_answer[answer].add(task_id)
    alike = {pair for tasks in tasks_by_answer.values() for pair in combinations(sorted(tasks), 2)}
    return _share("same_answer", len(alike), len(solved) * (len(solved) - 1) // 2)


def _sizes(cell: Cell, rows: Sequence[TrainedRow], proposed: Sequence[Proposed]) -> dict[Over, int]:
    """How many things each population holds."""
    if cell.role is Role.SOLVE:
        right = {row.task.task_id for row in rows
                 if row.judgement is Judgement.CORRECT and row.task}  # fmt: skip
        answers = len(_answered(rows))
        return {Over.ROWS: len(rows), Over.ANSWERS: answers, Over.SOLVED: len(right)}
    induction = cell.task_type is TaskType.INDUCTION
    return {
        Over.ROWS: len(rows),
        Over.PROGRAMS: len(proposed),
        Over.COMPARED: 0 if induction else sum(bool(each.row.references) for each in proposed),
        Over.TASKS: sum(row.task is not None for row in rows),
        Over.SETTLED: sum(row.solve_rate is not None for row in rows),
    }


def _answered(rows: Sequence[TrainedRow]) -> list[TrainedRow]:
    return [row for row in rows if row.judgement is not Judgement.BAD_FORMAT]


def _answer(row: TrainedRow) -> str:
    """The text of an attempt's answer; empty if it has none."""
    for policy in POLICIES:
        read = parse_answer(row.cell.task_type, row.text, lenient=True, policy=policy)
        if not isinstance(read, FormatError):
            return read.text
    return ""


_renamed: Callable[[str], str] = partial(program_form, same="renamed")


def _digest(program: str) -> bytes:
    """Equal for programs that are the same up to names, comments and layout."""
    return hashlib.blake2b(_renamed(program).encode(), digest_size=8).digest()


def _mean(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: statistics.fmean(values)} if values else {}


def _share(name: str, part: int, whole: int) -> dict[str, float]:
    return {name: part / whole} if whole else {}
