"""FSDP2: every rank keeps a part of each parameter, its gradient and its moments.

A sharded parameter is a DTensor cut along its first dimension. Whole tensors exist around
the call of one layer, and one at a time when they are gathered for a checkpoint or for the
replicas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import Parameter

from azr.learner.model import Policy
from azr.learner.peers import Peers

type NamedTensors = Iterable[tuple[str, Tensor]]


def shard(policy: Policy, device: torch.device) -> None:
    """Keep this rank's part of every parameter, on `device`. The policy is whole, on the host.

    Layers are gathered one by one, so a device never holds the whole model.
    """
    from torch.distributed.device_mesh import DeviceMesh  # noqa: PLC0415 -- seconds
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415

    # Of the ranks' one group: a mesh with a group of its own would have to wait for all.
    world: Any = dist.group.WORLD
    mesh = DeviceMesh.from_group(world, device.type)
    kinds = set(policy.model._no_split_modules or ())
    layers = [each for each in policy.model.modules() if type(each).__name__ in kinds]
    # The root too goes back to parts after a forward pass: without a backward pass (canary
    # log-probs) its gathered weights would outlive the next optimizer step.
    for module in (*layers, policy.scorer):
        part = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        # The loss's weights already average over the whole batch; and gloo can only add.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    policy.device = device
    policy.sharded = True


def reduce_gradients_next(policy: Policy, *, now: bool) -> None:
    """Say whether the next backward pass adds up the gradients of all ranks."""
    scorer: Any = policy.scorer  # FSDP changed its class
    scorer.set_requires_gradient_sync(now)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor (every rank must ask for it), or the tensor itself."""
    sharded: Any = tensor
    return sharded.full_tensor() if is_part(tensor) else tensor


def is_part(tensor: Tensor) -> bool:
    """True for a DTensor, without importing that module where nothing is sharded."""
    return hasattr(tensor, "full_tensor")


def part_like(value: Tensor, parameter: Parameter) -> Tensor:
    """This rank's part of a whole tensor, cut like its parameter; scalars stay whole."""
    if not is_part(parameter) or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415

    like: Any = parameter
    # Every rank has the whole value, so nothing needs to be sent. A copy, because a view
    # would keep the whole value alive.
    cut = distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
    return cut.clone()


def gathered(
    named: NamedTensors,
    peers: Peers,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Whole tensors on `device` of rank 0, as `dtype`; nothing on the other ranks.

    Every rank must call it with the same names in the same order. One tensor at a time is
    whole elsewhere.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in named:
        value = whole(tensor.detach() if dtype is None else tensor.detach().to(dtype))
        if peers.rank == 0:
            found[name] = value.to(device)
    return found


def weights(model: nn.Module, peers: Peers) -> dict[str, Tensor]:
    """A sharded model's state for a checkpoint: whole parameters, tied ones once, and buffers."""
    host = torch.device("cpu")
    found = gathered(model.named_parameters(), peers, device=host)
    kept = {name: value for name, value in model.state_dict().items() if not is_part(value)}
    return found | kept
