"""What a rollout is asked, and what it is worth: shared by both tellings.

The synchronous telling (`azr.selfplay`) and the executor actor call the same
functions here, so they cannot disagree on a prompt or a verdict. Expected values
are compared on the host and never enter the jail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from azr import intrinsic
from azr.composition import composed, functions
from azr.config import RunConfig
from azr.gates import refusal
from azr.parsing import parse_answer, parse_induction_proposal, parse_proposal
from azr.ports import Sandbox
from azr.prompts import family_of, propose_within
from azr.raised import named, names
from azr.rewards import learnability_reward
from azr.types import (
    Admission,
    Answer,
    Completion,
    FinishReason,
    FormatError,
    Judgement,
    Measurement,
    Outcome,
    Proposal,
    Purpose,
    Rejection,
    Role,
    SamplingRequest,
    Task,
    TaskDraft,
    TaskType,
    Value,
    Verdict,
)
from azr.validation import task_from
from azr.values import equal

type Fits = Callable[[str], bool]
"""Whether a prompt keeps `prompts.max_prompt_tokens`."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A solver attempt, judged."""

    judgement: Judgement
    verdict: str = Verdict.OK
    """What the jail saw, or the reason of a bad format."""
    solved: bool = False
    """Counts towards the solve rate; a bad format may, if `measure_format` is off."""


def sampling_request(admission: Admission, config: RunConfig, fits: Fits) -> SamplingRequest:
    """The prompt of an admission. Seeded only in synchronous runs, which reproduce."""
    family = family_of(config.prompts)
    if admission.cell.role is Role.SOLVE:
        if admission.task is None:
            raise ValueError(f"solve admission {admission.admission_id} has no task")
        prompt = family.solve(admission.task)
    else:
        prompt = propose_within(
            family,
            admission.cell.task_type,
            admission.references,
            num_pairs=config.selfplay.induction_pairs,
            fits=fits,
            composites=_composites(admission, config, fits),
        )
    return SamplingRequest(
        prompt=prompt,
        max_tokens=config.prompts.max_response_tokens,
        stop=config.prompts.stop,
        seed=admission.seed if config.learner.max_staleness == 0 else None,
    )


def proposal_reward(measured: Measurement, config: RunConfig) -> float:
    """Learnability (Eq. 4), and what the task earns for how it looks (`[intrinsic]`)."""
    reward = learnability_reward(
        measured.solve_rate, boundary_reward=config.selfplay.boundary_reward
    )
    if measured.proposed is None:
        return reward
    terms = intrinsic.terms(measured.proposed, config.intrinsic)
    return intrinsic.with_intrinsic(reward, terms, config.intrinsic.combine)


def _composites(admission: Admission, config: RunConfig, fits: Fits) -> tuple[str, ...]:
    """The functions to build on: the first ones, as many as fit a prompt without references.

    The same for the prompt and for the judgement of what it led to.
    """
    sources = functions(admission.composites)
    family, task_type = family_of(config.prompts), admission.cell.task_type
    num_pairs = config.selfplay.induction_pairs
    while sources and not fits(
        family.propose(task_type, (), num_pairs=num_pairs, composites=sources)
    ):
        sources = sources[:-1]
    return sources


async def judge_proposal(
    admission: Admission,
    completion: Completion,
    *,
    sandbox: Sandbox,
    config: RunConfig,
    fits: Fits,
) -> TaskDraft | Rejection | FormatError:
    """Parse a proposal, validate it in the jail, and check that it can be posed."""
    proposal = _parse(admission, completion, config)
    if isinstance(proposal, FormatError):
        return proposal
    if sources := _composites(admission, config, fits):
        program = composed(sources, proposal.program)
        if isinstance(program, Rejection):
            return program
        proposal = replace(proposal, program=program)
    task_type = admission.cell.task_type
    outcomes = await sandbox.validate(
        proposal.program, proposal.arguments, failing=task_type is TaskType.ERROR
    )
    draft = task_from(task_type, proposal, outcomes)
    if isinstance(draft, Rejection):
        return draft
    if not fits(family_of(config.prompts).solve(draft)):
        return Rejection(Verdict.OUTPUT_TOO_LARGE, "the solver's prompt would be too long")
    return refusal(draft, admission.references, config.selfplay) or draft


