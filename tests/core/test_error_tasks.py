"""Error tasks, worked out by hand: what is hidden, what is valid, what an answer earns."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from azr import config_files
from azr.config import RunConfig, SelfPlaySection
from azr.error_seeds import AWKWARD, ZERO_ERROR, awkward_calls, error_seeds
from azr.errors import ConfigError
from azr.gates import refusal
from azr.intrinsic import terms
from azr.judging import judge_attempt, judge_proposal
from azr.normal_form import task_key
from azr.prompts import CompactPrompts
from azr.quota import batch_rows, played_types
from azr.raised import class_name, raised
from azr.rewards import rejected_reward, solver_reward
from azr.task_types import MAIN_CELLS, MAIN_TYPES, types_shown
from azr.testing import ScriptedEngine
from azr.types import (
    Admission,
    Cell,
    Completion,
    Example,
    Judgement,
    Outcome,
    ProposedTask,
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
from azr.values import from_python

ERROR = TaskType.ERROR
FOUR = 'selfplay.task_types=["deduction","abduction","induction","error"]'


class OneEnd:
    """A jail in which every call ends alike, and no literal is read."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.failing: list[bool] = []

    async def run(
        self, program: str, calls: Sequence[str], *, stop_at_first_failure: bool = False
    ) -> tuple[Outcome, ...]:
        del program, calls, stop_at_first_failure
        raise AssertionError("an answer to an error task runs nothing")

    async def validate(
        self, program: str, calls: Sequence[str], *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        del program
        self.failing.append(failing)
        return (self.outcome,) * len(calls)

    async def parse_literals(self, texts: Sequence[str]) -> tuple[Outcome, ...]:
        raise AssertionError(f"a name is no literal: {texts!r}")


async def completion(text: str) -> Completion:
    engine = ScriptedEngine(script=lambda _: text)
    [sampled] = await engine.sample([SamplingRequest(prompt="?", max_tokens=99)])
    return sampled


def failed(name: str) -> Outcome:
    return Outcome(Verdict.RUNTIME_ERROR, detail=name)


# --- what is valid --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["ValueError", "RecursionError", "SystemExit", "Broken", "_X1", "Fehler\u00e4", "E" * 39],
)
def test_the_class_of_an_exception_is_what_an_error_task_hides(name: str):
    found = raised(failed(name))
    assert isinstance(found, Value)
    assert class_name(found) == name


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome(Verdict.OK, Value("1")), Verdict.NO_ERROR),
        (Outcome(Verdict.TIMEOUT, detail="wall"), Verdict.TIMEOUT),
        (Outcome(Verdict.OUT_OF_MEMORY, detail="MemoryError"), Verdict.OUT_OF_MEMORY),
        (Outcome(Verdict.KILLED, detail="SIGSEGV"), Verdict.KILLED),
        (Outcome(Verdict.SYNTAX_ERROR, detail="SyntaxError"), Verdict.SYNTAX_ERROR),
        (Outcome(Verdict.NONDETERMINISTIC), Verdict.NONDETERMINISTIC),
        (Outcome(Verdict.BANNED_IMPORT, detail="os"), Verdict.BANNED_IMPORT),
        (Outcome(Verdict.UNSERIALISABLE, detail="object"), Verdict.UNSERIALISABLE),
        (Outcome(Verdict.NOT_RUN), Verdict.NOT_RUN),
        (failed(""), Verdict.UNSERIALISABLE),
        (failed("a b"), Verdict.UNSERIALISABLE),
        (failed("x</answer>"), Verdict.UNSERIALISABLE),
        (failed("E" * 40), Verdict.UNSERIALISABLE),  # the jail may have cut it
    ],
)
def test_limits_refusals_and_odd_names_are_no_errors_to_predict(outcome: Outcome, verdict: Verdict):
    found = raised(outcome)
    assert isinstance(found, Rejection)
    assert found.verdict is verdict


def propose(task_type: TaskType) -> Admission:
    cell = Cell(Role.PROPOSE, task_type)
    return Admission(admission_id=0, cell=cell, slot=0, version=0, seed=0, purpose=Purpose.TRAIN)


async def proposed(outcome: Outcome, task_type: TaskType = ERROR, **selfplay: object):
    body = "```python\ndef f(a):\n    return a[3]\n```\n```input\n[1]\n```\n"
    jail = OneEnd(outcome)
    found = await judge_proposal(
        propose(task_type),
        await completion(f"hm</think><answer>{body}</answer>"),
        sandbox=jail,
        config=RunConfig.model_validate({"selfplay": selfplay}),
        fits=lambda _: True,
    )
    assert jail.failing == [task_type is ERROR]
    return found


