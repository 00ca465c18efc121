"""Runs that go well and runs that fail, played through a real store."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from azr.store import SqlStore
from azr.task_types import MAIN_TYPES
from azr.types import (
    Admission,
    Completion,
    Example,
    FinishReason,
    Judgement,
    PolicyVersion,
    Rejection,
    StepResult,
    TaskDraft,
    TaskType,
    Verdict,
)
from azr.values import from_python
from tests.store.store_play import OWNER, completion, config, draft

ROWS = 4
"""Of each cell in a step; five steps of them are enough to judge."""
STORY = config(learner={"batch_rollouts": ROWS})
TAGS = {TaskType.DEDUCTION: "output", TaskType.ABDUCTION: "input", TaskType.INDUCTION: "python"}
PARTS = (
    "a = a + {n}",
    "a = [a, {n}][::-1][0]",
    "a = max(a, {n}) * 2",
    "if a > {n}:\n        a -= 1",
    "a = sum(x for x in range({n}) if x < a)",
    "a = len(str(a)) - {n}",
    "while a > {n}:\n        a //= 2",
    "b = {n}\n    a = a * b - b",
)


def new_program(number: int, _admission: Admission) -> str:
    """No two are alike, and few have one shape."""
    rng = random.Random(number)  # noqa: S311 -- the same story every time
    parts = rng.sample(PARTS, rng.randrange(2, 5))
    lines = [f"    {part.format(n=number)}" for part in parts]
    return "\n".join(["def f(a):", *lines, "    return a"])


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How proposer and solver behave in a step."""

    program: Callable[[int, Admission], str] = new_program
    output: Callable[[int], object] = lambda number: number
    message: Callable[[int], str] = lambda number: f"hint {number}"
    verdict: Verdict = Verdict.OK
    solves: Callable[[int], bool] = lambda index: index % 3 > 0
    answer: Callable[[int], str] = str
    well_formed: bool = True
    truncated: bool = False
    tokens: int = 8
    entropy: float = 0.5


HEALTHY = Habits()


@dataclass(eq=False)
class Story:
    """Plays steps. Numbers make every program and every answer of its own."""

    store: SqlStore
    version: PolicyVersion = 0
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))

    async def begin(self) -> None:
        await self.store.add_seed_tasks(
            [draft(task_type, number) for task_type in MAIN_TYPES for number in range(3)]
        )

    async def play(self, steps: int, habits: Habits = HEALTHY) -> None:
        for _ in range(steps):
            await self._step(habits)

    async def _step(self, habits: Habits) -> None:
        async with anyio.create_task_group() as proposers:
            for task_type in MAIN_TYPES:
                for admission in await self._admit(task_type):
                    proposers.start_soon(self._propose, admission, next(self.numbers), habits)
        leased = await self.store.lease_attempts(owner=OWNER, at_most=1000)
        async with anyio.create_task_group() as solvers:
            for index, admission in enumerate(leased):
                solvers.start_soon(self._attempt, index, admission, habits)
        for found in await self.store.measured_proposals(at_most=1000):
            rate = found.solve_rate
            reward = 0.0 if rate in (0, 1) else 1 - rate
            await self.store.settle_proposal(found.rollout_id, solve_rate=rate, reward=reward)
        batch = await self.store.claim_batch(version=self.version)
        assert batch is not None
        metrics = {"entropy": habits.entropy}
        result = StepResult(version=self.version + 1, loss=0.1, metrics=metrics)
        await self.store.commit_step(batch, result, [0.1] * len(batch.trajectories))
        self.version += 1

    async def _admit(self, task_type: TaskType) -> list[Admission]:
        return await self.store.admit_proposals(
            task_type, owner=OWNER, at_most=ROWS, outstanding_limit=1000, version=self.version
        )

    async def _propose(self, admission: Admission, number: int, habits: Habits) -> None:
        rollout_id = await self.store.put_rollout(admission, self._response("", habits))
        if not habits.well_formed:
            await self.store.reject_proposal(rollout_id, Judgement.BAD_FORMAT, None, -1.0)
        elif habits.verdict is not Verdict.OK:
            refused = Rejection(habits.verdict)
            await self.store.reject_proposal(rollout_id, Judgement.INVALID, refused, -0.5)
        else:
            made = self._draft(admission, number, habits)
            assert await self.store.accept_proposal(rollout_id, made)

    def _draft(self, admission: Admission, number: int, habits: Habits) -> TaskDraft:
        induction = admission.cell.task_type is TaskType.INDUCTION
        pairs = 4 if induction else 1
        return TaskDraft(
            task_type=admission.cell.task_type,
            program=habits.program(number, admission),
            examples=tuple(
                Example(str(number + 5000 * pair), from_python(habits.output(number + pair)))
                for pair in range(pairs)
            ),
            message=habits.message(number) if induction else "",
        )

    async def _attempt(self, index: int, admission: Admission, habits: Habits) -> None:
        tag = TAGS[admission.cell.task_type]
        answer = habits.answer(next(self.numbers))
        if admission.cell.task_type is TaskType.INDUCTION and answer == LIST_THE_SHOWN:
            assert admission.task is not None
            answer = table(admission.task)
        text = f"</think><answer>```{tag}\n{answer}\n```\n</answer>"
        rollout_id = await self.store.put_rollout(admission, self._response(text, habits))
        solved = habits.well_formed and habits.solves(index)
        judgement = Judgement.CORRECT if solved else Judgement.WRONG
        if not habits.well_formed:
            judgement = Judgement.BAD_FORMAT
        reward = {Judgement.CORRECT: 1.0, Judgement.WRONG: -0.5}.get(judgement, -1.0)
        await self.store.judge_attempt(
            rollout_id, judgement, verdict="ok", reward=reward, solved=solved
        )

    def _response(self, text: str, habits: Habits) -> Completion:
        made = completion(self.version, num_tokens=habits.tokens, text=text)
        reason = FinishReason.LENGTH if habits.truncated else FinishReason.STOP
        return dataclasses.replace(made, finish_reason=reason)


LIST_THE_SHOWN = "'done'"


def table(task: TaskDraft) -> str:
    """A program that knows the shown pairs by heart."""
    return "\n".join(
        ["def f(a):"]
        + [f"    if a == {e.arguments}: return {e.output.canonical}" for e in task.shown]
    )


def copied_program(number: int, admission: Admission) -> str:
    """The first reference, with a comment of its own."""
    copied = admission.references[0].program.partition("#")[0].rstrip()
    return f"{copied}  # copy {number + 7}"


ACTS: dict[str, Habits] = {
    "copies in silence": Habits(
        program=copied_program, solves=lambda _index: False, tokens=2, entropy=0.01
    ),
    "tells the answer": Habits(
        program=lambda _number, _admission: "def f(a):\n    # 'done'\n    return 'done'",
        output=lambda _number: "done",
        message=lambda _number: "it is 'done'",
        solves=lambda _index: True,
        answer=lambda _number: LIST_THE_SHOWN,
    ),
    "is noise": Habits(well_formed=False, truncated=True, tokens=40, entropy=2.0),
}
"""Ways to fail."""
