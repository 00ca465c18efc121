"""A learner of two ranks, for real: processes, gloo, DDP and FSDP2, on the processor.

Starting two processes is most of the time, so one pair serves all tests, of which the last
ends it; each loads what it needs into it.
"""

import os
import signal
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
import torch
from anyio import to_thread
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed import TCPStore

from azr.config import RunConfig
from azr.engine import wire
from azr.errors import LearnerError, ModelError
from azr.learner import checkpoint
from tests.learner.rank_pair import (
    SPLITS,
    BatchAt,
    Pair,
    advantages,
    alone,
    here,
    is_running,
    same,
    split,
    two_ranks,
)

pytestmark = pytest.mark.timeout(300)  # a busy machine takes its time to start processes


@pytest.fixture(scope="module")
async def pair(
    model_path: Path, config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Pair]:
    async with two_ranks(model_path, config, tmp_path_factory.mktemp("pair")) as pair:
        yield pair


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