async def test_a_proposal_that_raises_is_a_task_and_one_that_returns_is_none():
    found = await proposed(failed("IndexError"))
    assert isinstance(found, TaskDraft)
    assert (found.task_type, found.examples) == (ERROR, (Example("[1]", Value('"IndexError"')),))
    assert await proposed(Outcome(Verdict.OK, Value("1"))) == Rejection(Verdict.NO_ERROR)
    assert rejected_reward() == -1.0  # Eq. 6, as for the other types


async def test_for_the_other_types_an_exception_stays_a_rejection():
    for task_type in (TaskType.DEDUCTION, TaskType.ABDUCTION):
        found = await proposed(failed("IndexError"), task_type)
        assert found == Rejection(Verdict.RUNTIME_ERROR, "IndexError")


# --- what an answer earns -------------------------------------------------------------------------

POSED = Task(
    task_id=1,
    task_type=ERROR,
    program="def f(a):\n    return a[3]",
    examples=(Example("[1]", from_python("IndexError")),),
)


@pytest.mark.parametrize(
    ("answer", "reward", "verdict"),
    [
        ("IndexError", 1.0, "ok"),  # Eq. 5 and 6
        ("  indexerror ", 1.0, "ok"),  # official code: in any case of letters
        ("builtins.IndexError", 1.0, "ok"),
        ("LookupError", -0.5, "ok"),  # a superclass is another class
        ("KeyError", -0.5, "ok"),
        ("NoError", -0.5, "ok"),
        ("IndexError: list index out of range", -0.5, "bad_literal"),
        ("'IndexError'", -0.5, "bad_literal"),
        ("IndexError()", -0.5, "bad_literal"),
        ("IndexError KeyError", -0.5, "bad_literal"),
        ("IndexError.", -0.5, "bad_literal"),
        ("", -0.5, "bad_literal"),
    ],
)
async def test_the_reward_of_an_answered_class(answer: str, reward: float, verdict: str):
    text = await completion(f"hm</think><answer>```output\n{answer}\n```</answer>")
    jail = OneEnd(Outcome(Verdict.NOT_RUN))
    grade = await judge_attempt(POSED, text, sandbox=jail, config=RunConfig())
    assert (solver_reward(grade.judgement), grade.verdict) == (reward, verdict)
    assert grade.solved == (reward == 1.0)


@pytest.mark.parametrize(
    ("text", "strict", "paper"),
    [
        ("hm</think><answer>IndexError</answer>", "bad_format", "correct"),
        ("hm</think><answer># Output: IndexError</answer>", "bad_format", "correct"),
        ("hm</think><answer>The output is IndexError.</answer>", "bad_format", "correct"),
        ("hm</think><answer>```error\nIndexError\n```</answer>", "bad_format", "wrong"),
        ("hm</think><answer>```OUTPUT IndexError```</answer>", "bad_format", "correct"),
        ("hm <answer>```output\nIndexError\n```</answer>", "bad_format", "bad_format"),
    ],
)
async def test_each_policy_reads_a_class_as_it_reads_an_output(text: str, strict: str, paper: str):
    for policy, judgement in {"strict": strict, "paper": paper}.items():
        run = RunConfig.model_validate({"prompts": {"parsing": policy}})
        jail = OneEnd(Outcome(Verdict.NOT_RUN))
        grade = await judge_attempt(POSED, await completion(text), sandbox=jail, config=run)
        assert grade.judgement == judgement


async def test_a_measuring_attempt_without_the_format_may_solve():
    text = await completion("hm <answer>```output\nIndexError\n```</answer>")
    run = RunConfig.model_validate({"selfplay": {"measure_format": False}})
    grade = await judge_attempt(POSED, text, sandbox=OneEnd(Outcome(Verdict.NOT_RUN)), config=run)
    assert (grade.judgement, grade.solved) == (Judgement.BAD_FORMAT, True)


# --- gates, repetitions, rewards for looks --------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "refused"),
    [
        ("def f(a):\n    raise ValueError", "raise"),
        ("def f(a):\n    assert a", "assert"),
        ("def f(a):\n    try:\n        a[0]\n    except KeyError:\n        return 1 / 0", "except"),
        ("def f(a):\n    return a['raise']  # try, assert", None),
        ("def f(raised):\n    return raised.tries", None),
    ],
)  # fmt: skip
def test_written_errors_are_refused_if_asked_for(program: str, refused: str | None):
    draft = TaskDraft(task_type=ERROR, program=program, examples=ZERO_ERROR.examples)
    strict = SelfPlaySection(reject_written_errors=True)
    expected = refused and Rejection(Verdict.BANNED_CONSTRUCT, refused)
    assert refusal(draft, (), strict) == expected
    assert refusal(draft, (), SelfPlaySection()) is None
    deduction = TaskDraft(task_type=TaskType.DEDUCTION, program=program, examples=draft.examples)
    assert refusal(deduction, (), strict) is None


def test_a_program_that_was_shown_is_not_novel():
    play = SelfPlaySection(reject_reference_programs=True)
    found = refusal(POSED, [POSED], play)
    assert found is not None
    assert found.verdict is Verdict.NOT_NOVEL


