"""What the tests see of a jail from outside."""

from __future__ import annotations

from pathlib import Path

from azr.sandbox.guest.zygote import HOST_FD


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(member for child in children for member in family(int(child)))]


def has_job(jail: int) -> bool:
    """Whether the child of a jail runs a job: one that waits still has the host's socket."""
    try:
        _, _, child = family(jail)
        open_files = {file.name for file in Path(f"/proc/{child}/fd").iterdir()}
    except (ValueError, OSError):
        return False
    return bool(open_files) and str(HOST_FD) not in open_files


def proc(pid: int, name: str) -> list[str]:
    """The lines of a file in /proc/PID."""
    return Path(f"/proc/{pid}/{name}").read_text().splitlines()


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status by field."""
    fields = (line.partition(":") for line in proc(pid, "status"))
    return {name: value.strip() for name, _, value in fields}


def alive(pid: int) -> bool:
    """Whether a process runs; one that only awaits its reaping does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
