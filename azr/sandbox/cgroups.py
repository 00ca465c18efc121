"""Limits of a jail as a whole: a cgroup for memory and processes, where one may be made.

A job has its own limits; these hold for everything a jail ever has, the kernel's
own memory on its behalf included. Whether this process may make groups is tried
once, in version 2 (delegated to it) and then in version 1 (as root): what is not
allowed is no error, and the jail does without. Groups carry the process id and
start time of their owner, so that those of an owner who was killed are recognised
and removed by the next.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HEADROOM_MIB = 256
"""For nsjail, process 1, and the pages of files that the jail read first."""
MAX_PROCESSES = 32
REMOVAL_SECONDS = 2.0
"""The kernel lets go of a killed process's group a little after its parent reaped it."""
_PROBE_SECONDS = 10.0
_NAME = re.compile(r"azr-(?P<pid>\d+)-(?P<started>\d+)-\w+")
_JOIN = """
count=$1; shift
while [ "$count" -gt 0 ]; do echo 0 > "$1"; shift; count=$((count - 1)); done
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Group:
    """One jail's limits: one folder in version 2, one for each controller in version 1."""

    folders: tuple[Path, ...]

    def joining(self, command: list[str]) -> list[str]:
        """The command that enters the group and then becomes `command`."""
        files = [str(folder / "cgroup.procs") for folder in self.folders]
        return ["/bin/sh", "-c", _JOIN, "join", str(len(files)), *files, *command]

    def oom_kills(self) -> int:
        """How often the kernel has killed a process of this group for its memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    found = re.search(r"^oom_kill (\d+)$", (folder / name).read_text(), re.M)
                    if found:
                        return int(found[1])
        return 0

    def remove(self, patience_seconds: float = REMOVAL_SECONDS) -> None:
        """Remove the folders once they are empty; what is not by then is left. Blocking."""
        deadline = time.monotonic() + patience_seconds
        for folder in self.folders:
            while True:
                with contextlib.suppress(FileNotFoundError):
                    try:
                        folder.rmdir()
                    except OSError:
                        if time.monotonic() < deadline:
                            time.sleep(0.005)
                            continue
                break


@dataclass(eq=False)
class Cgroups:
    """Makes the groups of this process's jails."""

    version: int
    _bases: tuple[Path, ...]
    """Folders in which groups are made: the delegated one, or those of memory and pids."""
    _numbers: Iterator[int]

    @property
    def description(self) -> str:
        return f"cgroup v{self.version}"

    @classmethod
    def probe(cls) -> Cgroups | None:
        """What works here, found by doing it; None if nothing does. Blocking, milliseconds.

        Also removes the groups of owners that are gone.
        """
        for version, bases in _candidates():
            found = cls(version, bases, itertools.count())
            if found._works():
                found._remove_stale()
                return found
        return None

    def make(self, memory_mib: int) -> Group | None:
        """A new group for a jail whose jobs may take this much; None if it is refused."""
        name = f"azr-{os.getpid()}-{_started(os.getpid())}-{next(self._numbers)}"
        group = Group(tuple(base / name for base in self._bases))
        try:
            for folder in group.folders:
                folder.mkdir()
            _limit(group, (memory_mib + HEADROOM_MIB) << 20)
        except OSError:
            group.remove(0)
            return None
        return group

    def _works(self) -> bool:
        """Whether a process can be put into a group with limits."""
        group = self.make(memory_mib=256)
        if group is None:
            return False
        try:
            done = subprocess.run(  # noqa: S603 -- fixed arguments
                group.joining(["/bin/cat", "/proc/self/cgroup"]),
                capture_output=True,
                text=True,
                check=False,
                timeout=_PROBE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        finally:
            group.remove()
        names = [folder.name for folder in group.folders]
        return not done.returncode and all(name in done.stdout for name in names)

    def _remove_stale(self) -> None:
        for base in self._bases:
            for folder in base.glob("azr-*-*-*"):
                found = _NAME.fullmatch(folder.name)
                if found and _started(int(found["pid"])) != int(found["started"]):
                    Group((folder,)).remove(0)


def _limit(group: Group, num_bytes: int) -> None:
    """Write the limits; OSError if one that counts is refused. Swap is as memory, if at all."""
    written: set[str] = set()
    limits = {
        "memory.max": num_bytes,
        "memory.swap.max": 0,
        "memory.limit_in_bytes": num_bytes,
        "memory.memsw.limit_in_bytes": num_bytes,
        "pids.max": MAX_PROCESSES,
    }
    for folder in group.folders:
        for name, value in limits.items():
            if (folder / name).exists():
                (folder / name).write_text(str(value))
                written.add(name)
    if "pids.max" not in written or not written & {"memory.max", "memory.limit_in_bytes"}:
        raise OSError("no such controller")


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


# --- where ------------------------------------------------------------------------------------


def _candidates() -> Iterator[tuple[int, tuple[Path, ...]]]:
    """(version, folders) in which groups might be made, the best first."""
    mounts = _mounts(Path("/proc/self/mounts").read_text().splitlines())
    own = _own_paths(Path("/proc/self/cgroup").read_text().splitlines())
    if "" in mounts:
        for folder in _upwards(mounts[""], own.get("", "/")):
            if _delegates(folder):
                yield 2, (folder,)
    if {"memory", "pids"} <= mounts.keys():
        kinds = ("memory", "pids")
        yield 1, tuple(next(_upwards(mounts[kind], own.get(kind, "/"))) for kind in kinds)


def _mounts(lines: Iterable[str]) -> dict[str, Path]:
    """Mount point by controller of version 1; version 2 is the empty name."""
    found: dict[str, Path] = {}
    for line in lines:
        _, point, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found[""] = Path(point)
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(","), Path(point)))
    return found


def _own_paths(lines: Iterable[str]) -> dict[str, str]:
    """This process's path by controller."""
    found: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Our own folder and those above it, as far as this mount shows them; at least its top."""
    folder = mount / path.lstrip("/")
    while folder != mount:
        if folder.is_dir():
            yield folder
        folder = folder.parent
    yield mount


def _delegates(folder: Path) -> bool:
    """Whether groups in a folder of version 2 have both controllers, or can be given them."""
    needed = {"memory", "pids"}
    control = folder / "cgroup.subtree_control"
    try:
        if not needed <= set((folder / "cgroup.controllers").read_text().split()):
            return False
        if not needed <= set(control.read_text().split()):
            control.write_text("+memory +pids")  # refused where processes are in the folder itself
        return needed <= set(control.read_text().split())
    except OSError:
        return False
