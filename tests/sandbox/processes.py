"""What the tests see of a jail from outside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anyio

PATIENCE_SECONDS = 60.0


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(member for child in children for member in family(int(child)))]


def has_job(jail: int) -> bool:
    """Whether the last child of a jail runs a job: then it has a seccomp filter of its own."""
    members = family(jail)
    if len(members) < 2:
        return False
    try:
        filters = [int(status(pid)["Seccomp_filters"]) for pid in members[-2:]]
    except (OSError, KeyError):
        return False
    return 0 < filters[0] < filters[1]


def proc(pid: int, name: str) -> list[str]:
    """The lines of a file in /proc/PID."""
    return Path(f"/proc/{pid}/{name}").read_text().splitlines()


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status by field."""
    fields = (line.partition(":") for line in proc(pid, "status"))
    return {name: value.strip() for name, _, value in fields}


def namespace(pid: int, kind: str) -> str:
    """Which one a process is in."""
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def owner(pid: int) -> int:
    """The user to whom the kernel gives a process's files."""
    return Path(f"/proc/{pid}/fd").stat().st_uid


def open_files(pid: int) -> list[str]:
    """What each of a process's descriptors refers to."""
    return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only awaits its reaping does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pids: Iterable[int]) -> None:
    """Wait until none of the processes runs."""
    left = set(pids)
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:  # other processes send no event
            left = {pid for pid in left if alive(pid)}
            if not left:
                return
            await anyio.sleep(0.005)