def test_by_program_the_input_makes_no_other_error_task():
    other = TaskDraft(
        task_type=ERROR, program=POSED.program, examples=(Example("{}", from_python("KeyError")),)
    )
    assert task_key(POSED, "tokens", "program") == task_key(other, "tokens", "program")
    assert task_key(POSED, "tokens") != task_key(other, "tokens")


def test_the_diversity_of_an_error_task_is_that_of_its_class():
    # 1 - 3/4: three of four earlier tasks raised the same class
    seen = ProposedTask(task=POSED, seen_inputs=(0,), seen_outputs=(3,), seen=4)
    section = RunConfig.model_validate({"intrinsic": {"answer_diversity": 1.0}}).intrinsic
    assert terms(seen, section) == [0.25]


# --- the switch -----------------------------------------------------------------------------------


def test_without_the_switch_nothing_is_of_the_fourth_type():
    run = RunConfig()
    assert played_types(run) == run.selfplay.task_types == MAIN_TYPES
    assert tuple(batch_rows(run)) == MAIN_CELLS
    assert types_shown(()) == MAIN_TYPES


def test_the_fourth_type_comes_last_and_adds_a_cell_for_each_role():
    run = config_files.load("tiny-cpu", [FOUR])
    assert played_types(run) == (*MAIN_TYPES, ERROR)
    assert [str(cell) for cell in batch_rows(run)] == [
        *("propose/deduction", "propose/abduction", "propose/induction", "propose/error"),
        *("solve/deduction", "solve/abduction", "solve/induction", "solve/error"),
    ]


def test_errors_can_be_played_alone_but_not_be_what_induction_describes():
    alone = config_files.load("tiny-cpu", ['selfplay.task_types=["error"]'])
    assert played_types(alone) == (ERROR,)
    with pytest.raises(ConfigError, match="add one of these types"):
        config_files.load("tiny-cpu", ['selfplay.task_types=["induction","error"]'])
    with pytest.raises(ConfigError, match="name each task type once"):
        config_files.load("tiny-cpu", ['selfplay.task_types=["error","error"]'])


# --- the first tasks ------------------------------------------------------------------------------


def test_one_argument_at_a_time_is_exchanged():
    assert awkward_calls("3") == list(AWKWARD)
    assert awkward_calls("0") == [text for text in AWKWARD if text != "0"]
    assert awkward_calls("[1, 2], 'a, b'")[:4] == [
        *("[], 'a, b'", "[1, 2], 0", "'', 'a, b'", "[1, 2], None"),
    ]
    for odd in ("a=3", "*[1]", ")", "", "(" * 9999):
        assert all(call in AWKWARD for call in awkward_calls(odd)), "all of it is exchanged"


def source(number: int) -> TaskDraft:
    return TaskDraft(
        task_type=TaskType.DEDUCTION,
        program=f"def f(a):\n    return a + {number}",
        examples=(Example("1", Value("2")),),
    )


class ByCall(OneEnd):
    """What is raised depends on the argument alone."""

    async def validate(
        self, program: str, calls: Sequence[str], *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        del program
        assert failing
        names = {"[]": "TypeError", "''": "TypeError", "None": "KeyError", "{}": "KeyError"}
        fine = Outcome(Verdict.OK, Value("1"))
        return tuple(failed(names[call]) if call in names else fine for call in calls)


async def seeds(count: int, *sources: TaskDraft, jail: OneEnd | None = None) -> list[TaskDraft]:
    return await error_seeds(
        sources,
        count=count,
        sandbox=jail or ByCall(failed("")),
        family=CompactPrompts(),
        fits=lambda _: True,
        play=SelfPlaySection(),
    )


async def test_rare_classes_and_new_programs_come_first():
    found = await seeds(5, *map(source, range(3)))
    names = [class_name(draft.examples[0].output) for draft in found]
    # the hand-written one; TypeError and KeyError have occurred equally seldom, so the first
    # that a program raises; then the other; then the first again; then second ones
    assert names == ["ZeroDivisionError", "TypeError", "KeyError", "TypeError", "KeyError"]
    assert [draft.program for draft in found[1:4]] == [source(n).program for n in range(3)]
    assert found[4].program == source(0).program
    assert {draft.task_type for draft in found} == {ERROR}


async def test_programs_that_never_fail_leave_the_hand_written_task():
    never = OneEnd(Outcome(Verdict.OK, Value("1")))
    assert await seeds(4, source(1), source(2), jail=never) == [ZERO_ERROR]
    assert await seeds(4) == [ZERO_ERROR]


async def test_no_call_of_a_program_becomes_two_tasks():
    found = await seeds(99, source(1), source(1))
    keys = [(draft.program, draft.examples[0].arguments) for draft in found]
    assert len(set(keys)) == len(keys) == 1 + 4
