"""What a run records of an evaluation is what its report reads back."""

from __future__ import annotations

from azr.evals.held_out import Attempt, Decoding, Report
from azr.evals.metrics import from_metrics, to_metrics
from azr.evals.problems import held_out_suite
from azr.judging import Grade
from azr.types import Completion, FinishReason, Judgement, TaskType

PROBLEMS = held_out_suite().select(per_type=2)


def answered() -> Report:
    """Every deduction is solved, no other problem is."""
    completion = Completion(
        prompt_token_ids=(1,),
        token_ids=(2,),
        behaviour_logprobs=(),
        version_spans=(),
        text="",
        finish_reason=FinishReason.STOP,
    )
    attempts = tuple(
        Attempt(
            problem=problem,
            decoding=Decoding.GREEDY,
            sample=0,
            completion=completion,
            grade=Grade(Judgement.CORRECT, solved=problem.task.task_type is TaskType.DEDUCTION),
        )
        for problem in PROBLEMS
    )
    return Report(problems=PROBLEMS, attempts=attempts, samples=0, seconds=1.0)


def test_metrics_say_what_the_report_says():
    report = answered()
    point = from_metrics(7, to_metrics(report))
    assert (point.version, point.num_problems) == (7, len(PROBLEMS))
    assert point.mean == report.score(decoding=Decoding.GREEDY)
    assert point.by_type[TaskType.DEDUCTION].mean == 1.0
    assert point.by_type[TaskType.INDUCTION].mean == 0.0
