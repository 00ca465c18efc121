"""Laws of the plans: what they contain, and how options change them."""

from __future__ import annotations

import pytest

from azr.errors import InputError
from azr.evals.problems import held_out_suite
from azr.experiments.arms import ARMS, Kind
from azr.experiments.plans import PLANS, Plan, table, tailored

PLAIN = Plan(
    name="plain",
    about="for tests",
    seeds={"base": (0,), "selfplay": (0, 1), "no-references": (0,), "staleness-4": (0, 1)},
    minutes=10,
    settings=("learner.max_staleness=4",),
)


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_every_setting_of_every_plan_exists(plan: Plan):
    for name in plan.seeds:
        plan.config(ARMS[name])


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_the_problems_of_a_curve_are_among_those_of_the_end(plan: Plan):
    suite = held_out_suite()
    end = set(suite.select(per_type=plan.suite_per_type))
    assert set(suite.select(per_type=plan.curve_per_type)) <= end


def test_the_base_comes_first_then_the_arms_with_several_seeds_seed_by_seed():
    names = [trial.name for trial in PLAIN.trials()]
    assert names == ["base", "selfplay-seed0", "selfplay-seed1", "no-references-seed0"]


def test_an_arm_that_equals_selfplay_is_not_played_twice():
    assert PLAIN.same_as_selfplay() == ["staleness-4"]
    other = tailored(PLAIN, settings=["learner.max_staleness=2"])
    assert "staleness-4" in {trial.arm.name for trial in other.trials()}
    assert "= selfplay" in table(PLAIN)


def test_options_change_a_plan():
    plan = tailored(
        PLAIN, arms=["whitening-token"], seeds=[3], minutes=2, model="/models/x", settings=["a.b=1"]
    )
    base, trial = plan.trials()[0], plan.seeds
    assert base.arm.kind is Kind.BASE
    assert trial == {"whitening-token": (3,)}
    assert plan.minutes == 2
    assert plan.settings == (*PLAIN.settings, 'run.model="/models/x"', "a.b=1")
    with pytest.raises(InputError, match="no arm 'nothing'"):
        tailored(PLAIN, arms=["nothing"])


def test_minutes_belong_to_trials_and_the_base_has_none():
    base, *others = PLAIN.trials()
    assert base.minutes == 0
    assert {trial.minutes for trial in others} == {10}
