"""Conclusions in words, made from the numbers: nothing is said that an interval denies."""

from __future__ import annotations

from azr.evals.estimates import Estimate
from azr.experiments.arms import ARMS
from azr.experiments.comparison import Comparison, Seeds
from azr.experiments.statistics import Difference

WANTED_GAIN, WANTED_BOUND = 0.10, 0.05
"""What the experiment set out to show: a mean gain, and the lower end of its interval."""
SYNCHRONOUS = "staleness-0"


def points(value: float) -> str:
    """0.1 as `+10.0`."""
    return f"{100 * value:+.1f}"


def interval(estimate: Estimate) -> str:
    """`[+2.0, +4.5]`, in points."""
    return f"[{points(estimate.low)}, {points(estimate.high)}]"


def conclusions(comparison: Comparison) -> list[str]:
    """What can be said, the main question first."""
    found: list[str] = []
    if comparison.selfplay is None:
        found.append("Self-play itself has no result yet, so nothing is said about it.")
    else:
        gain = comparison.gain(comparison.selfplay)
        found += [gained("Self-play", gain), verdict(gain)]
    for arm in comparison.arms:
        difference = comparison.behind_selfplay(arm)
        if difference is not None:
            found.append(compared(arm, difference))
    return found


def gained(who: str, gain: Difference) -> str:
    """Over the base."""
    change = (
        f"no change over the base can be told: {points(gain.mean)} points"
        if not gain.is_told
        else f"held-out accuracy {'rose' if gain.mean > 0 else 'fell'} by"
        f" {points(abs(gain.mean))[1:]} points"
    )
    return f"{who}: {change} {interval(gain.interval)}, {_covering(gain)}."


def verdict(gain: Difference) -> str:
    """Whether self-play did what was asked of it."""
    wanted = (
        f"a mean gain of at least {100 * WANTED_GAIN:.0f} points with its interval above"
        f" {100 * WANTED_BOUND:.0f}"
    )
    if not gain.covers_seeds:
        return f"The aim, {wanted}, cannot be judged with one seed."
    reached = gain.mean >= WANTED_GAIN and gain.interval.low > WANTED_BOUND
    if reached:
        return f"The aim, {wanted}, is reached."
    return (
        f"The aim, {wanted}, is not reached: the mean is {points(gain.mean)} and the interval"
        f" begins at {points(gain.interval.low)}."
    )


def compared(arm: Seeds, difference: Difference) -> str:
    """Self-play against an arm with the same minutes."""
    lead = f"`{arm.arm}` ({ARMS[arm.arm].question[:1].lower()}{ARMS[arm.arm].question[1:]})"
    figures = f"{points(difference.mean)} points {interval(difference.interval)}"
    where = _covering(difference)
    if not difference.covers_seeds:
        return (
            f"{lead}: self-play ends {figures} from it, {where}; that may be the seeds' doing,"
            " so no difference between the arms can be told."
        )
    if not difference.is_told:
        return f"{lead}: no difference from self-play can be told, {figures}, {where}."
    side = "above" if difference.mean > 0 else "below"
    return f"{lead}: self-play ends {side} it, by {figures}, {where}."


def asynchrony(comparison: Comparison) -> str | None:
    """Asynchronous against synchronous, at equal time on one machine."""
    synchronous, ours = comparison.arm(SYNCHRONOUS), comparison.selfplay
    if synchronous is None or ours is None:
        return None
    speeds = [
        sum(result.tokens for result in arm.results)
        / max(1.0, sum(result.played_seconds for result in arm.results))
        for arm in (ours, synchronous)
    ]
    steps = [
        sum(result.steps for result in arm.results) / len(arm.results)
        for arm in (ours, synchronous)
    ]
    said = (
        f"With a bound of {ours.max_staleness} versions a run sampled {speeds[0]:,.0f} tokens a"
        f" second and took {steps[0]:,.0f} steps, synchronously {speeds[1]:,.0f} and"
        f" {steps[1]:,.0f}, in the same minutes."
    )
    difference = comparison.behind_selfplay(synchronous)
    return said if difference is None else f"{said} {_held_out(difference)}"


def _held_out(difference: Difference) -> str:
    figures = f"{points(difference.mean)} points {interval(difference.interval)}"
    if not (difference.covers_seeds and difference.is_told):
        return f"On held-out problems no difference can be told: {figures}."
    return f"On held-out problems it ends {figures} from the synchronous run."


def _covering(difference: Difference) -> str:
    if difference.covers_seeds:
        return f"95 % over seeds ({difference.seeds}) and problems"
    return "95 % over problems only, with one seed"
