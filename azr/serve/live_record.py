"""A live run under load: the laws that its answers keep, and what they cost the training.

Windows without and with requests alternate in one run, so that whatever else the machine
does meets both sides alike. A window is counted from one learner step's commit to another's;
the first commit after a change of load belongs to neither side.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from azr.types import PolicyVersion

MOST_SHOWN = 5
"""Broken laws of one kind that are told, of however many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client saw of one request. Times in seconds of one clock."""

    sent_at: float
    ended_at: float
    status: int
    """0: the connection broke."""
    replica: str = ""
    versions: tuple[PolicyVersion, ...] = ()
    """In the order of its tokens; the last is behind its end."""
    error: str = ""

    @property
    def is_good(self) -> bool:
        return self.status == HTTPStatus.OK and not self.error and bool(self.versions)


@dataclass(frozen=True, slots=True)
class Step:
    """A learner step, as the database has it."""

    committed_at: float
    """Seconds since the epoch."""
    num_rollouts: int
    """That it trained on."""
    sampled_tokens: float
    """By the rollouts so far, since the node began."""
    cpu_seconds: float
    """Of the node and all that it started, since it began."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A time with requests, or without."""

    is_loaded: bool
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The learner steps of a phase, from its first commit to its last."""

    is_loaded: bool
    seconds: float
    num_steps: int
    """Without that of the first commit, where the clock starts."""
    num_rollouts: int
    """That these steps trained on."""
    sampled_tokens: float
    """By the run's own rollouts; answers to requests are not among them."""
    cpu_seconds: float


def window(phase: Phase, steps: Sequence[Step]) -> Window:
    """Raises ValueError for a phase with fewer than two commits: nothing lies between them."""
    inside = [step for step in steps if phase.began_at < step.committed_at <= phase.ended_at]
    if len(inside) < 2:
        raise ValueError("a window lies between two learner steps or more")
    return Window(
        is_loaded=phase.is_loaded,
        seconds=inside[-1].committed_at - inside[0].committed_at,
        num_steps=len(inside) - 1,
        num_rollouts=sum(step.num_rollouts for step in inside[1:]),
        sampled_tokens=inside[-1].sampled_tokens - inside[0].sampled_tokens,
        cpu_seconds=inside[-1].cpu_seconds - inside[0].cpu_seconds,
    )


def together(windows: Sequence[Window], *, is_loaded: bool) -> Window:
    """The windows of one side as one."""
    side = [each for each in windows if each.is_loaded == is_loaded]
    return Window(
        is_loaded=is_loaded,
        seconds=sum(each.seconds for each in side),
        num_steps=sum(each.num_steps for each in side),
        num_rollouts=sum(each.num_rollouts for each in side),
        sampled_tokens=sum(each.sampled_tokens for each in side),
        cpu_seconds=sum(each.cpu_seconds for each in side),
    )


def failures(answers: Sequence[Answer]) -> list[str]:
    """What went wrong, with how often."""
    counts = Counter(
        f"status {answer.status}: {answer.error or 'no policy version'}"[:200]
        for answer in answers
        if not answer.is_good
    )
    return [f"{count} x {what}" for what, count in counts.most_common(MOST_SHOWN)]


