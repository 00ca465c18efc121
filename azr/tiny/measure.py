"""What a base model can do at the start of self-play, judged in the jail.

The model proposes from the identity triplet alone, then from its own tasks, and
attempts what it proposed and fresh tasks of the generator. Prompts and verdicts
are those of a run (`azr.judging`); only the engine is a plain sampler.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from azr.config import RunConfig, SelfPlaySection
from azr.judging import judge_attempt, judge_proposal, sampling_request
from azr.ports import Sandbox
from azr.prompts import THINK_CLOSE
from azr.seeding import identity_draft
from azr.task_types import MAIN_TYPES, PAIR_TYPES
from azr.tiny.samples import draw_task
from azr.tiny.sampling import TextSampler
from azr.types import (
    Admission,
    Cell,
    FormatError,
    Purpose,
    Rejection,
    Role,
    Task,
    TaskDraft,
    TaskType,
)
from azr.validation import task_from

MEASURE_CONFIG = RunConfig(selfplay=SelfPlaySection(induction_pairs=6))


@dataclass(slots=True)
class Rate:
    """Successes out of trials, the reasons of the others, and response lengths."""

    successes: int = 0
    trials: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    prompt_tokens: list[int] = field(default_factory=list)
    response_tokens: list[int] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.successes / max(1, self.trials)

    def count(self, *, success: bool, reason: str) -> None:
        self.trials += 1
        self.successes += success
        if not success:
            self.reasons[reason] += 1


@dataclass(slots=True)
class SolveRates(Rate):
    """Attempts at tasks of one type; also the solve rate of each task."""

    by_task: list[float] = field(default_factory=list)
    by_work: dict[bool, list[bool]] = field(default_factory=lambda: {True: [], False: []})
    """Whether each attempt was right: those that show work, and those that answer at once."""

    @property
    def learnable_share(self) -> float:
        """Tasks solved sometimes, not always."""
        return statistics.fmean(0 < rate < 1 for rate in self.by_task) if self.by_task else 0.0


@dataclass(slots=True)
class Measured:
    """Per task type: proposals from the identity alone and from own references; attempts."""

    first_proposals: dict[TaskType, Rate]
    proposals: dict[TaskType, Rate]
    own_tasks: dict[TaskType, SolveRates]
    fresh_tasks: dict[TaskType, SolveRates]
    distinct_share: float
    """Distinct programs among the valid deduction and abduction proposals."""
    copied_share: float
    """Valid proposals whose program stood among their references."""


@dataclass(slots=True, kw_only=True)
class Measurer:
    """Samples with one model and judges in one sandbox."""

    sampler: TextSampler
    sandbox: Sandbox
    seed: int = 0
    proposals: int = 256
    """Proposals per task type and reference setting."""
    tasks: int = 64
    attempts: int = 8
    config: RunConfig = MEASURE_CONFIG
    copied: int = 0

    def fits(self, prompt: str) -> bool:
        return self.sampler.count_tokens(prompt) <= self.config.prompts.max_prompt_tokens

    async def measure(self) -> Measured:
        rng = random.Random(self.seed)  # noqa: S311
        identity = identity_draft(TaskType.DEDUCTION, num_pairs=1).with_id(0)
        first = {
            kind: await self._propose(kind, [[identity]] * self.proposals) for kind in PAIR_TYPES
        }
        pool = [identity, *(task for _, tasks in first.values() for task in tasks)]
        drawn = [rng.sample(pool, min(len(pool), rng.randint(1, 6))) for _ in range(self.proposals)]
        later = {kind: await self._propose(kind, drawn) for kind in PAIR_TYPES}
        pool += [task for _, tasks in later.values() for task in tasks]
        programs = [[rng.choice(pool)] for _ in range(self.proposals)]
        later[TaskType.INDUCTION] = await self._propose(TaskType.INDUCTION, programs)
        valid = [task.program for kind in PAIR_TYPES for task in later[kind][1]]
        return Measured(
            first_proposals={kind: rate for kind, (rate, _) in first.items()},
            proposals={kind: rate for kind, (rate, _) in later.items()},
            own_tasks={
                kind: await self._attempt(tasks[: self.tasks]) for kind, (_, tasks) in later.items()
            },
            fresh_tasks={
                kind: await self._attempt(await self._fresh(kind, rng)) for kind in MAIN_TYPES
            },
            distinct_share=len(set(valid)) / max(1, len(valid)),
            copied_share=self.copied / max(1, len(valid)),
        )

    async def _propose(
        self, kind: TaskType, references: Sequence[Sequence[Task]]
    ) -> tuple[Rate, list[Task]]:
        admissions = [
            _admission(Cell(Role.PROPOSE, kind), references=tuple(chosen)) for chosen in references
        ]
        rate, tasks = Rate(), []
        for admission, completion in zip(admissions, self._sample(admissions, rate), strict=True):
            result = await judge_proposal(
                admission, completion, sandbox=self.sandbox, config=self.config, fits=self.fits
            )
            rate.count(success=isinstance(result, TaskDraft), reason=_reason(result))
            if isinstance(result, TaskDraft):
                tasks.append(result.with_id(len(tasks)))
                known = {reference.program for reference in admission.references}
                self.copied += kind in PAIR_TYPES and result.program in known and len(known) > 1
        return rate, tasks

    async def _attempt(self, tasks: Sequence[Task]) -> SolveRates:
        rate = SolveRates()
        admissions = [
            _admission(Cell(Role.SOLVE, task.task_type), task=task)
            for task in tasks
            for _ in range(self.attempts)
        ]
        completions = self._sample(admissions, rate)
        solved: Counter[int] = Counter()
        for index, completion in enumerate(completions):
            task = tasks[index // self.attempts]
            grade = await judge_attempt(task, completion, sandbox=self.sandbox, config=self.config)
            rate.count(success=grade.solved, reason=f"{grade.judgement}: {grade.verdict}")
            rate.by_work[bool(completion.text.partition(THINK_CLOSE)[0])].append(grade.solved)
            solved[index // self.attempts] += grade.solved
        rate.by_task = [solved[index] / self.attempts for index in range(len(tasks))]
        return rate

    def _sample(self, admissions: Sequence[Admission], rate: Rate) -> list:
        prompts = [sampling_request(item, self.config, self.fits).prompt for item in admissions]
        completions = self.sampler.sample(
            prompts, max_tokens=self.config.prompts.max_response_tokens
        )
        rate.prompt_tokens += map(self.sampler.count_tokens, prompts)
        rate.response_tokens += [len(completion.token_ids) for completion in completions]
        return completions

    async def _fresh(self, kind: TaskType, rng: random.Random) -> list[Task]:
        """Tasks of the generator, their outputs computed in the jail."""
        tasks: list[Task] = []
        while len(tasks) < self.tasks:
            proposal = draw_task(rng, kind, num_pairs=self.config.selfplay.induction_pairs)
            outcomes = await self.sandbox.run(proposal.program, proposal.arguments)
            draft = task_from(kind, proposal, outcomes)
            if isinstance(draft, TaskDraft):
                tasks.append(draft.with_id(len(tasks)))
        return tasks


async def measure(
    folder: Path, sandbox: Sandbox, *, seed: int = 0, proposals: int = 256
) -> Measured:
    """Measure the model in a folder. Takes minutes on a CPU."""
    sampler = TextSampler(folder, seed=seed)
    return await Measurer(
        sampler=sampler, sandbox=sandbox, seed=seed, proposals=proposals, tasks=proposals // 4
    ).measure()


def table(measured: Measured) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| what | type | share | trials | prompt tokens (mean/max) | response tokens (mean/p95) |"
    ]
    lines.append("|---|---|---|---|---|---|")
    groups = {
        "valid, from the identity": measured.first_proposals,
        "valid, from own references": measured.proposals,
        "solved, own tasks": measured.own_tasks,
        "solved, fresh tasks": measured.fresh_tasks,
    }
    for name, rates in groups.items():
        lines += [_table_row(name, kind, rate) for kind, rate in rates.items()]
    return "\n".join(lines)


def diversity(measured: Measured) -> str:
    """How varied the proposals are, and how many tasks have a signal, in one line."""
    learnable = " / ".join(
        f"{rates.learnable_share:.0%} {kind}" for kind, rates in measured.own_tasks.items()
    )
    return (
        f"distinct programs {measured.distinct_share:.1%}, copies of a reference"
        f" {measured.copied_share:.1%}, own tasks solved sometimes: {learnable}"
    )


def shown_work(measured: Measured) -> str:
    """How often solutions of fresh tasks show work, and how often they are right with it."""
    told = []
    for kind, rates in measured.fresh_tasks.items():
        shown, direct = rates.by_work[True], rates.by_work[False]
        right = " / ".join(f"{statistics.fmean(x):.0%}" if x else "-" for x in (shown, direct))
        told.append(f"{kind} {len(shown) / max(1, rates.trials):.0%} (right {right})")
    return f"work shown (right with / without it): {', '.join(told)}"


def _table_row(name: str, kind: TaskType, rate: Rate) -> str:
    prompts, responses = sorted(rate.prompt_tokens), sorted(rate.response_tokens)
    return (
        f"| {name} | {kind} | {rate.share:.1%} | {rate.trials}"
        f" | {statistics.fmean(prompts):.0f} / {prompts[-1]}"
        f" | {statistics.fmean(responses):.0f} / {responses[int(len(responses) * 0.95)]} |"
    )


def _admission(
    cell: Cell, *, references: tuple[Task, ...] = (), task: Task | None = None
) -> Admission:
    return Admission(
        admission_id=0,
        cell=cell,
        slot=0,
        version=0,
        seed=0,
        purpose=Purpose.MEASURE,
        references=references,
        task=task,
    )


def _reason(result: TaskDraft | Rejection | FormatError) -> str:
    if isinstance(result, Rejection):
        return f"{result.verdict}: {result.detail}"
    return result.reason if isinstance(result, FormatError) else ""
