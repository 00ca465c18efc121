"""How much is spent on which arm: the table that `--plan` prints.

Minutes are of self-play proper (`run.minutes`), on the machine that runs them; starting
up, seeding and measuring come on top and are not limited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from azr import config_files
from azr.config import RunConfig
from azr.errors import InputError
from azr.experiments.arms import ARMS, BASE, SELFPLAY, Arm, Kind

ENOUGH_STEPS = 100_000
"""`run.steps` where minutes are the limit."""
MEASURING_MINUTES = 4.0
"""Guessed beside the minutes of a trial, to say what is left: start, seeding, evaluation."""
ALL_SEEDS = (0, 1, 2)
LONG_RUN = ("learner.learning_rate=0.15", "learner.anneal_share=0.7")
"""Some 250 steps instead of the preset's 30: smaller ones, for the same way."""
FULL_MINUTES, ARMS_MINUTES, SHORT_MINUTES = 40.0, 15.0, 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An experiment to be: arms, seeds, minutes, and how finely it measures."""

    name: str
    about: str
    seeds: Mapping[str, Sequence[int]]
    """Arms in order, each with its seeds; the base has none."""
    minutes: float
    """Of each trial; 0 where `settings` limit the steps."""
    checkpoint_every_steps: int = 10
    """So fine that a curve can be chosen from them; their number is not known before."""
    curve_points: int = 8
    curve_per_type: int = 50
    """Problems of each split and type behind a point of a curve, answered greedily."""
    suite_per_type: int | None = None
    """The same for the weights at the end; None = the whole suite."""
    samples: int = 4
    """Responses at temperature 1 to each of those, beside the greedy one."""
    preset: str = config_files.DEFAULT_PRESET
    settings: tuple[str, ...] = field(default=())
    """Of all arms, over the preset and below the arm's own."""

    def trials(self) -> list[Trial]:
        """Everything to do: the base; seed by seed the arms with several; then the others.

        An arm that a preset makes equal to `selfplay` is left out: see `same_as_selfplay`.
        """
        skipped = self.same_as_selfplay()
        wanted = [
            (len(seeds) == 1, turn, position, Trial(self, ARMS[name], seed))
            for position, (name, seeds) in enumerate(self.seeds.items())
            if name not in skipped and ARMS[name].kind is not Kind.BASE
            for turn, seed in enumerate(seeds)
        ]
        ordered = sorted(wanted, key=lambda item: item[:3])
        return [Trial(self, ARMS[BASE], 0), *(trial for *_, trial in ordered)]

    def same_as_selfplay(self) -> list[str]:
        """Arms whose settings are the preset's: they would repeat `selfplay`."""
        if SELFPLAY not in self.seeds:
            return []
        plain = self.config(ARMS[SELFPLAY])
        return [
            name
            for name in self.seeds
            if ARMS[name].settings
            and not ARMS[name].needs_generator_tasks
            and self.config(ARMS[name]) == plain
        ]

    def config(self, arm: Arm) -> RunConfig:
        """The settings of an arm, resolved. Raises ConfigError."""
        return config_files.load(self.preset, [*self.settings, *arm.settings])


