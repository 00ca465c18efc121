from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from azr.config import SandboxSection
from azr.sandbox import SandboxPool


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def limits() -> SandboxSection:
    """One jail of each hash seed, so that a job and the next share one; quick deadlines."""
    return SandboxSection(workers=1, wall_seconds=4.0, cpu_seconds=1, memory_mib=256)


@pytest.fixture(scope="module")
async def pool(limits: SandboxSection) -> AsyncIterator[SandboxPool]:
    async with SandboxPool.open(limits) as pool:
        yield pool
