"""Laws of a step's measures: each is the share or mean that its table promises."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from azr.diagnosis.measures import (
    MEASURES,
    SCOPES,
    Over,
    StepMeasures,
    from_metrics,
    pooled,
)
from azr.diagnosis.rules import RULES
from azr.diagnosis.windows import Measurer
from azr.store.history.trained import TrainedRow
from azr.task_types import MAIN_TYPES
from azr.types import (
    Cell,
    Example,
    FinishReason,
    Judgement,
    Role,
    Task,
    TaskType,
    Verdict,
)
from azr.values import from_python

DEDUCTION, ABDUCTION, INDUCTION = MAIN_TYPES
PROPOSE = Cell(Role.PROPOSE, DEDUCTION)
ADD, TWICE, REVERSE = (f"def f(a):\n    return {e}" for e in ("a + 1", "a * 2", "a[::-1]"))
_ids = itertools.count(1)


def task(program: str, output: object = 1, *, task_type: TaskType = DEDUCTION) -> Task:
    example = Example("1", from_python(output))
    pairs = (example,) * (4 if task_type is INDUCTION else 1)
    return Task(task_id=next(_ids), task_type=task_type, program=program, examples=pairs)


def row(cell: Cell, judgement: Judgement, **facts: Any) -> TrainedRow:  # noqa: ANN401 -- of each kind
    plain: dict[str, Any] = {
        "verdict": "ok",
        "reward": 0.0,
        "solve_rate": None,
        "num_tokens": 10,
        "finish_reason": FinishReason.STOP,
        "text": "",
        "task": None,
    }
    return TrainedRow(rollout_id=next(_ids), cell=cell, judgement=judgement, **(plain | facts))


def proposal(program: str, *shown: str, solve_rate: float = 0.5, output: object = 1) -> TrainedRow:
    return row(
        PROPOSE,
        Judgement.VALID,
        task=task(program, output),
        references=tuple(map(task, shown)),
        solve_rate=solve_rate,
        reward=1 - solve_rate,
    )


def refused(program: str, verdict: Verdict, *shown: str) -> TrainedRow:
    text = f"</think><answer>```python\n{program}\n```\n```input\n1\n```\n</answer>"
    references = tuple(map(task, shown))
    return row(
        PROPOSE, Judgement.INVALID, verdict=verdict, text=text, references=references, reward=-1.0
    )


def attempt(
    task_type: TaskType, answer: str, at: Task, *, judgement: Judgement = Judgement.CORRECT
) -> TrainedRow:
    tag = {DEDUCTION: "output", ABDUCTION: "input", INDUCTION: "python"}[task_type]
    text = f"</think><answer>```{tag}\n{answer}\n```\n</answer>"
    return row(Cell(Role.SOLVE, task_type), judgement, text=text, task=at)


def measured(*rows: TrainedRow) -> StepMeasures:
    return Measurer().measure(1, rows)


def of(found: StepMeasures, name: str, cell: Cell = PROPOSE) -> float | None:
    return found.values.get((str(cell), name))


def test_validity_counts_all_proposals_and_difficulty_only_settled_ones():
    broken = row(PROPOSE, Judgement.BAD_FORMAT, finish_reason=FinishReason.LENGTH, num_tokens=50)
    found = measured(
        proposal(ADD, solve_rate=0.0),
        proposal(TWICE, solve_rate=1.0),
        proposal(REVERSE, solve_rate=0.5),
        broken,
    )
    assert of(found, "valid") == 0.75
    assert of(found, "solved_by_none") == of(found, "solved_by_all") == pytest.approx(1 / 3)
    assert of(found, "solve_rate") == 0.5
    assert of(found, "bad_format") == of(found, "truncated") == 0.25
    assert of(found, "tokens") == 20


def test_reward_spread_is_the_deviation_within_the_step():
    found = measured(proposal(ADD, solve_rate=0.0), proposal(TWICE, solve_rate=1.0))
    assert of(found, "reward") == 0.5
    assert of(found, "reward_std") == 0.5


def test_programs_that_differ_in_names_and_comments_are_not_distinct():
    renamed = "def f(x):  # mine\n    return x + 1"
    assert of(measured(proposal(ADD), proposal(renamed)), "distinct") == 0.5


def test_a_refused_duplicate_still_counts_as_a_program():
    found = measured(proposal(ADD), refused(ADD, Verdict.DUPLICATE))
    assert of(found, "distinct") == 0.5
    assert found.counts[str(PROPOSE), Over.PROGRAMS] == 2


def test_a_program_that_failed_in_the_jail_is_not_looked_at():
    found = measured(proposal(ADD), refused(ADD, Verdict.RUNTIME_ERROR))
    assert of(found, "distinct") == 1
    assert found.counts[str(PROPOSE), Over.PROGRAMS] == 1


def test_repetition_is_of_references_or_of_earlier_steps():
    measurer = Measurer()
    first = measurer.measure(1, [proposal(ADD, ADD), proposal(TWICE, ADD)])
    second = measurer.measure(2, [proposal(ADD, REVERSE), proposal(REVERSE, ADD)])
    assert of(first, "repeats_reference") == 0.5
    assert of(first, "repeats_older") == 0
    assert of(second, "repeats_reference") == 0
    assert of(second, "repeats_older") == 0.5


def test_remembered_programs_are_older_ones():
    measurer = Measurer()
    measurer.remember([ADD])
    assert of(measurer.measure(1, [proposal(ADD)]), "repeats_older") == 1


def test_distance_is_to_all_references_and_to_the_nearest():
    found = measured(proposal(ADD, ADD, TWICE))
    assert of(found, "reference_distance") == pytest.approx(1 / 16)
    assert of(found, "nearest_reference") == 0
    assert of(measured(proposal(ADD)), "nearest_reference") is None


def test_outputs_are_compared_over_valid_tasks():
    found = measured(*(proposal(f"{ADD} + {n}", output=n % 2) for n in range(4)))
    assert of(found, "distinct_outputs") == 0.5


def test_induction_proposals_are_compared_by_their_messages():
    cell = Cell(Role.PROPOSE, INDUCTION)
    made = task(ADD, task_type=INDUCTION)
    rows = [row(cell, Judgement.VALID, task=made, references=(task(ADD),)) for _ in range(4)]
    found = measured(*rows)
    assert of(found, "distinct", cell) == 0.25
    assert of(found, "repeats_reference", cell) is None


def test_one_answer_to_several_tasks_is_counted_by_pairs():
    cell = Cell(Role.SOLVE, ABDUCTION)
    tasks = [task(ADD, n, task_type=ABDUCTION) for n in range(3)]
    rows = [
        attempt(ABDUCTION, "[ ]", tasks[0]),
        attempt(ABDUCTION, "[]", tasks[1]),
        attempt(ABDUCTION, "5", tasks[2]),
        attempt(ABDUCTION, "[]", tasks[2], judgement=Judgement.WRONG),
    ]
    found = measured(*rows)
    assert of(found, "same_answer", cell) == pytest.approx(1 / 3)
    assert of(found, "correct", cell) == 0.75
    assert of(measured(*rows[:1]), "same_answer", cell) is None


def test_lookup_tables_are_counted_over_answers_that_kept_the_format():
    cell = Cell(Role.SOLVE, INDUCTION)
    pairs = tuple(Example(f"[{n}]", from_python(n * 50)) for n in range(4))
    at = Task(task_id=next(_ids), task_type=INDUCTION, program=ADD, examples=pairs)
    table = "def f(a):\n    if a == [0]:\n        return 0\n    if a == [1]:\n        return 50"
    found = measured(
        attempt(INDUCTION, table, at, judgement=Judgement.WRONG),
        attempt(INDUCTION, ADD, at),
        attempt(INDUCTION, "", at, judgement=Judgement.BAD_FORMAT),
    )
    assert of(found, "lookup_table", cell) == 0.5


def test_a_step_without_rows_measures_nothing():
    assert measured().values == {}


def test_measures_come_back_from_their_metrics():
    found = Measurer().measure(7, [proposal(ADD, TWICE)], entropy=0.5)
    metrics = found.to_metrics() | {"loss": 1.0}
    again = from_metrics(7, metrics)
    assert (again.values, {k: v for k, v in again.counts.items() if v}) == (
        found.values,
        {(scope, str(over)): count for (scope, over), count in found.counts.items() if count},
    )


def test_pooling_weighs_by_what_a_value_is_over():
    scope = str(PROPOSE)
    steps = [
        StepMeasures(1, {(scope, "distinct"): 1.0}, {(scope, "programs"): 3}),
        StepMeasures(2, {(scope, "distinct"): 0.0}, {(scope, "programs"): 1}),
        StepMeasures(3, {}, {(scope, "programs"): 0}),
    ]
    found = pooled(steps, scope, "distinct")
    assert found is not None
    assert (found.value, found.count) == (0.75, 4)
    assert pooled(steps[2:], scope, "distinct") is None


def test_every_scope_of_a_value_is_known():
    found = Measurer().measure(1, [proposal(ADD, TWICE)], entropy=1.0)
    assert {scope for scope, _ in found.values} <= set(SCOPES)
    assert {name for _, name in found.values} <= set(MEASURES)


def test_a_run_without_error_tasks_has_no_measure_of_them():
    found = measured(proposal(ADD))
    scopes = {scope for scope, _ in [*found.values, *found.counts]}
    assert not [scope for scope in scopes if scope.endswith("/error")]
    assert scopes >= {"propose/induction", "solve/abduction"}, "the paper's cells are counted"


def test_error_tasks_that_share_a_class_are_no_sign_of_anything():
    error = TaskType.ERROR
    cell = Cell(Role.PROPOSE, error)
    broken = [task(program, "TypeError", task_type=error) for program in (ADD, TWICE)]
    text = "</think><answer>```output\nTypeError\n```\n</answer>"
    solved = [row(Cell(Role.SOLVE, error), Judgement.CORRECT, text=text, task=each)
              for each in broken]  # fmt: skip
    valid = [row(cell, Judgement.VALID, task=each, references=()) for each in broken]
    found = measured(*valid, *solved)
    assert of(found, "same_answer", Cell(Role.SOLVE, error)) is None
    assert of(found, "correct", Cell(Role.SOLVE, error)) == 1
    assert of(found, "distinct", cell) == of(found, "valid", cell) == 1
    assert of(found, "distinct_outputs", cell) == 0.5
    assert "propose/error" not in RULES["outputs_alike"].scopes


def test_a_program_that_should_have_failed_and_ran_is_looked_at():
    text = f"</think><answer>```python\n{ADD}\n```\n```input\n1\n```\n</answer>"
    cell = Cell(Role.PROPOSE, TaskType.ERROR)
    ran = row(cell, Judgement.INVALID, verdict=Verdict.NO_ERROR, text=text, references=())
    assert of(measured(ran), "distinct", cell) == 1
