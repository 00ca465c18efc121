"""The same model on two cores without a GPU: where it can be checked."""

from __future__ import annotations

from dataclasses import dataclass

from azr.config import RunConfig
from azr.scaling.database import load_of
from azr.scaling.inputs import SQLITE, Jails, Laptop, Lengths
from azr.scaling.work import work_of

LAPTOP = Laptop()
JAILS = Jails()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopEstimate:
    """A step of a run on CPU."""

    sampled_tokens: float
    cpu_seconds: float
    step_seconds: float
    """On a machine that does nothing else."""

    @property
    def tokens_per_cpu_second(self) -> float:
        return self.sampled_tokens / self.cpu_seconds


def estimate(
    config: RunConfig, lengths: Lengths, laptop: Laptop = LAPTOP, jails: Jails = JAILS
) -> LaptopEstimate:
    """Engine, learner, jails and SQLite share the cores; the first two have one thread each."""
    work = work_of(config, lengths, jails)
    sampling = work.sampled_tokens / laptop.sampled_tokens_per_second
    training = work.trained_tokens / laptop.trained_tokens_per_second
    store = load_of(work, SQLITE, remote=False).total_seconds
    total = sampling + training + store + work.jail_seconds
    return LaptopEstimate(
        sampled_tokens=work.sampled_tokens,
        cpu_seconds=total,
        step_seconds=max(total / laptop.cores, sampling, training),
    )
