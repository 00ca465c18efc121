"""The PostgreSQL server that a run brings along."""

import itertools
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from azr.errors import StoreError
from azr.store import SqlStore, postmaster
from azr.store.engine import open_database
from azr.store.managed_server import ManagedServer, managed_server
from tests.store.store_play import Player, config, one, select

DETACH = """
import sys
from pathlib import Path
from azr.store.managed_server import ManagedServer
ManagedServer(Path(sys.argv[1])).start(detached=True)
"""


NUMBERS = itertools.count(1000)
"""Programs of all steps, none of them a seed: a buffer takes each once."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where whoever runs PostgreSQL for root can reach it; not every path is a plain one."""
    root = Path(tempfile.mkdtemp(prefix="azr-managed-", dir="/tmp"))
    root.chmod(0o755)
    (root / "a run").mkdir()
    yield root / "a run" / "postgres"
    ManagedServer(root / "a run" / "postgres").stop()
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ManagedServer]:
    with managed_server(folder) as server:
        yield server


async def play(url: str) -> int:
    """One step more of the run; the version it made."""
    async with SqlStore.open(url, run=config()) as store:
        player = Player(store, NUMBERS)
        await player.seed()
        version = await store.learner_version()
        await player.step(version=version)
        return version + 1


async def test_a_run_goes_on_over_the_same_data(server: ManagedServer) -> None:
    url = server.url
    assert await play(url) == 1
    server.stop()
    assert not server.is_running
    server.start()
    assert server.url == url  # which the nodes know
    assert await play(url) == 2


async def test_a_crash_loses_no_commit(server: ManagedServer) -> None:
    version = await play(server.url)
    crash(server)
    server.start()
    assert one(server.url, "select learner_version from runs") == version


def crash(server: ManagedServer) -> None:
    server._postmaster.stop(signal.SIGKILL)


async def test_one_that_runs_is_joined_not_started_twice(
    server: ManagedServer, folder: Path
) -> None:
    with managed_server(folder) as same:
        assert same.url == server.url
    assert server.is_running  # whoever joined does not stop it
    assert select(server.url, "select 1") == [(1,)]


def test_its_url_holds_no_secret(server: ManagedServer, folder: Path) -> None:
    secret = (folder / "pgpass").read_text().strip().rpartition(":")[2]
    assert len(secret) > 20
    assert secret not in server.url
    assert secret not in open_database(server.url).name
    assert not (folder / "password").exists()
    assert stat.S_IMODE((folder / "pgpass").stat().st_mode) == 0o600


def test_it_wants_the_password(server: ManagedServer) -> None:
    bare = server.url.partition("?")[0] + "?passfile=/dev/null"
    with pytest.raises(psycopg.OperationalError, match="no password"):
        psycopg.connect(bare)


def test_commits_are_written_to_the_disk(server: ManagedServer) -> None:
    assert one(server.url, "show fsync") == "on"
    assert one(server.url, "show synchronous_commit") == "on"
    assert one(server.url, "show listen_addresses") == "127.0.0.1"


def test_a_detached_one_outlives_who_started_it(folder: Path) -> None:
    ManagedServer(folder).stop()
    subprocess.run([sys.executable, "-c", DETACH, str(folder)], check=True, timeout=100)
    found = ManagedServer(folder)
    assert found.is_running
    assert select(found.url, "select 1") == [(1,)]
    found.stop()
    assert not found.is_running


def test_where_postgresql_is_missing_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postmaster, "DEBIAN", tmp_path)
    with pytest.raises(StoreError, match="not installed") as caught:
        ManagedServer(tmp_path / "postgres").start()
    assert "apt-get install postgresql" in caught.value.hint
    assert not (tmp_path / "postgres" / "data").exists()
