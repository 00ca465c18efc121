"""Which vLLM weight-transfer backend carries the weights."""

from __future__ import annotations

from typing import Literal

from azr.config import RunConfig
from azr.engine.environment import num_gpus, resolve_device
from azr.errors import ConfigError

type WeightBackend = Literal["gloo", "nccl", "ipc"]


def backend_of_run(config: RunConfig) -> WeightBackend:
    """The backend on this machine; replica and learner both ask here.

    They share a GPU exactly where there is only one.
    """
    cuda = resolve_device(config) == "cuda"
    return weight_backend(config, cuda=cuda, shared_device=cuda and num_gpus() == 1)


def weight_backend(config: RunConfig, *, cuda: bool, shared_device: bool) -> WeightBackend:
    """The configured backend, or the fitting one for `auto`.

    Args:
        config: the run's settings.
        cuda: whether replicas run on GPUs.
        shared_device: whether the learner and the replica use the same GPU.

    Raises:
        ConfigError: the configured backend cannot work there.
    """
    chosen = config.engine.weight_backend
    if chosen == "auto":
        if not cuda:
            return "gloo"
        return "ipc" if shared_device else "nccl"
    if cuda == (chosen == "gloo"):
        device = "CUDA" if cuda else "CPU"
        raise ConfigError(
            f"engine.weight_backend = {chosen!r} cannot serve {device} replicas",
            hint=f"Set engine.weight_backend to auto{', nccl or ipc' if cuda else ' or gloo'}.",
        )
    if chosen == "nccl" and shared_device:
        raise ConfigError(
            "engine.weight_backend = 'nccl' needs a GPU for the learner alone",
            hint="Use 'ipc' (or 'auto') when learner and replica share a GPU.",
        )
    return chosen
