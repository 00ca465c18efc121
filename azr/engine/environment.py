"""Environment variables that vLLM and libgomp read once, at import.

They must be in a node's environment before its first `import torch`: the node
runtime passes `engine_environment` to Ray as `runtime_env`, and a replica checks
with `require_environment` before it starts vLLM.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Literal

from azr.config import RunConfig
from azr.errors import EngineError

type Device = Literal["cpu", "cuda"]

_EVERYWHERE = {
    "VLLM_PLUGINS": "azr",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore::FutureWarning",
}
"""Kept as they are if the user has set them."""
_CPU = {
    # More threads would spin against the learner and the jails on a small machine:
    # generation next to training fell from 2900 to 1300 tokens a second.
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # vLLM compiles one log-prob kernel even in eager mode; without this the first
    # request waits seconds for a C++ compiler that the machine may not have.
    "TORCHDYNAMO_DISABLE": "1",
    # The worker runs in the node's own process (`azr.engine.thread_engine`).
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
_IPC = {
    # Memory handles travel pickled, from the learner's process to vLLM's on one machine.
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
}
_READ_AT_IMPORT = {"OMP_NUM_THREADS": "torch", "TORCHDYNAMO_DISABLE": "torch._dynamo"}
"""Variables that cannot be changed once the named module has been imported."""
_MUST_BE_UNSET = ("VLLM_CPU_KVCACHE_SPACE",)
"""Whole gibibytes; it would silently override `engine.kv_cache_mib`."""


def resolve_device(config: RunConfig) -> Device:
    """The device of the replicas: as configured, else what is installed and present.

    Decided without importing torch, because the answer picks the environment
    that torch is imported under.
    """
    if config.engine.device != "auto":
        return config.engine.device
    return "cuda" if num_gpus() and not has_cpu_build() else "cpu"


def num_gpus() -> int:
    """NVIDIA GPUs that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def engine_environment(config: RunConfig) -> dict[str, str]:
    """Variables for every process that opens a replica, before it imports torch."""
    on_cpu = resolve_device(config) == "cpu"
    may_use_ipc = not on_cpu and config.engine.weight_backend in ("auto", "ipc")
    wanted = _EVERYWHERE | (_CPU if on_cpu else {}) | (_IPC if may_use_ipc else {})
    quiet = {name: os.environ.get(name, value) for name, value in _QUIET.items()}
    return wanted | quiet | dict.fromkeys(_MUST_BE_UNSET, "")


def require_environment(config: RunConfig) -> None:
    """Set what is missing, if that still has an effect.

    Raises:
        EngineError: a variable differs and the module that reads it is imported.
    """
    for name, value in engine_environment(config).items():
        if os.environ.get(name, "") == value:
            continue
        reader = _READ_AT_IMPORT.get(name)
        if reader is not None and reader in sys.modules:
            raise EngineError(
                f"{name} must be {value!r} before {reader} is imported,"
                f" but it is {os.environ.get(name)!r}",
                hint="Start the process with azr.engine.environment.engine_environment(config).",
            )
        os.environ[name] = value
    for name in _MUST_BE_UNSET:
        os.environ.pop(name, None)


def has_cpu_build() -> bool:
    """Whether the vLLM that is installed knows CPUs only."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