def falls(answers: Sequence[Answer]) -> list[str]:
    """Where a replica's version fell: inside an answer, or from one that had ended to one
    that was asked for later. Answers that overlap in time may arrive in any order."""
    found: list[str] = []
    by_replica: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if not answer.is_good:
            continue
        by_replica[answer.replica].append(answer)
        if list(answer.versions) != sorted(answer.versions):
            found.append(f"{answer.replica}: versions {answer.versions} in one answer")
    for replica, seen in by_replica.items():
        ended = sorted(seen, key=lambda answer: answer.ended_at)
        highest, number = -1, 0
        for answer in sorted(seen, key=lambda answer: answer.sent_at):
            while ended[number].ended_at <= answer.sent_at:
                highest = max(highest, ended[number].versions[-1])
                number += 1
            if answer.versions[-1] < highest:
                found.append(f"{replica}: version {answer.versions[-1]} after {highest}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRecord:
    """What came of one measurement."""

    command: str
    """What to type for another."""
    machine: str
    other_load: float
    """Processes that wanted to run before anything was started: what else the machine did."""
    answers: Sequence[Answer]
    windows: Sequence[Window]
    max_share: float
    """The configured bound, `serve.max_share`."""
    run_ended: str = ""
    """Empty if the run drained as it should after all; else what happened."""

    @property
    def fall(self) -> float:
        """The share of the training throughput that was lost while requests came."""
        quiet, loaded = self._sides
        return 1 - (loaded.num_rollouts / loaded.seconds) / (quiet.num_rollouts / quiet.seconds)

    @property
    def _sides(self) -> tuple[Window, Window]:
        return together(self.windows, is_loaded=False), together(self.windows, is_loaded=True)

    @property
    def broken(self) -> list[str]:
        """The laws that did not hold; none if all is well."""
        fallen = falls(self.answers)
        laws = [f"requests failed: {each}" for each in failures(self.answers)]
        laws += [f"a version fell: {each}" for each in fallen[:MOST_SHOWN]]
        if self.fall > self.max_share:
            laws.append(
                f"training fell by {self.fall:.0%}, more than serve.max_share = {self.max_share:g}"
            )
        if self.run_ended:
            laws.append(f"the run did not end well: {self.run_ended}")
        return laws

    def table(self) -> str:
        """A row for each window, then both sides and what is left under load."""
        rows = [_HEAD, *(_row(_side(each), each) for each in self.windows)]
        quiet, loaded = self._sides
        left = [mine / other for mine, other in zip(_rates(loaded), _rates(quiet), strict=True)]
        rows += [_row("all no", quiet), _row("all yes", loaded)]
        rows.append(f"{'yes : no':<27}" + "".join(f"{each:>21.2f}x" for each in left))
        return "\n".join(rows)

    def verdict(self) -> str:
        """Some sentences."""
        versions = sorted({version for answer in self.answers for version in answer.versions})
        good = sum(answer.is_good for answer in self.answers)
        span = f"v{versions[0]} to v{versions[-1]}" if versions else "none"
        replicas = len({answer.replica for answer in self.answers if answer.is_good})
        lines = [
            f"{len(self.answers)} requests, {len(self.answers) - good} failed; policy versions"
            f" {span} from {replicas} replica(s), {len(falls(self.answers))} of which fell.",
            f"Training throughput fell by {self.fall:.1%} while they came; serve.max_share allows"
            f" {self.max_share:.0%}.",
        ]
        return "\n".join(lines + [f"broken: {law}" for law in self.broken])

    def page(self) -> str:
        """Markdown, for docs/results."""
        when = time.strftime("%Y-%m-%d", time.gmtime())
        lines = [
            f"## {len(self.answers)} requests beside a run",
            "",
            f"    {self.command}",
            "",
            f"{when}, {self.machine}; {self.other_load:.1f} other processes wanted to run when it"
            " began.",
            "",
            "```",
            self.table(),
            "```",
            "",
            self.verdict(),
        ]
        return "\n".join(lines) + "\n"


_HEAD = f"{'requests':<10}{'steps':>7}{'seconds':>10}" + "".join(
    f"{name:>22}" for name in ("trained rollouts/min", "sampled tokens/s", "tokens/CPU-second")
)


def _rates(window: Window) -> tuple[float, float, float]:
    return (
        60 * window.num_rollouts / window.seconds,
        window.sampled_tokens / window.seconds,
        window.sampled_tokens / window.cpu_seconds,
    )


def _row(name: str, window: Window) -> str:
    rates = "".join(f"{rate:>22.0f}" for rate in _rates(window))
    return f"{name:<10}{window.num_steps:>7}{window.seconds:>10.1f}{rates}"


def _side(window: Window) -> str:
    return "yes" if window.is_loaded else "no"
