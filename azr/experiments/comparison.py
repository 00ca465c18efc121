"""All results side by side: the base, and the arms with their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azr.errors import InputError
from azr.experiments import statistics
from azr.experiments.arms import ARMS, BASE, SELFPLAY, Group
from azr.experiments.results import Outcomes, TrialResult
from azr.experiments.statistics import WHOLE, Difference, View


@dataclass(frozen=True, slots=True)
class Seeds:
    """One arm's finished trials, by seed."""

    arm: str
    results: tuple[TrialResult, ...]

    @property
    def finals(self) -> list[Outcomes]:
        return [result.final for result in self.results]

    @property
    def group(self) -> Group:
        return ARMS[self.arm].group

    @property
    def max_staleness(self) -> int | None:
        """Of a run; None for pretraining."""
        section = self.results[0].config.get("learner", {})
        return section.get("max_staleness")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the report is about."""

    base: TrialResult
    arms: tuple[Seeds, ...]
    """In the order of `arms.ARMS`, without the base."""

    def arm(self, name: str) -> Seeds | None:
        return next((arm for arm in self.arms if arm.arm == name), None)

    @property
    def selfplay(self) -> Seeds | None:
        return self.arm(SELFPLAY)

    def of_groups(self, *groups: Group) -> list[Seeds]:
        """Self-play first, then the arms of these groups."""
        first = [self.selfplay] if self.selfplay else []
        return first + [arm for arm in self.arms if arm.group in groups and arm not in first]

    def gain(self, arm: Seeds, view: View = WHOLE) -> Difference:
        """Over the base, at equal decoding, on the same problems."""
        return statistics.gain(self.base.final, arm.finals, view)

    def behind_selfplay(self, arm: Seeds, view: View = WHOLE) -> Difference | None:
        """How much higher self-play ends than the arm; None without self-play."""
        if self.selfplay is None or arm is self.selfplay:
            return None
        return statistics.difference(self.selfplay.finals, arm.finals, view)


def compare(results: Sequence[TrialResult]) -> Comparison:
    """Sort results into arms. Raises InputError if they cannot be compared."""
    base = next((result for result in results if result.arm == BASE), None)
    if base is None:
        raise InputError(
            "there is no result of the base, so nothing to compare with",
            hint="`azr experiment learning --arms base` measures it.",
        )
    for result in results:
        asked = (result.suite, result.final.per_type, result.final.samples)
        if asked != (base.suite, base.final.per_type, base.final.samples):
            raise InputError(
                f"{result.arm}, seed {result.seed}, was measured on other problems than the base",
                hint="Keep experiments of different plans in different folders.",
            )
    arms: list[Seeds] = []
    for name in ARMS:
        own = [result for result in results if result.arm == name and name != BASE]
        if own:
            arms.append(Seeds(name, tuple(sorted(own, key=lambda result: result.seed))))
    return Comparison(base, tuple(arms))
