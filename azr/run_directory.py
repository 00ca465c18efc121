"""The layout of a run directory, and the right to use one.

config.toml     the resolved config
azr.sqlite      every rollout, task, step and metric (unless store.url says otherwise)
checkpoints/    the newest steps: weights in Hugging Face format, optimizer, manifest
borrowed/       links to a checkpoint that a replica is reading, while it starts
metrics.jsonl   one line per learner step
logs/           one file per process
report/         index.html, report.md and the plots
postgres/       the data of the run's own server, if several nodes were given no database
cluster.json    where the run plays, for `azr attach`, `azr stop` and `azr scale`
fleet.json      who should do what, for a fleet that starts again
lock            held by the driver while it runs
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azr.errors import AzrError, RunDirectoryError

MIB = 1 << 20
RUNS_FOLDER = Path("runs")
"""Where runs are put, and looked for, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where the parts of one run lie."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def database(self) -> Path:
        return self.root / "azr.sqlite"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def borrowed(self) -> Path:
        return self.root / "borrowed"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def cluster(self) -> Path:
        return self.root / "cluster.json"

    @property
    def fleet(self) -> Path:
        return self.root / "fleet.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def holds_run(self) -> bool:
        """Whether a run was started here: its resolved config is written first."""
        return _is_seen(self.config)

    def existing(self) -> RunDirectory:
        """This directory; RunDirectoryError if it holds no run."""
        if not self.holds_run():
            raise RunDirectoryError(
                f"{self.root} holds no run: there is no {self.config.name} in it",
                hint="Give the directory that `azr run` printed when it started.",
            )
        return self


def check_usable(directory: RunDirectory, *, resume: bool, needed_mib: int) -> None:
    """Refuse a directory that cannot take this run; creates nothing.

    Raises:
        RunDirectoryError: not a run (resume), already a run (no resume), not
            writable, or less than `needed_mib` free.
    """
    root = directory.root
    if resume:
        directory.existing()
    elif directory.holds_run():
        raise RunDirectoryError(
            f"{root} already holds a run",
            hint=f"Continue it with `azr run --resume {root}`, or choose another --run-dir.",
        )
    existing = _nearest_existing(root)
    if not existing.is_dir():
        raise RunDirectoryError(f"{existing} is a file, not a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RunDirectoryError(
            f"{root} cannot be written: no permission in {existing}",
            hint="Choose another --run-dir, or change the permissions of that directory.",
        )
    _check_free_space(existing, root, needed_mib)


def _check_free_space(existing: Path, root: Path, needed_mib: int) -> None:
    free_mib = shutil.disk_usage(existing).free // MIB
    if free_mib < needed_mib:
        raise RunDirectoryError(
            f"{root} needs about {needed_mib:,} MiB, and {free_mib:,} MiB are free there",
            hint=f"Free {needed_mib - free_mib:,} MiB, or choose another --run-dir.",
        )


def _nearest_existing(path: Path) -> Path:
    """The path itself, or the closest ancestor that can be seen."""
    return next(folder for folder in (path, *path.absolute().parents) if _is_seen(folder))


def _is_seen(path: Path) -> bool:
    """Whether the path exists; False where permissions hide the answer."""
    try:
        path.stat()
    except OSError:
        return False
    return True


@contextmanager
def locked(directory: RunDirectory) -> Generator[RunDirectory]:
    """Create the directory and hold it: a second run in it is refused.

    The lock belongs to the process and goes with it, kill -9 included.
    """
    try:
        directory.logs.mkdir(parents=True, exist_ok=True)
        handle = directory.lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(f"{directory.root} cannot be written: {error.strerror}") from error
    with handle:
        _take(handle.fileno(), directory)
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield directory


@contextmanager
def told_if_removed(directory: RunDirectory) -> Generator[None]:
    """Around a run that has begun: what fails because somebody removed its directory, or the
    folder in which a relative path begins, is told as that."""
    try:
        yield
    except (OSError, AzrError, ExceptionGroup) as error:
        if directory.holds_run():
            raise
        raise RunDirectoryError(
            f"{directory.root} was removed while its run was on",
            hint="Its checkpoints are gone with it; `azr run` begins another run.",
        ) from error


def is_in_use(directory: RunDirectory) -> bool:
    """Whether a driver on this machine plays the run now."""
    try:
        with directory.lock.open(encoding="utf-8") as handle:
            fcntl.flock(handle.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _take(file_number: int, directory: RunDirectory) -> None:
    try:
        fcntl.flock(file_number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = directory.lock.read_text(encoding="utf-8").strip() or "unknown"
        raise RunDirectoryError(
            f"{directory.root} is in use by another run (process {holder})",
            hint="Wait for it, stop it with Ctrl-C, or choose another --run-dir.",
        ) from error
