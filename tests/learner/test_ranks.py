"""A learner of two ranks, for real: processes, gloo, DDP and FSDP2, on the processor.

Starting two processes is most of the time, so one pair serves all tests that leave it alive;
each loads what it needs into it.
"""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
import torch
import torch.distributed as dist
from anyio import to_thread
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed import TCPStore

from azr import packing
from azr.advantages import normalise
from azr.config import LearnerSection, RunConfig
from azr.engine import wire
from azr.errors import LearnerError, ModelError
from azr.learner import checkpoint, child, link, model, protocol
from azr.learner.link import LearnerProcess
from azr.learner.peers import Peers
from azr.learner.ranks import gpu_of
from azr.learner.sharding import is_part, shard
from azr.learner.step import Trainer
from azr.types import Batch, StepResult

type BatchAt = Callable[[int], Batch]

pytestmark = pytest.mark.timeout(300)  # a busy machine takes its time to start processes

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


@pytest.fixture(scope="module")
async def pair(
    model_path: Path, config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Pair]:
    async with two_ranks(model_path, config, tmp_path_factory.mktemp("pair")) as pair:
        yield pair


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


def same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def weights_and_moments(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    assert checkpoint.verify(folder)
    state = load_file(folder / checkpoint.STATE)
    # A process's random state is its own; there is no dropout that would read it.
    moments = {name: value for name, value in state.items() if not name.startswith("rng/")}
    return load_file(folder / "model.safetensors"), moments


@pytest.mark.parametrize("sharding", SPLITS)
async def test_two_ranks_take_the_steps_that_one_takes(
    pair: Pair, model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path, sharding
) -> None:
    config = split(config, sharding)
    one = alone(config, model_path)
    await pair.load(model_path, config)
    for version in range(2):
        same(await pair.train(batch_at(version)), here(one, batch_at(version)))
    expected = weights_and_moments(checkpoint.write(one, tmp_path, keep=2))
    for found, wanted in zip(weights_and_moments(await pair.checkpoint()), expected, strict=True):
        same_tensors(found, wanted)
    rows = [[1, 2, 3, 4], [5, 6]]
    scores = one.policy.sequence_logprobs(rows, budget_tokens=64)
    for row, wanted in zip(await pair.learner.logprobs(rows), scores, strict=True):
        assert row == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("reduce_gradients", ["last", "each"])
@pytest.mark.parametrize("num_rows", [1, 5])
@pytest.mark.parametrize("sharding", SPLITS)
async def test_ranks_may_have_unequal_work_or_none(
    pair: Pair,
    model_path: Path,
    config: RunConfig,
    batch_at: BatchAt,
    sharding,
    num_rows,
    reduce_gradients,
) -> None:
    # Micro-batches of a row each: five rows are three on one rank and two on the other.
    config = split(config, sharding, micro_batch_tokens=1, reduce_gradients=reduce_gradients)
    batch = batch_at(0)
    rows = [
        row if index < num_rows else replace(row, token_ids=(), behaviour_logprobs=())
        for index, row in enumerate(batch.trajectories)
    ]
    batch = replace(batch, trajectories=tuple(rows))
    await pair.load(model_path, config)
    found = await pair.train(batch)
    same(found, here(alone(config, model_path), batch))
    assert found.metrics["micro_batches"] == num_rows


async def test_a_checkpoint_resumes_on_two_ranks_on_one_and_with_another_split(
    pair: Pair, model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path
) -> None:
    adam = {"optimizer": "adamw", "learning_rate": 1e-4}
    parts, copies = split(config, "fsdp2", **adam), split(config, "ddp", **adam)
    one = alone(parts, model_path)
    expected = [here(one, batch_at(version)) for version in range(3)]

    await pair.load(model_path, parts)
    same(await pair.train(batch_at(0)), expected[0])
    resumed = alone(parts, await pair.checkpoint())
    assert here(resumed, batch_at(1)).loss == pytest.approx(expected[1].loss, rel=1e-3, abs=1e-4)
    second = checkpoint.write(resumed, tmp_path / "one", keep=2)

    await pair.load(second, copies)
    result = await pair.train(batch_at(2))
    assert (result.version, result.loss) == (3, pytest.approx(expected[2].loss, rel=1e-3, abs=1e-4))
    third = await pair.checkpoint()
    aside = third.rename(tmp_path / third.name)
    await pair.load(aside, parts)
    for found, wanted in zip(
        weights_and_moments(await pair.checkpoint()), weights_and_moments(aside), strict=True
    ):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("sharding", SPLITS)
async def test_all_ranks_refuse_what_one_of_them_cannot_learn_from(
    pair: Pair, model_path: Path, config: RunConfig, batch_at: BatchAt, sharding
) -> None:
    config, batch = split(config, sharding), batch_at(0)
    await pair.load(model_path, config)
    poisoned = [float("nan"), *advantages(batch)[1:]]  # the row of one rank only
    with pytest.raises(LearnerError, match="refused, weights are unchanged"):
        await pair.learner.train(batch, poisoned)
    same(await pair.train(batch), here(alone(config, model_path), batch))
    with pytest.raises(LearnerError, match="claimed at policy v0, but the learner is at v1"):
        await pair.learner.train(replace(batch, batch_id=1), poisoned)


async def test_gathered_weights_reach_a_replica_bit_for_bit(
    pair: Pair, model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    await pair.load(model_path, split(config, "fsdp2"))
    await pair.train(batch_at(0))
    address = await pair.learner.rendezvous_info()
    received: dict[str, Tensor] = {}

    def replica() -> None:
        store = TCPStore(str(address["host"]), int(address["port"]), is_master=False)
        group = wire.GlooGroup(
            store, host="127.0.0.1", rank=1, world_size=2, epoch=1, timeout_seconds=60
        )
        for named_tensors, _ in wire.receive(group):
            received.update(named_tensors)

    async with anyio.create_task_group() as both:
        both.start_soon(to_thread.run_sync, replica)
        await pair.learner.open_weight_group(2, 1)
        await pair.learner.send_weights(1, "float32")
    written, _ = weights_and_moments(await pair.checkpoint())
    assert received.keys() == written.keys()
    assert all(torch.equal(received[name], written[name]) for name in written)


async def test_a_model_that_cannot_be_loaded_leaves_the_ranks_in_step(
    pair: Pair, model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        await pair.load(tmp_path, split(config, "fsdp2"))
    await pair.load(model_path, split(config, "fsdp2"))
    assert (await pair.train(batch_at(0))).version == 1


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_rank_that_hangs_fails_the_step_in_time_and_all_ranks_end(
    pair: Pair, model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    """The last test of the pair, because it is its end."""
    await pair.load(model_path, split(config, "ddp"))
    pair.learner._config = split(config, "ddp", step_timeout_seconds=2.0)
    ranks = pair.learner._ranks.children
    os.kill(pair.learner.pids[1], signal.SIGSTOP)
    with pytest.raises(LearnerError, match=r"rank 1 of 2 did not answer Train within 2 s"):
        await pair.train(batch_at(0))
    pair.learner._config = split(config, "ddp")
    with pytest.raises(LearnerError, match=r"rank 1 of 2 ended \(exit code -9\)"):
        await pair.train(batch_at(0))
    assert not any(map(is_running, pair.learner.pids))
    assert [child.was_killed for child in ranks] == [False, True]


async def test_a_killed_rank_fails_the_step_and_leaves_no_process(
    model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path
) -> None:
    failures: list[str] = []

    async def step(pair: Pair) -> None:
        with pytest.raises(LearnerError) as caught:
            await pair.train(batch_at(0))
        failures.append(str(caught.value))

    async with two_ranks(model_path, config, tmp_path) as pair:
        pids = pair.learner.pids
        os.kill(pids[1], signal.SIGSTOP)  # the other rank comes to wait for this one
        async with anyio.create_task_group() as callers:
            callers.start_soon(step, pair)
            await anyio.wait_all_tasks_blocked()
            os.kill(pids[1], signal.SIGKILL)
        await step(pair)
    assert len(failures) == 2
    assert all("learner rank 1 of 2 ended (exit code -9)" in failure for failure in failures)
    assert not any(map(is_running, pids))
    assert (tmp_path / "logs" / "learner-rank-1.log").is_file()


@pytest.fixture
def one_rank_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of this process alone."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_rank_group")
@pytest.mark.parametrize("sharding", SPLITS)
def test_only_fsdp2_holds_parameters_in_parts(
    model_path: Path, config: RunConfig, batch_at: BatchAt, sharding
) -> None:
    config, batch = split(config, sharding), batch_at(0)
    trainer = checkpoint.load(model_path, config, Peers(0, 2))
    parameters = list(trainer.policy.model.parameters())
    assert {is_part(each) for each in parameters} == {sharding == "fsdp2"}
    if sharding == "fsdp2":  # the head's tied weight included: all is in parts between passes
        weights = packing.row_weights(batch, mean="token", propose_weight=1.0)
        (micro_batch, *_) = packing.micro_batches(
            batch, advantages(batch), weights, budget_tokens=64
        )
        trainer.backward(micro_batch)
        assert all(is_part(each) for each in trainer.policy.model.parameters())
        trainer.policy.sequence_logprobs([[1, 2]], budget_tokens=64)
        assert all(is_part(each) for each in trainer.policy.model.parameters())


@pytest.mark.usefixtures("one_rank_group")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_recomputed_in_a_backward_pass_is_gathered_for_it(
    model_path: Path, config: RunConfig, batch_at: BatchAt, monkeypatch: pytest.MonkeyPatch, dtype
) -> None:
    """Layers by `gradient_checkpointing`, and the head of a large vocabulary in chunks."""
    monkeypatch.setattr(model, "LOGITS_PER_CHUNK", 3 * 67)
    config = split(config, "fsdp2", gradient_checkpointing=True, dtype=dtype)
    host = torch.device("cpu")
    trainers = []
    for sharded in (False, True):
        policy = model.load(model_path, config.learner, host)
        if sharded:
            shard(policy, host)
        trainers.append(Trainer(policy=policy, config=config))
    for version in range(2):
        expected, found = (here(trainer, batch_at(version)) for trainer in trainers)
        same(found, expected)
        plain, parts = (
            each.policy.sequence_logprobs([[1, 2, 3]], budget_tokens=9) for each in trainers
        )
        assert parts[0] == pytest.approx(plain[0], abs=1e-5)


def running_scripts(folder: Path) -> list[int]:
    written = [file.read_text() for file in folder.glob("python.*")]
    return [int(pid) for pid in written if pid and is_running(int(pid))]


def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let ranks be this shell script; its sixth argument is the rank."""
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr(child, "EXIT_SECONDS", 0.5)


async def test_ranks_that_hang_are_an_error_in_time_and_are_ended(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(tmp_path, monkeypatch, "echo $$ > $0.$6; exec sleep 600")
    monkeypatch.setattr(link, "LOAD_SECONDS", 2.0)
    with pytest.raises(LearnerError, match=r"rank 0 of 2 and .*rank 1 of 2 did not answer Load"):
        async with two_ranks(tmp_path, config, tmp_path):
            raise AssertionError
    assert not running_scripts(tmp_path)


async def test_a_rank_that_cannot_start_ends_those_that_did(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = '[ "$6" = 1 ] && echo no GPU && exit 3; echo $$ > $0.$6; exec sleep 600'
    python(tmp_path, monkeypatch, script)
    with pytest.raises(LearnerError, match=r"rank 1 of 2 ended \(exit code 3\)(?s:.)*no GPU"):
        async with two_ranks(tmp_path, config, tmp_path):
            raise AssertionError
    assert not running_scripts(tmp_path)


@pytest.mark.parametrize(
    ("visible", "shown"), [(None, ["0", "1"]), ("3, 5,7", ["3", "5"]), ("", [None, None])]
)
def test_each_rank_is_shown_one_of_the_visible_gpus(visible: str | None, shown) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = [gpu_of(rank, 2, environment).get("CUDA_VISIBLE_DEVICES") for rank in range(2)]
    assert found == shown


def test_more_ranks_than_visible_gpus_are_refused() -> None:
    with pytest.raises(LearnerError, match=r"learner\.ranks = 2, but CUDA_VISIBLE_DEVICES is 6"):
        gpu_of(0, 2, {"CUDA_VISIBLE_DEVICES": "6"})


def test_several_ranks_need_to_know_what_each_holds() -> None:
    with pytest.raises(ValidationError, match=r"learner\.ranks = 2 needs learner\.sharding"):
        LearnerSection(ranks=2, sharding="none")