def _parse(
    admission: Admission, completion: Completion, config: RunConfig
) -> Proposal | FormatError:
    if _is_cut(completion, config):
        return FormatError("truncated")
    seeding = admission.purpose is Purpose.SEED
    if admission.cell.task_type is TaskType.INDUCTION:
        return parse_induction_proposal(
            completion.text,
            program=admission.references[0].program,
            num_pairs=config.selfplay.induction_pairs,
            policy=config.prompts.parsing,
            seeding=seeding,
        )
    return parse_proposal(
        completion.text,
        single_function=config.selfplay.single_function,
        policy=config.prompts.parsing,
        seeding=seeding,
    )


def _is_cut(completion: Completion, config: RunConfig) -> bool:
    """Whether it ended at the length limit, and that alone makes its format bad.

    The paper's policy takes an answer part that was closed before.
    """
    is_strict = config.prompts.parsing == "strict"
    return is_strict and completion.finish_reason is FinishReason.LENGTH


async def judge_attempt(
    task: Task, completion: Completion, *, sandbox: Sandbox, config: RunConfig
) -> Grade:
    """Grade an attempt (paper section 3.3.4, spec/azr.md 1.7).

    Deduction compares the answered literal with the output; abduction runs the
    program on the answered input, and any input that yields the output is right;
    induction runs the answered program on the hidden pairs, and all must match. An error
    task compares names and runs nothing (`azr.raised`).
    """
    grade = await _formatted_grade(task, completion, sandbox, config)
    if config.selfplay.measure_format or grade.judgement is not Judgement.BAD_FORMAT:
        return grade
    answer = parse_answer(
        task.task_type, completion.text, lenient=True, policy=config.prompts.parsing
    )
    if isinstance(answer, FormatError):
        return grade
    lenient = await _grade_answer(task, answer, sandbox)
    return replace(grade, solved=lenient.solved)


async def _formatted_grade(
    task: Task, completion: Completion, sandbox: Sandbox, config: RunConfig
) -> Grade:
    """The grade of an attempt that has to keep the format."""
    if _is_cut(completion, config):
        return Grade(Judgement.BAD_FORMAT, "truncated")
    answer = parse_answer(task.task_type, completion.text, policy=config.prompts.parsing)
    if isinstance(answer, FormatError):
        return Grade(Judgement.BAD_FORMAT, answer.reason)
    return await _grade_answer(task, answer, sandbox)


async def _grade_answer(task: Task, answer: Answer, sandbox: Sandbox) -> Grade:
    if task.task_type is TaskType.ERROR:
        return _grade_name(task, answer)
    outcomes = await _outcomes(task, answer, sandbox)
    tested = task.hidden if task.task_type is TaskType.INDUCTION else task.examples
    for outcome, example in zip(outcomes, tested, strict=True):
        if not _matches(outcome, example.output):
            return Grade(Judgement.WRONG, outcome.verdict)
    return Grade(Judgement.CORRECT, solved=True)


def _grade_name(task: Task, answer: Answer) -> Grade:
    if names(answer.text, task.examples[0].output):
        return Grade(Judgement.CORRECT, solved=True)
    verdict = Verdict.OK if named(answer.text) else Verdict.BAD_LITERAL
    return Grade(Judgement.WRONG, verdict)


async def _outcomes(task: Task, answer: Answer, sandbox: Sandbox) -> tuple[Outcome, ...]:
    if task.task_type is TaskType.DEDUCTION:
        return await sandbox.parse_literals([answer.text])
    if task.task_type is TaskType.ABDUCTION:
        return await sandbox.run(task.program, [answer.text])
    calls = [example.arguments for example in task.hidden]
    return await sandbox.run(answer.text, calls, stop_at_first_failure=True)


def _matches(outcome: Outcome, expected: Value) -> bool:
    return outcome.value is not None and equal(outcome.value, expected)
