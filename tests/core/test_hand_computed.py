"""Rewards, advantages, weights and switches, worked out by hand.

Every case shows its arithmetic and says what it fixes: an equation of the paper
(arXiv 2505.03335) or what the official code does. `test_hand_computed_losses` has the
objective and the optimizer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from azr.advantages import normalise
from azr.buffers import Buffers
from azr.config import RunConfig, SelfPlaySection
from azr.eviction import kept_range, stays
from azr.judging import judge_attempt, judge_proposal
from azr.quota import AttemptPlan, batch_rows, plan_attempts
from azr.rewards import learnability_reward, rejected_reward, solver_reward
from azr.seeds import draw_by_weight
from azr.testing import ScriptedEngine
from azr.types import (
    Admission,
    Batch,
    Cell,
    Completion,
    Example,
    FormatError,
    Judgement,
    Outcome,
    Purpose,
    Role,
    SamplingRequest,
    Task,
    TaskDraft,
    TaskType,
    Trajectory,
    Value,
    Verdict,
)

DEDUCTION = TaskType.DEDUCTION
SOLVE = Cell(Role.SOLVE, DEDUCTION)
PROPOSE = Cell(Role.PROPOSE, DEDUCTION)

# --- rewards ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_solved", "boundary", "expected"),
    [
        (1, 0.0, 0.875),  # Eq. 4: 1 - 1/8, the most that eight attempts can earn
        (4, 0.0, 0.5),  # Eq. 4: 1 - 4/8
        (7, 0.0, 0.125),  # Eq. 4: 1 - 7/8, the least above zero
        (0, 0.0, 0.0),  # Eq. 4: nobody solved it, so it teaches nothing
        (8, 0.0, 0.0),  # Eq. 4: everybody solved it
        (0, -0.5, -0.5),  # official code: learnability 0 counts as "formatted but wrong"
        (8, -0.5, -0.5),  # official code: the same at the other end
        (1, -0.5, 0.875),  # official code: the fork changes the boundaries only
    ],
)
def test_a_proposers_reward(num_solved: int, boundary: float, expected: float):
    assert learnability_reward(num_solved / 8, boundary_reward=boundary) == expected


@pytest.mark.parametrize(
    ("judgement", "expected"),
    [
        (Judgement.CORRECT, 1.0),  # Eq. 5 and 6: r_solve = 1, well formatted
        (Judgement.WRONG, -0.5),  # Eq. 6: well formatted, wrong
        (Judgement.BAD_FORMAT, -1.0),  # Eq. 6: format error
    ],
)
def test_a_solvers_reward(judgement: Judgement, expected: float):
    assert solver_reward(judgement) == expected


def test_an_invalid_proposal_counts_as_a_format_error():
    assert rejected_reward() == -1.0  # Eq. 6: for a proposer, the task must validate too


# --- advantages ------------------------------------------------------------------------------


def rows(cell: Cell, rewards: list[float], lengths: list[int]) -> list[Trajectory]:
    return [
        Trajectory(
            rollout_id=index,
            cell=cell,
            prompt_token_ids=(1,),
            token_ids=(2,) * length,
            behaviour_logprobs=(-1.0,) * length,
            reward=reward,
            staleness=0,
            group=index,
        )
        for index, (reward, length) in enumerate(zip(rewards, lengths, strict=True))
    ]


def batch(*trajectories: Trajectory) -> Batch:
    return Batch(batch_id=1, version=0, trajectories=trajectories)


@pytest.mark.parametrize(
    ("whitening", "rewards", "lengths", "expected"),
    [
        # Section 3.3.5, A = (r - mean) / std over the rows:
        # mean 0, squares 1 + 1, variance 2/2 = 1, std 1
        ("sequence", [1.0, -1.0], [1, 9], [1.0, -1.0]),
        # mean (1 + 1 - 0.5 - 1) / 4 = 0.125; deviations 0.875 0.875 -0.625 -1.125;
        # squares 0.765625 * 2 + 0.390625 + 1.265625 = 3.1875; / 4 = 0.796875; std 0.892679
        ("sequence", [1.0, 1.0, -0.5, -1.0], [5, 1, 2, 7],
         [0.980196, 0.980196, -0.700140, -1.260252]),
        # a cell whose rewards are equal says nothing: 0 / 0 is 0
        ("sequence", [0.5, 0.5], [1, 2], [0.0, 0.0]),
        # Official masked whitening, every response token a sample:
        # mean (1 * 1 - 0.5 * 3) / 4 = -0.125; squares 1.125^2 + 3 * 0.375^2 = 1.6875;
        # Bessel: / (4 - 1) = 0.5625; sqrt(0.5625 + 1e-8) = 0.75
        ("token", [1.0, -0.5], [1, 3], [1.5, -0.5]),
        # two tokens a row: mean 0, squares 4, / (4 - 1) = 4/3, std 1.154701; A = 1 / 1.154701
        ("token", [1.0, -1.0], [2, 2], [0.866025, -0.866025]),
        # a proposer's cell: mean (-1 * 2 - 0.5 * 2 + 0.875 * 4) / 8 = 0.0625;
        # squares 2 * 1.0625^2 + 2 * 0.5625^2 + 4 * 0.8125^2 = 5.53125; / 7 = 0.790179;
        # std 0.888920
        ("token", [-1.0, -0.5, 0.875], [2, 2, 4], [-1.195271, -0.632790, 0.914030]),
        # official code: zero variance whitens to zero
        ("token", [-1.0, -1.0], [3, 4], [0.0, 0.0]),
    ],
)  # fmt: skip
def test_an_advantage(whitening, rewards: list[float], lengths: list[int], expected: list[float]):
    found = normalise(batch(*rows(SOLVE, rewards, lengths)), whitening=whitening)
    assert found == pytest.approx(expected, abs=1e-6)


def test_six_cells_are_six_groups():
    # Section 3.3.5: mu and sigma are of one task and role. Together the mean would be 0.375;
    # apart, each pair is mean +- std.
    both = batch(*rows(SOLVE, [1.0, -0.5], [1, 1]), *rows(PROPOSE, [0.875, 0.125], [1, 1]))
    assert normalise(both, whitening="sequence") == pytest.approx([1.0, -1.0, 1.0, -1.0])


# --- what is attempted -----------------------------------------------------------------------


def plan(*, valid: bool, judged: int, on_order: int, reuse, lagged: bool = False) -> AttemptPlan:
    return plan_attempts(
        valid=valid,
        judged=judged,
        on_order=on_order,
        attempts=8,
        batch_rollouts=2,
        solve_rollouts=2,
        reuse=reuse,
        lagged=lagged,
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # Algorithm 1: one attempt at a task of this step trains, beside the eight of Eq. 4
        ({"valid": True, "judged": 1, "on_order": 0, "reuse": "one"}, (1, 8, 0)),
        # Algorithm 1: the second proposal failed; its place goes to the validated history
        ({"valid": False, "judged": 2, "on_order": 1, "reuse": "one"}, (0, 0, 1)),
        # official code: a new task is only measured, its training attempt comes a step later
        ({"valid": True, "judged": 1, "on_order": 0, "reuse": "one", "lagged": True}, (0, 8, 0)),
        # official code: a whole batch of two from tasks that were there before
        ({"valid": True, "judged": 2, "on_order": 0, "reuse": "one", "lagged": True}, (0, 8, 2)),
        # ours: two of the eight attempts that measure are the two rows of the batch
        ({"valid": True, "judged": 2, "on_order": 0, "reuse": "all"}, (2, 6, 0)),
    ],
)
def test_the_attempts_that_a_judgement_calls_for(asked, expected: tuple[int, int, int]):
    assert plan(**asked) == AttemptPlan(*expected)


def test_a_warm_up_step_has_solve_cells_only():
    # official pretrain_pred_steps: solver batches only until the step is reached
    run = RunConfig.model_validate({"selfplay": {"warmup_steps": 3}})
    assert [len(batch_rows(run, version)) for version in (0, 2, 3)] == [3, 3, 6]


# --- what may be drawn -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task_filter", "expected"),
    [
        ("all", [True, True, True]),  # official default
        ("non_one", [True, True, False]),  # official: solve rate below 1
        ("non_extremes", [False, True, False]),  # official: above 0 and below 1
    ],
)
def test_the_tasks_that_a_filter_keeps(task_filter, expected: list[bool]):
    assert [stays(rate, task_filter) for rate in (0.0, 0.5, 1.0)] == expected


def test_a_full_official_buffer_keeps_its_oldest():
    # max_programs = 16384: of 16386 tasks the last two may not be drawn
    assert kept_range(16_386, 16_384, "oldest") == range(16_384)


def test_recency_weighs_a_task_by_its_step_plus_one():
    # official `step` sampling: two seeds of weight 0 + 1, one task of step 2 with 2 + 1.
    # Of the five tickets 0 and 1 are the seeds', 2 3 4 the new task's.
    runs = [(2, 1), (1, 3)]
    drawn = Counter(draw_by_weight(runs, 1, seed)[0] for seed in range(5000))
    assert [round(drawn[index] / 5000, 1) for index in range(3)] == [0.2, 0.2, 0.6]


def test_recency_draws_without_replacement_down_to_the_last():
    runs = [(3, 1), (2, 5)]
    assert all(sorted(draw_by_weight(runs, 9, seed)) == [0, 1, 2, 3, 4] for seed in range(50))
    split = [(1, 1), (2, 1), (1, 5), (1, 5)]
    assert all(draw_by_weight(runs, 3, s) == draw_by_weight(split, 3, s) for s in range(200))


def test_after_the_first_of_two_was_drawn_the_second_is_certain():
    # weights 1 and 3: P(second first) = 3/4; what is left then has weight 1 of 1
    orders = Counter(tuple(draw_by_weight([(1, 1), (1, 3)], 2, seed)) for seed in range(4000))
    assert set(orders) == {(0, 1), (1, 0)}
    assert round(orders[1, 0] / 4000, 2) == pytest.approx(0.75, abs=0.02)


def task(number: int) -> TaskDraft:
    return TaskDraft(
        task_type=DEDUCTION,
        program=f"def f(a):\n    return a + {number}",
        examples=(Example("1", Value(str(number + 1))),),
    )


def test_the_newest_tasks_are_those_of_the_step_before():
    # official max_new: at step 1 the seeds are new, later what the last step proposed
    buffers = Buffers(play=SelfPlaySection(), root_seed=0)
    for number, visible_from in enumerate([0, 0, 1, 1, 2]):
        buffers.add(task(number), visible_from=visible_from)
    sizes = [len(buffers.newest(DEDUCTION, version)) for version in range(4)]
    assert sizes == [2, 2, 1, 0]


# --- what is valid, what is solved -----------------------------------------------------------


class OneSandbox:
    """Whatever is called returns 1, and a literal is 1 if it says so."""

    async def run(
        self, program: str, calls: Sequence[str], *, stop_at_first_failure: bool = False
    ) -> tuple[Outcome, ...]:
        del program, stop_at_first_failure
        return tuple(Outcome(Verdict.OK, Value("1")) for _ in calls)

    async def validate(
        self, program: str, calls: Sequence[str], *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        del failing
        return await self.run(program, calls)

    async def parse_literals(self, texts: Sequence[str]) -> tuple[Outcome, ...]:
        return tuple(
            Outcome(Verdict.OK, Value("1")) if text == "1" else Outcome(Verdict.BAD_LITERAL)
            for text in texts
        )


async def completion(text: str) -> Completion:
    engine = ScriptedEngine(script=lambda _: text)
    [sampled] = await engine.sample([SamplingRequest(prompt="?", max_tokens=99)])
    return sampled


async def proposed(program: str, *, single_function: bool):
    run = RunConfig.model_validate({"selfplay": {"single_function": single_function}})
    body = f"```python\n{program}\n```\n```input\n1\n```\n"
    admission = Admission(
        admission_id=0, cell=PROPOSE, slot=0, version=0, seed=0, purpose=Purpose.TRAIN
    )
    return await judge_proposal(
        admission,
        await completion(f"hm</think><answer>{body}</answer>"),
        sandbox=OneSandbox(),
        config=run,
        fits=lambda _: True,
    )


NESTED = "def f(a):\n    def g(b):\n        return b\n    return g(a)"


@pytest.mark.parametrize(
    ("program", "single", "accepted"),
    [
        (NESTED, False, True),  # paper: helpers are allowed, its prompt invites them
        (NESTED, True, False),  # official Qwen2.5 scripts: more than one line-start def
        ("def f(a):\n    return a", True, True),
    ],
)
async def test_the_single_function_rule(program: str, single, accepted):
    result = await proposed(program, single_function=single)
    assert isinstance(result, TaskDraft) == accepted
    assert isinstance(result, FormatError) != accepted


@pytest.mark.parametrize(
    ("measure_format", "text", "solved", "reward"),
    [
        # well formatted and right: solved, +1
        (True, "hm</think><answer>```output\n1\n```</answer>", True, 1.0),
        # text between the tags breaks the format: -1 (Eq. 6), and not solved
        (True, "hm</think> so <answer>```output\n1\n```</answer>", False, -1.0),
        # official code: Monte-Carlo attempts are graded without the format check, so the
        # same text is a solved one, while a row trained on it still earns -1
        (False, "hm</think> so <answer>```output\n1\n```</answer>", True, -1.0),
        # without an answer part nothing is solved in either way
        (False, "hm</think>```output\n1\n```", False, -1.0),
    ],
)
async def test_the_format_of_attempts_that_measure(
    measure_format, text: str, solved, reward: float
):
    run = RunConfig.model_validate({"selfplay": {"measure_format": measure_format}})
    posed = Task(task_id=1, task_type=DEDUCTION, program="?", examples=(Example("0", Value("1")),))
    grade = await judge_attempt(posed, await completion(text), sandbox=OneSandbox(), config=run)
    assert (grade.solved, solver_reward(grade.judgement)) == (solved, reward)
