"""The peak memory of a real learner process, beside what `azr plan` estimates of it."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from azr import tiny
from azr.config import PromptSection, RunConfig
from azr.errors import ModelError
from azr.planning.learner import learner_memory
from azr.planning.parts import MIB
from azr.planning.shapes import Shape, shape_of
from azr.task_types import MAIN_CELLS
from azr.types import Batch, Trajectory

type Dtype = Literal["float32", "bfloat16"]

STEPS = 2
"""The second has the moments from its beginning."""
ROWS_PER_CELL = 2
KIB = 1024
HUNDRED = Shape(
    name="100m",
    layers=12,
    hidden=768,
    intermediate=2048,
    heads=12,
    kv_heads=4,
    head_size=64,
    vocabulary=32_000,
    max_length_tokens=2048,
    tied=True,
    biased_attention=True,
)
"""A Qwen2 of 100 million parameters, randomly initialised."""
MICRO_BATCH_TOKENS = {"tiny": 4096, "100m": 96}
"""The tiny preset's, and what two cores train on within some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One learner, estimated and measured."""

    model: str
    dtype: Dtype
    lora_rank: int
    estimate_bytes: float
    peak_bytes: float

    @property
    def ratio(self) -> float:
        """Above 1 where the estimate is too high."""
        return self.estimate_bytes / self.peak_bytes


def shape_named(name: str) -> Shape:
    """`tiny` or `100m`. Raises ModelError for another name."""
    if name == HUNDRED.name:
        return HUNDRED
    if name != "tiny":
        raise ModelError(f"there is no model {name!r} to measure", hint="Known: tiny, 100m.")
    settings = json.loads((tiny.model_path() / "config.json").read_text(encoding="utf-8"))
    return shape_of(name, settings)


async def measure(name: str, dtype: Dtype, *, lora_rank: int = 0) -> Measured:
    """Train two steps in a learner process and ask the kernel for its peak."""
    from azr.learner.link import LearnerProcess  # noqa: PLC0415

    shape = shape_named(name)
    config = _config(name, dtype, lora_rank)
    estimate = learner_memory(
        shape, config.learner, prompts=config.prompts, engine=config.engine, on_gpu=False
    )
    async with (
        _folder(shape) as (model, scratch),
        LearnerProcess.open(model, config, scratch) as learner,
    ):
        for version in range(STEPS):
            batch = _batch(version, shape.vocabulary, config.learner.micro_batch_tokens)
            advantages = [(-1.0) ** index for index in range(len(batch.trajectories))]
            await learner.train(batch, advantages)
        peak = _peak_bytes(learner.pid)
    return Measured(
        model=name,
        dtype=dtype,
        lora_rank=lora_rank,
        estimate_bytes=estimate.total_bytes,
        peak_bytes=peak,
    )


def _config(name: str, dtype: Dtype, lora_rank: int) -> RunConfig:
    learner = {
        "dtype": dtype,
        "lora_rank": lora_rank,
        "micro_batch_tokens": MICRO_BATCH_TOKENS[name],
        "optimizer": "adamw",
        "step_timeout_seconds": 3600,
    }
    prompts = PromptSection(max_prompt_tokens=1, max_response_tokens=1)
    return RunConfig.model_validate(
        {"learner": learner, "prompts": prompts, "engine": {"device": "cpu", "dtype": dtype}}
    )


@asynccontextmanager
async def _folder(shape: Shape) -> AsyncGenerator[tuple[Path, Path]]:
    """The model, and a place for the learner's log."""
    with tempfile.TemporaryDirectory(prefix="azr-memory-") as scratch:
        place = Path(scratch)
        if shape.name == "tiny":
            yield tiny.model_path(), place
            return
        from azr.tiny.toys import write_random  # noqa: PLC0415 -- imports torch

        write_random(shape, place / "model")
        yield place / "model", place


def _batch(version: int, vocabulary: int, micro_batch_tokens: int) -> Batch:
    """Rows that fill exactly two micro-batches."""
    rng = random.Random(version)  # noqa: S311
    inputs = micro_batch_tokens * 2 // (ROWS_PER_CELL * len(MAIN_CELLS))
    prompt = inputs // 2
    response = inputs + 1 - prompt
    rows = [
        Trajectory(
            rollout_id=index,
            cell=MAIN_CELLS[index // ROWS_PER_CELL],
            prompt_token_ids=tuple(rng.choices(range(vocabulary), k=prompt)),
            token_ids=tuple(rng.choices(range(vocabulary), k=response)),
            behaviour_logprobs=(-5.0,) * response,
            reward=1.0,
            staleness=0,
            group=index,
        )
        for index in range(ROWS_PER_CELL * len(MAIN_CELLS))
    ]
    return Batch(batch_id=version + 1, version=version, trajectories=tuple(rows))


def _peak_bytes(pid: int) -> float:
    """The largest resident size that a process has had, mapped files included."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return float(line.split()[1]) * KIB


HEAD = f"{'model':<8}{'dtype':<12}{'LoRA rank':>10}{'estimate':>14}{'measured':>14}{'ratio':>8}"


def line(row: Measured) -> str:
    """An estimate beside its measurement."""
    return (
        f"{row.model:<8}{row.dtype:<12}{row.lora_rank or '-':>10}"
        f"{row.estimate_bytes / MIB:>10.0f} MiB{row.peak_bytes / MIB:>10.0f} MiB{row.ratio:>8.2f}"
    )
