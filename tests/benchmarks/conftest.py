from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from azr.benchmarks.grading import Graders
from azr.benchmarks.jails import SolutionJail
from azr.benchmarks.questions import Kind
from azr.config import SandboxSection


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data() -> Path:
    """Twenty rows of seven sets; a few rows of our own, in their formats, of the others."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="module")
async def graders() -> AsyncIterator[Graders]:
    async with Graders.open(set(Kind), SandboxSection(workers=1), kept=None) as opened:
        yield opened


@pytest.fixture(scope="module")
async def jail() -> AsyncIterator[SolutionJail]:
    """With little time for each call: most tests of it are of solutions that use all of it."""
    async with SolutionJail.open(SandboxSection(workers=1), cpu_seconds=1) as opened:
        yield opened
