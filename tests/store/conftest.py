from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_play import Clock, Player, config  # ty: ignore[import-not-found]

from azr.store import SqlStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "azr.sqlite"


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
