"""CPU time of a node with everything it started: what a token costs, whatever else runs.

Wall time on a shared machine says more about the neighbours; CPU seconds hardly move.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_TIMES = slice(11, 15)
"""Of the fields after the name in /proc/PID/stat: user, system, and the same of reaped
children."""


def tree_cpu_seconds(process_id: int) -> float:
    """User and system time of a process, its descendants, and those it has reaped.

    A descendant that ends between two looks counts from when its parent reaps it.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    pending, total = [process_id], 0
    while pending:
        folder = _PROC / str(pending.pop())
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            children = [
                int(child)
                for thread in (folder / "task").iterdir()
                for child in (thread / "children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        total += sum(int(field) for field in fields[_TIMES])
        pending += children
    return total / ticks
