"""Several raylets on this machine, as if they were machines: a Ray cluster for tests."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

QUICK_DEATHS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}
"""A raylet that is gone is noticed within seconds instead of a quarter of a minute."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True)
class Raylets:
    """A running cluster."""

    cluster: Cluster
    environment: Mapping[str, str]
    """For whoever joins it."""

    @property
    def address(self) -> str:
        return self.cluster.address


@contextmanager
def raylets(count: int) -> Generator[Raylets]:
    """Start `count` raylets of two CPUs each; they end with the block."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ.update(QUICK_DEATHS | QUIET)
    try:
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "include_dashboard": False,
                "object_store_memory": 80 << 20,
            },
        )
        try:
            for _ in range(count - 1):
                cluster.add_node(num_cpus=2, object_store_memory=80 << 20)
            yield Raylets(cluster, QUICK_DEATHS | QUIET)
        finally:
            cluster.shutdown()
    finally:
        os.environ.clear()
        os.environ.update(before)