@dataclass(frozen=True, slots=True)
class Trial:
    """One arm with one seed."""

    plan: Plan
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Of its folder and its result."""
        return BASE if self.arm.kind is Kind.BASE else f"{self.arm.name}-seed{self.seed}"

    @property
    def settings(self) -> tuple[str, ...]:
        """What tells this trial from the preset, without paths."""
        return (*self.plan.settings, *self.arm.settings)

    @property
    def minutes(self) -> float:
        """Of training; 0 for the base, and where steps are the limit."""
        return 0.0 if self.arm.kind is Kind.BASE else self.plan.minutes

    @property
    def guessed_seconds(self) -> float:
        """How long it will take, all in all."""
        return 60.0 * (self.minutes + MEASURING_MINUTES)


_MAIN = (BASE, SELFPLAY, "staleness-0")
"""What the claims rest on: three seeds each."""
_BESIDE = ("generator-tasks", "more-pretraining", "solver-only")
"""What else the same minutes buy: one seed each."""

PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            Plan(
                name="full",
                about="what self-play adds: three seeds of it and of its synchronous form",
                seeds=dict.fromkeys(_MAIN, ALL_SEEDS) | dict.fromkeys(_BESIDE, ALL_SEEDS[:1]),
                minutes=FULL_MINUTES,
                settings=LONG_RUN,
            ),
            Plan(
                name="arms",
                about="every ablation and variant, shorter: one seed each, two of self-play",
                seeds=dict.fromkeys(ARMS, ALL_SEEDS[:1]) | {SELFPLAY: ALL_SEEDS[:2]},
                minutes=ARMS_MINUTES,
            ),
            Plan(
                name="short",
                about="half an hour: the base, self-play and one ablation, one seed each",
                seeds={BASE: (0,), SELFPLAY: (0,), "solver-only": (0,)},
                minutes=SHORT_MINUTES,
                checkpoint_every_steps=5,
                curve_points=6,
                curve_per_type=25,
            ),
            Plan(
                name="toy",
                about="a minute or two: does every part work? Two steps teach nothing",
                seeds={BASE: (0,), SELFPLAY: (0,)},
                minutes=0.0,
                curve_points=1,
                curve_per_type=1,
                suite_per_type=2,
                samples=1,
                settings=(
                    "run.steps=2",
                    "selfplay.attempts=3",
                    "selfplay.seed_batches=2",
                    "learner.batch_rollouts=4",
                    "learner.checkpoint_every_steps=1",
                ),
            ),
        )
    }
)


def tailored(
    plan: Plan,
    *,
    arms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    minutes: float | None = None,
    preset: str | None = None,
    model: str | None = None,
    settings: Sequence[str] = (),
) -> Plan:
    """The plan with what the user wants otherwise; None and () leave it alone.

    Arms that the plan does not have get `seeds`, or seed 0. Raises InputError for an
    unknown arm.
    """
    unknown = [name for name in arms or () if name not in ARMS]
    if unknown:
        raise InputError(f"there is no arm {unknown[0]!r}", hint=f"Arms: {', '.join(ARMS)}.")
    chosen = {name: plan.seeds.get(name, (0,)) for name in arms or plan.seeds}
    if seeds is not None:
        chosen = dict.fromkeys(chosen, tuple(seeds))
    own_model = () if model is None else (f'run.model="{model}"',)
    return replace(
        plan,
        seeds=chosen,
        minutes=plan.minutes if minutes is None else minutes,
        preset=preset or plan.preset,
        settings=(*plan.settings, *own_model, *settings),
    )


def table(plan: Plan) -> str:
    """What will be done, and how long it may take."""
    skipped = plan.same_as_selfplay()
    lines = [f"{plan.name}: {plan.about}", "", f"{'arm':20}{'seeds':>8}{'minutes':>9}  question"]
    for name, seeds in plan.seeds.items():
        arm = ARMS[name]
        count = "" if arm.kind is Kind.BASE else ",".join(map(str, seeds))
        length = f"{plan.minutes:g}" if plan.minutes and arm.kind is not Kind.BASE else "-"
        question = "= selfplay with these settings" if name in skipped else arm.question
        lines.append(f"{name:20}{count:>8}{length:>9}  {question}")
    trials = plan.trials()
    hours = sum(trial.guessed_seconds for trial in trials) / 3600
    lines += [
        "",
        f"{len(trials)} trials, about {hours:.1f} hours: {plan.minutes:g} minutes of self-play"
        f" and some {MEASURING_MINUTES:g} of starting and measuring each"
        if plan.minutes
        else f"{len(trials)} trials, limited by run.steps",
    ]
    return "\n".join(lines)
