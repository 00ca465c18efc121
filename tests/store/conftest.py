"""Every test that asks for `url` or `player` runs on SQLite and on PostgreSQL."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from azr.store import SqlStore
from azr.store.private_server import PrivateServer, private_server
from tests.store.store_play import Clock, Player, config

BEGUN = "begun"
"""The PostgreSQL database that tests copy."""
_numbers = itertools.count()


def begin(url: str) -> None:
    """Migrate a database and begin a run in it."""

    async def opened() -> None:
        async with SqlStore.open(url, run=config(), clock=Clock()):
            pass

    asyncio.run(opened())


@pytest.fixture(scope="session")
def server() -> Iterator[PrivateServer]:
    """A PostgreSQL server for the whole session."""
    with private_server() as server:
        begin(server.create(BEGUN))
        yield server


@pytest.fixture(scope="session")
def begun_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has just begun; tests copy it instead of migrating again."""
    path = tmp_path_factory.mktemp("store") / "azr.sqlite"
    begin(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def path(begun_file: Path, tmp_path: Path) -> Path:
    """An SQLite file with a run in it, for what concerns SQLite alone."""
    return Path(shutil.copy(begun_file, tmp_path / "azr.sqlite"))


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL database with a run in it."""
    yield from _database(request, template=BEGUN)


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest) -> str:
    """A database with a run in it that has just begun."""
    if backend == "postgresql":
        return request.getfixturevalue("postgres")
    return f"sqlite:///{request.getfixturevalue('path')}"


@pytest.fixture
def empty_postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _database(request, template="template1")


@pytest.fixture
def empty_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database with nothing in it, or a file that is still to be made."""
    if backend == "postgresql":
        return request.getfixturevalue("empty_postgres")
    return f"sqlite:///{tmp_path / 'new.sqlite'}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def player(url: str, clock: Clock) -> AsyncIterator[Player]:
    """A seeded run with batches of two."""
    async with SqlStore.open(url, run=config(), clock=clock) as store:
        player = Player(store)
        await player.seed()
        yield player


def _database(request: pytest.FixtureRequest, *, template: str) -> Iterator[str]:
    server: PrivateServer = request.getfixturevalue("server")
    name = f"test_{next(_numbers)}"
    yield server.create(name, template=template)
    server.drop(name)
