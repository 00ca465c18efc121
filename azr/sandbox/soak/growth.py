"""What this process and its descendants hold, seen from outside, and how that grows."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Holdings:
    """At one moment. Jobs come and go, so single numbers say little: compare medians."""

    host_descriptors: float
    host_memory_mib: float
    processes: float
    """Descendants: jails, their zygotes and the jobs in progress."""
    jails_memory_mib: float
    """Private memory of all descendants."""


def holdings() -> Holdings:
    """What is held now. Blocking, some milliseconds."""
    family = descendants(os.getpid())
    return Holdings(
        host_descriptors=len([*Path("/proc/self/fd").iterdir()]) - 1,
        host_memory_mib=_memory_mib(os.getpid()),
        processes=len(family),
        jails_memory_mib=sum(map(_memory_mib, family)),
    )


def typical(moments: Sequence[Holdings]) -> Holdings:
    """The median of each number."""
    return Holdings(
        host_descriptors=statistics.median(moment.host_descriptors for moment in moments),
        host_memory_mib=statistics.median(moment.host_memory_mib for moment in moments),
        processes=statistics.median(moment.processes for moment in moments),
        jails_memory_mib=statistics.median(moment.jails_memory_mib for moment in moments),
    )


def descendants(pid: int) -> list[int]:
    """Every process below `pid` at this moment; those that vanish meanwhile are left out."""
    found: list[int] = []
    pending = [pid]
    while pending:
        children = _children(pending.pop())
        found += children
        pending += children
    return found


def _children(pid: int) -> list[int]:
    """Of all its threads; a thread that ends meanwhile takes only its own along."""
    found: list[int] = []
    with suppress(OSError):
        for task in [*Path(f"/proc/{pid}/task").iterdir()]:
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _memory_mib(pid: int) -> float:
    """Resident memory that is shared with no file and no other mapping, in MiB."""
    try:
        resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    except OSError:
        return 0.0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE") / MIB
