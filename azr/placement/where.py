"""On which machines a run is asked to play."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from azr.engine.environment import has_cpu_build, num_gpus
from azr.placement.plan import Machine

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What `--nodes` and `--ray-address` say."""

    nodes: int = 1
    ray_address: str = ""
    """Of a cluster; empty for a private Ray on this machine."""

    @property
    def is_cluster(self) -> bool:
        return bool(self.ray_address)


def this_machine() -> Machine:
    """The machine of this process, as a private Ray on it would report it."""
    return Machine(
        name=socket.gethostname(),
        address=LOOPBACK,
        cpus=os.cpu_count() or 1,
        gpus=0 if has_cpu_build() else num_gpus(),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    )
