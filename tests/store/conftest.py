import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from azr.store import SqlStore
from tests.store.store_play import Clock, Player, config


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has just begun; tests copy it instead of migrating again."""
    path = tmp_path_factory.mktemp("store") / "azr.sqlite"

    async def begin() -> None:
        async with SqlStore.open(f"sqlite:///{path}", run=config(), clock=Clock()):
            pass

    asyncio.run(begin())
    return path


@pytest.fixture
def path(migrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated, tmp_path / "azr.sqlite"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def player(path: Path, clock: Clock) -> AsyncIterator[Player]:
    """A seeded run with batches of two."""
    async with SqlStore.open(f"sqlite:///{path}", run=config(), clock=clock) as store:
        player = Player(store)
        await player.seed()
        yield player
