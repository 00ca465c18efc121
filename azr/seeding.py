"""The buffers' first contents, made by the base model itself (spec/azr.md 1.2).

Only the identity triplet is hand-written. Deduction and abduction share one pool,
grown by proposals of both types whose references come from the pool so far; the
full pool starts both buffers. Induction tasks are then proposed from its programs, and
error tasks made of them (`azr.error_seeds`).
Nothing is learned here: the rollouts are recorded as drops with reason `seeding`.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from azr.config import RunConfig
from azr.error_seeds import error_seeds
from azr.errors import ModelError
from azr.judging import Fits, judge_proposal, sampling_request
from azr.ports import Engine, Sandbox
from azr.prompts import family_of
from azr.quota import played_types
from azr.seeds import derive_seed, draw_without_replacement
from azr.task_types import PAIR_TYPES
from azr.types import (
    Admission,
    Cell,
    Completion,
    Example,
    FormatError,
    Purpose,
    Rejection,
    Role,
    TaskDraft,
    TaskType,
)
from azr.values import from_python

IDENTITY_PROGRAM = "def f(a):\n    return a"
IDENTITY_ARGUMENT = "Hello world"
INDUCTION_ARGUMENTS = ("Hello world", 1, (2, 3), [4, 5], {"a": 6}, True, "azr", 0, [], None)
"""Inputs of the identity induction task, cut or cycled to N."""

MAX_ROUNDS_PER_POOL = 64
"""Proposal rounds before seeding gives up; a usable base needs a handful."""

type SeedResult = TaskDraft | Rejection | FormatError
type OnSeedRollout = Callable[[Admission, Completion, SeedResult], Awaitable[None]]


def identity_draft(task_type: TaskType, *, num_pairs: int) -> TaskDraft:
    """The zero triplet, in the form its buffer wants."""
    values: Sequence[object] = [IDENTITY_ARGUMENT]
    if task_type is TaskType.INDUCTION:
        values = list(itertools.islice(itertools.cycle(INDUCTION_ARGUMENTS), num_pairs))
    examples = tuple(Example(repr(value), from_python(value)) for value in values)
    message = "Return the argument." if task_type is TaskType.INDUCTION else ""
    return TaskDraft(
        task_type=task_type, program=IDENTITY_PROGRAM, examples=examples, message=message
    )


def tasks_per_buffer(config: RunConfig) -> int:
    """Seed tasks of each buffer: 4 x B in the paper."""
    return config.selfplay.seed_batches * config.learner.batch_rollouts


@dataclass(kw_only=True)
class Seeder:
    """Grows the seed pools round by round; a round is one batch of B proposals."""

    engine: Engine
    sandbox: Sandbox
    config: RunConfig
    fits: Fits
    on_rollout: OnSeedRollout
    rounds: int = field(default=0, init=False)

    @property
    def target(self) -> int:
        return tasks_per_buffer(self.config)

    async def seed(self) -> list[TaskDraft]:
        """Drafts of the played types' buffers, `target` each (of error tasks, at most).

        Raises ModelError if the base model cannot fill them.
        """
        played = played_types(self.config)
        pairs = [kind for kind in played if kind in PAIR_TYPES]
        shared = await self._grow(pairs[::-1] or [TaskType.DEDUCTION], sources=())
        drafts = [
            TaskDraft(task_type=task_type, program=draft.program, examples=draft.examples)
            for task_type in pairs
            for draft in shared
        ]
        if TaskType.INDUCTION in played:
            drafts += await self._grow([TaskType.INDUCTION], sources=shared)
        if TaskType.ERROR in played:
            drafts += await error_seeds(
                shared,
                count=self.target,
                sandbox=self.sandbox,
                family=family_of(self.config.prompts),
                fits=self.fits,
                play=self.config.selfplay,
            )
        return drafts

    async def _grow(
        self, task_types: Sequence[TaskType], *, sources: Sequence[TaskDraft]
    ) -> list[TaskDraft]:
        pairs = self.config.selfplay.induction_pairs
        pool = [identity_draft(task_types[0], num_pairs=pairs)]
        keys = {_key(pool[0])}
        for round_index, task_type in enumerate(itertools.cycle(task_types)):
            if len(pool) >= self.target:
                return pool[: self.target]
            if round_index >= MAX_ROUNDS_PER_POOL:
                raise ModelError(
                    f"the base model filled {len(pool)} of {self.target} {task_type} seeds"
                    f" in {round_index} rounds of proposals",
                    hint="Use a model that can write a Python function in the prompt's format,"
                    " or lower selfplay.seed_batches.",
                )
            for draft in await self._round(task_type, sources or pool):
                if _key(draft) not in keys:
                    keys.add(_key(draft))
                    pool.append(draft)
        raise AssertionError("unreachable: cycle() does not end")

    async def _round(self, task_type: TaskType, sources: Sequence[TaskDraft]) -> list[TaskDraft]:
        batch = self.config.learner.batch_rollouts
        self.rounds += 1
        admissions = [self._admission(task_type, sources, index) for index in range(batch)]
        requests = [sampling_request(item, self.config, self.fits) for item in admissions]
        drafts: list[TaskDraft] = []
        completions = await self.engine.sample(requests)
        for admission, completion in zip(admissions, completions, strict=True):
            result = await judge_proposal(
                admission, completion, sandbox=self.sandbox, config=self.config, fits=self.fits
            )
            await self.on_rollout(admission, completion, result)
            if isinstance(result, TaskDraft):
                drafts.append(result)
        return drafts

    def _admission(
        self, task_type: TaskType, sources: Sequence[TaskDraft], index: int
    ) -> Admission:
        seed = derive_seed(self.config.run.seed, "seeding", task_type, self.rounds, index)
        wanted = 1 if task_type is TaskType.INDUCTION else self.config.selfplay.references
        chosen = draw_without_replacement(len(sources), wanted, seed)
        return Admission(
            admission_id=0,
            cell=Cell(Role.PROPOSE, task_type),
            slot=self.rounds * self.config.learner.batch_rollouts + index,
            version=0,
            seed=seed,
            purpose=Purpose.SEED,
            references=tuple(sources[i].with_id(0) for i in chosen),
        )


def _key(draft: TaskDraft) -> tuple[str, ...]:
    return (draft.program, *(example.arguments for example in draft.examples))
