"""What a rank holds of the model, seen in a process group of this process alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from azr import packing
from azr.config import RunConfig
from azr.learner import checkpoint, model
from azr.learner.peers import Peers
from azr.learner.sharding import is_part, shard
from azr.learner.step import Trainer
from tests.learner.rank_pair import SPLITS, BatchAt, advantages, here, same, split


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
