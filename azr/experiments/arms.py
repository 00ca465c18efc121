"""What is compared: each arm is a question, and the settings that answer it.

Settings are overrides of a preset, as `azr run --set` takes them. All arms start from
the same base model and are measured on the same held-out problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

from azr.config_learner import LossName


class Kind(StrEnum):
    """How an arm's weights come about."""

    BASE = "base"
    """They are the model's own: nothing is trained."""
    RUN = "run"
    """`azr run`."""
    PRETRAINING = "pretraining"
    """`azr pretrain`, from the model's weights on."""


class Group(StrEnum):
    """Which part of the report an arm belongs to."""

    MAIN = "main"
    PAPER = "ablations of the paper"
    STALENESS = "staleness bounds"
    VARIANTS = "variants of the objective"
    BASELINES = "the same time without self-play"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to spend a budget."""

    name: str
    question: str
    """What the arm answers, in one line."""
    group: Group
    settings: tuple[str, ...] = ()
    """`section.key=value` over the preset."""
    kind: Kind = Kind.RUN
    needs_generator_tasks: bool = False
    """Its tasks come from a seed file that the experiment writes."""


BASE, SELFPLAY = "base", "selfplay"
STALENESS_BOUNDS = (0, 2, 4, 8)

_PAPER = (
    Arm(
        "deduction-only",
        "What do abduction and induction add?",
        Group.PAPER,
        ('selfplay.task_types=["deduction"]',),
    ),
    Arm(
        "no-induction",
        "What does induction add?",
        Group.PAPER,
        ('selfplay.task_types=["deduction", "abduction"]',),
    ),
    Arm(
        "no-references",
        "Does it help a proposer to see earlier tasks?",
        Group.PAPER,
        ("selfplay.references=0",),
    ),
    Arm(
        "solver-only",
        "Are new tasks needed, or would the seed tasks do?",
        Group.PAPER,
        ("selfplay.propose=false",),
    ),
    Arm(
        "proposer-untrained",
        "Does it help to train the proposer?",
        Group.PAPER,
        ("selfplay.propose_weight=0",),
    ),
)
_STALENESS = tuple(
    Arm(
        f"staleness-{bound}",
        "Does asynchrony pay at equal time? (0 is synchronous)"
        if bound == 0
        else f"What does a bound of {bound} versions cost or buy?",
        Group.STALENESS,
        (f"learner.max_staleness={bound}",),
    )
    for bound in STALENESS_BOUNDS
)
_VARIANTS = (
    *(
        Arm(
            f"loss-{name}",
            f"Would {name} learn more?",
            Group.VARIANTS,
            (f"learner.loss={name}",),
        )
        for name in get_args(LossName)
    ),
    Arm(
        "reuse-one",
        "Does it help to train on the attempts that measured a task?",
        Group.VARIANTS,
        ("selfplay.solver_reuse=one",),
    ),
    Arm(
        "whitening-token",
        "Are advantages better whitened over tokens than over sequences?",
        Group.VARIANTS,
        ("learner.whitening=token",),
    ),
)
_BASELINES = (
    Arm(
        "generator-tasks",
        "Would solving the pretraining generator's tasks do as well?",
        Group.BASELINES,
        ("selfplay.propose=false",),
        needs_generator_tasks=True,
    ),
    Arm(
        "more-pretraining",
        "Would more pretraining do as well?",
        Group.BASELINES,
        kind=Kind.PRETRAINING,
    ),
)

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(BASE, "Where does everything start?", Group.MAIN, kind=Kind.BASE),
        Arm(SELFPLAY, "How much does self-play learn?", Group.MAIN),
        *_BASELINES,
        *_PAPER,
        *_STALENESS,
        *_VARIANTS,
    )
}
"""Every arm, in the order of the report."""
