"""Processor time of a process and all that it started, sampled from /proc.

A process that ends adds its time to the one that waits for it, so the sum over the
living, own and inherited, is what the tree has used; only what is never waited for is
lost. Off Linux there is no figure.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_PARENT, _TIMES = 1, slice(11, 15)
"""Fields of /proc/PID/stat after the name, which may hold spaces: the parent; user and
system ticks, own and of children waited for."""


SAMPLE_SECONDS = 5.0


@dataclass(eq=False)
class CpuTime:
    """The largest figure seen of a tree, which may lose processes as it ends."""

    root: int
    """The first process's id."""
    seconds: float | None = None
    """None where there is none."""
    _next_sample: float = field(default=0.0, init=False)

    def sample(self) -> None:
        """Look, unless the last look was a moment ago."""
        if time.monotonic() < self._next_sample:
            return
        self._next_sample = time.monotonic() + SAMPLE_SECONDS
        found = tree_cpu_seconds(self.root)
        if found is not None:
            self.seconds = max(self.seconds or 0.0, found)


def tree_cpu_seconds(root: int) -> float | None:
    """User and system seconds of `root` and its descendants, the ended ones included."""
    if not _PROC.is_dir():
        return None
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            fields = _stat(folder)
            if fields:
                pid = int(folder.name)
                parents[pid] = int(fields[_PARENT])
                ticks[pid] = sum(map(int, fields[_TIMES]))
    family = [pid for pid in ticks if _descends(pid, root, parents)]
    return sum(ticks[pid] for pid in family) / os.sysconf("SC_CLK_TCK")


def _stat(folder: Path) -> list[str]:
    """The fields after the name; empty if the process is gone."""
    try:
        return (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid > 1 and pid != root:
        pid = parents.get(pid, 0)
    return pid == root
