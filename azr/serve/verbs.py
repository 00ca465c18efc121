"""AZR's own verbs: propose a task, solve one, with the jail's verdict.

The prompts, the parsing and the judging are those of self-play; only nothing is stored.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, Field

from azr.config import RunConfig
from azr.judging import Fits, judge_attempt, judge_proposal, sampling_request
from azr.parsing import parse_answer
from azr.ports import Sandbox
from azr.prompts.contract import THINK_CLOSE
from azr.serve.policy import MODEL, Policies, Sampled
from azr.serve.refusal import RefusedError
from azr.serve.task_body import Pair, TaskBody, Text, as_task, task_document
from azr.serve.tasks import PastTasks
from azr.task_types import PAIR_TYPES
from azr.types import (
    Admission,
    Cell,
    Completion,
    FormatError,
    Judgement,
    Purpose,
    Rejection,
    Role,
    SamplingRequest,
    Task,
    TaskType,
    Verdict,
)

type TaskId = Annotated[int, Field(ge=1, lt=2**63)]


class ProposeBody(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """POST /v1/azr/propose."""

    type: TaskType
    references: Annotated[list[TaskId], Field(max_length=32)] | None = None
    """Tasks of the run that the proposer is shown. Left out: drawn from the newest of the
    type; an empty list: none. Induction shows the program of the first."""
    program: Text | None = None
    """Induction: the program to describe, instead of a reference."""
    model: Annotated[str, Field(max_length=80)] = MODEL
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class SolveBody(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """POST /v1/azr/solve: a task of the run, or one of the client's own."""

    task_id: TaskId | None = None
    task: TaskBody | None = None
    model: Annotated[str, Field(max_length=80)] = MODEL
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


@dataclass(kw_only=True, eq=False)
class Verbs:
    """Answers for the door."""

    policies: Policies
    sandbox: Sandbox
    config: RunConfig
    fits: Fits
    past: PastTasks | None
    """The run's history; None for a plain model."""

    async def propose(self, body: ProposeBody) -> dict[str, Any]:
        """A proposed task with its verdict. Raises RefusedError for unknown references."""
        references = await self._references(body)
        admission = _admission(Cell(Role.PROPOSE, body.type), references=references)
        request = self._request(admission, seed=body.seed, temperature=1.0)
        sampled = await self.policies.sample(request, body.model)
        found = await judge_proposal(
            admission,
            sampled.completion,
            sandbox=self.sandbox,
            config=self.config,
            fits=self.fits,
        )
        if isinstance(found, FormatError):
            judged = (Judgement.BAD_FORMAT, found.reason, "")
        elif isinstance(found, Rejection):
            judged = (Judgement.INVALID, found.verdict, found.detail)
        else:
            judged = (Judgement.VALID, Verdict.OK, "")
        judgement, verdict, detail = judged
        is_task = not isinstance(found, FormatError | Rejection)
        return {
            "task": task_document(found) if is_task else None,
            "judgement": judgement,
            "verdict": verdict,
            "detail": detail,
            "references": [task.task_id for task in references if task.task_id],
            **_response(sampled),
        }

    async def solve(self, body: SolveBody) -> dict[str, Any]:
        """An attempt at a task, graded. Raises RefusedError for what is no task."""
        task = await self._task(body)
        admission = _admission(Cell(Role.SOLVE, task.task_type), task=task)
        request = self._request(admission, seed=body.seed, temperature=body.temperature)
        if not self.fits(request.prompt):
            raise RefusedError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "the task's prompt is longer than prompts.max_prompt_tokens ="
                f" {self.config.prompts.max_prompt_tokens}",
                code="prompt_too_long",
            )
        sampled = await self.policies.sample(request, body.model)
        grade = await judge_attempt(
            task, sampled.completion, sandbox=self.sandbox, config=self.config
        )
        answer = parse_answer(
            task.task_type, sampled.completion.text, policy=self.config.prompts.parsing
        )
        return {
            "task": task_document(task),
            "answer": None if isinstance(answer, FormatError) else answer.text,
            "judgement": grade.judgement,
            "verdict": grade.verdict,
            "solved": grade.judgement is Judgement.CORRECT,
            **_response(sampled),
        }

    def _request(
        self, admission: Admission, *, seed: int | None, temperature: float
    ) -> SamplingRequest:
        asked = sampling_request(admission, self.config, self.fits)
        return replace(asked, seed=seed, temperature=temperature)

    async def _references(self, body: ProposeBody) -> tuple[Task, ...]:
        if body.type is TaskType.INDUCTION:
            return (await self._described(body),)
        if body.references is not None:
            return tuple([await self._past.task(number) for number in body.references])
        if self.past is None:
            return ()
        pool = await self.past.newest(body.type)
        wanted = min(self.config.selfplay.references, len(pool))
        return tuple(random.Random(body.seed).sample(pool, wanted))  # noqa: S311

    async def _described(self, body: ProposeBody) -> Task:
        """The program that an induction proposer describes, as its one reference."""
        if body.program is not None:
            pair = Pair(input="", output="None")
            given = TaskBody(type=TaskType.DEDUCTION, program=body.program, examples=[pair])
            return await as_task(given, self.sandbox)
        if body.references:
            return await self._past.task(body.references[0])
        pool: Sequence[Task] = ()
        if self.past is not None:
            pool = [task for task_type in PAIR_TYPES for task in await self.past.newest(task_type)]
        if not pool:
            raise RefusedError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "an induction task is proposed for a program: give `program` or `references`",
                code="program_missing",
                param="program",
            )
        return random.Random(body.seed).choice(pool)  # noqa: S311

    async def _task(self, body: SolveBody) -> Task:
        if (body.task_id is None) == (body.task is None):
            raise RefusedError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "give either task_id or task", param="task"
            )
        if body.task_id is not None:
            return await self._past.task(body.task_id)
        assert body.task is not None  # noqa: S101 -- one of the two is given
        return await as_task(body.task, self.sandbox)

    @property
    def _past(self) -> PastTasks:
        if self.past is None:
            raise RefusedError(
                HTTPStatus.NOT_FOUND,
                "a model has no tasks of its own; serve a run to name its tasks",
                code="no_history",
            )
        return self.past


def _admission(
    cell: Cell, *, references: tuple[Task, ...] = (), task: Task | None = None
) -> Admission:
    """What is asked, in self-play's terms; it is never stored."""
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


def _response(sampled: Sampled) -> dict[str, Any]:
    completion: Completion = sampled.completion
    thinking, closed, _ = completion.text.partition(THINK_CLOSE)
    return {
        "thinking": thinking.strip() if closed else "",
        "response": completion.text,
        "finish_reason": completion.finish_reason,
        "usage": {
            "prompt_tokens": len(completion.prompt_token_ids),
            "completion_tokens": len(completion.token_ids),
            "total_tokens": len(completion.prompt_token_ids) + len(completion.token_ids),
        },
        "policy_version": completion.newest_version,
        "policy_spans": [
            {
                "choice": 0,
                "version": span.version,
                "lineage": span.lineage,
                "start": span.start,
                "end": span.end,
            }
            for span in completion.version_spans
        ],
        "replica": sampled.replica,
    }
