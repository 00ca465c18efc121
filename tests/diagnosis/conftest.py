"""Databases of runs: one that is healthy, and one for each way to fail after it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from azr.store import SqlStore
from tests.diagnosis.story import ACTS, HEALTHY, STORY, Habits, Story

type RunThat = Callable[[str], Path]
WAYS = {"healthy": HEALTHY, **ACTS}
STEPS = 5
"""Of the beginning, and of what follows it."""


async def _play(path: Path, habits: Habits, *, version: int) -> None:
    async with SqlStore.open(f"sqlite:///{path}", run=STORY) as store:
        story = Story(store, version)
        if version == 0:
            await story.begin()
        for _ in range(version * 1000):
            next(story.numbers)
        await story.play(STEPS, habits)


@pytest.fixture(scope="session")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five healthy steps."""
    path = tmp_path_factory.mktemp("beginning") / "azr.sqlite"
    asyncio.run(_play(path, HEALTHY, version=0))
    return path


@pytest.fixture(scope="session")
def run_that(beginning: Path) -> RunThat:
    """A run of ten steps that begins healthily and goes on in one of the ways; read it only."""

    @cache
    def of(name: str) -> Path:
        path = Path(shutil.copy(beginning, beginning.with_name(f"{name}.sqlite")))
        asyncio.run(_play(path, WAYS[name], version=STEPS))
        return path

    return of
