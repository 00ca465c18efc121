"""A learner of two running ranks, and what one rank does for comparison."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from azr.advantages import normalise
from azr.config import RunConfig
from azr.learner import checkpoint, link, protocol
from azr.learner.link import LearnerProcess
from azr.learner.step import Trainer
from azr.types import Batch, StepResult

type BatchAt = Callable[[int], Batch]

SPLITS = ["ddp", "fsdp2"]
OF_THIS_RUN = {"step_seconds", "micro_batches"}
"""Metrics that say how a step was done, and not what it did."""


def split(config: RunConfig, sharding: str, **changes: object) -> RunConfig:
    """The settings of two ranks; SGD, because Adam turns rounding into steps."""
    learner = {"ranks": 2, "sharding": sharding, "optimizer": "sgd", "learning_rate": 0.05}
    return RunConfig.model_validate(
        config.model_dump() | {"learner": config.learner.model_dump() | learner | changes}
    )


def alone(config: RunConfig, folder: Path) -> Trainer:
    return checkpoint.load(
        folder,
        config.model_copy(update={"learner": config.learner.model_copy(update={"ranks": 1})}),
    )


def advantages(batch: Batch) -> list[float]:
    return normalise(batch, whitening="sequence")


@dataclass
class Pair:
    """Two running ranks."""

    learner: LearnerProcess
    checkpoints: Path

    async def load(self, folder: Path, config: RunConfig) -> None:
        """Begin anew from this model or checkpoint, with these settings."""
        self.learner._config = config
        load = protocol.Load(folder, config, self.checkpoints, "gloo", protocol.LOOPBACK)
        self.learner.version = await self.learner._ask(load, link.LOAD_SECONDS)

    async def train(self, batch: Batch) -> StepResult:
        return await self.learner.train(batch, advantages(batch))

    async def checkpoint(self) -> Path:
        return Path(await self.learner.checkpoint(self.learner.version))


@asynccontextmanager
async def two_ranks(model_path: Path, config: RunConfig, run_dir: Path) -> AsyncGenerator[Pair]:
    async with LearnerProcess.open(model_path, split(config, "ddp"), run_dir) as learner:
        yield Pair(learner, run_dir / "checkpoints")


def here(trainer: Trainer, batch: Batch) -> StepResult:
    """The same step by one rank, in this process."""
    result = trainer.train(batch, advantages(batch))
    assert isinstance(result, StepResult)
    return result


def same(found: StepResult, expected: StepResult) -> None:
    assert found.version == expected.version
    assert found.metrics.keys() == expected.metrics.keys()
    for name in expected.metrics.keys() - OF_THIS_RUN:
        assert found.metrics[name] == pytest.approx(expected.metrics[name], rel=1e-4, abs=1e-5), (
            name
        )


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
