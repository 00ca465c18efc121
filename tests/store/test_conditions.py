"""Hard conditions: each works, or gives a clear error and loses nothing."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from anyio.to_thread import run_sync

from azr.errors import StoreError
from azr.store import SqlStore, file_system
from azr.store.engine import Needs
from azr.store.history import open_history
from azr.store.locate import Located
from azr.store.models import RolloutPayloadRow, RolloutRow
from azr.store.queries import steps
from tests.sandbox.ordinary_user import environment, home_folder, identity
from tests.store.store_play import Clock, Player, assert_accounted, completion, config, one, select

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/me/local\\040disk rw - xfs /dev/vdb rw
32 22 0:42 / /remote rw - fuse.sshfs me@server: rw
33 22 0:43 / /unknown rw - fuse.somefs somefs rw
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(file_system, "MOUNTS", tmp_path / "mountinfo")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/azr.sqlite", "ext4"),
        ("/home/me/azr.sqlite", "nfs4"),
        ("/home/me/local disk/azr.sqlite", "xfs"),
        ("/homes/azr.sqlite", "ext4"),
    ],
)
@pytest.mark.usefixtures("mounts")
def test_the_deepest_mount_says_what_file_system_it_is(path: str, kind: str) -> None:
    assert file_system.kind_of(Path(path)) == kind


@pytest.mark.parametrize("folder", ["/home/me", "/remote"])
@pytest.mark.usefixtures("mounts")
async def test_a_file_on_a_network_file_system_is_refused(folder: str) -> None:
    with pytest.raises(StoreError, match="network file system") as caught:
        async with SqlStore.open(f"sqlite:///{folder}/azr.sqlite", run=config()):
            raise AssertionError("opened")
    assert "postgresql://" in caught.value.hint


@pytest.mark.usefixtures("mounts")
def test_a_file_system_of_an_unknown_kind_is_doubted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        file_system.check_local(Path("/unknown/azr.sqlite"))
    assert "may be on a network file system" in caplog.text


OPEN = """
import asyncio
import sys
from azr.config import RunConfig
from azr.errors import AzrError
from azr.store import SqlStore
from azr.store.history import open_history
from azr.store.queries import pipeline_summary

async def write(url):
    async with SqlStore.open(url, run=RunConfig()):
        print("written")

url = sys.argv[1]
with open_history(url) as history:
    print("read", pipeline_summary(history).learner_version)
try:
    asyncio.run(write(url))
except AzrError as error:
    print(type(error).__name__, error, error.hint)
"""


@pytest.mark.parametrize("sealed_folder", [False, True])
def test_a_file_that_cannot_be_written_is_read_and_refused(
    path: Path, *, sealed_folder: bool
) -> None:
    is_root = os.geteuid() == 0
    with home_folder() if is_root else own_folder(path.parent) as home:
        file = Path(shutil.copy(path, home / "old.sqlite"))
        file.chmod(0o444)
        if sealed_folder:
            home.chmod(0o555)
        done = subprocess.run(
            [*(identity() if is_root else []), sys.executable, "-c", OPEN, f"sqlite:///{file}"],
            env=environment(home) if is_root else None,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
        home.chmod(0o755)
        read, refused = done.stdout.splitlines()
        assert read == "read 0", done.stderr
        assert refused.startswith("RunDirectoryError")
        assert "cannot be written" in refused
        assert file.read_bytes() == path.read_bytes()


@contextmanager
def own_folder(parent: Path) -> Generator[Path]:
    """A folder for who is an ordinary user already."""
    folder = parent / "home"
    folder.mkdir()
    yield folder


async def test_a_full_disk_of_the_server_loses_the_row_but_not_the_store(postgres: str) -> None:
    """The server's own error, raised by a statement, since no test can fill its disk."""
    full = "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
    async with SqlStore.open(postgres, run=config()) as store:
        [admission] = await Player(store).admit()
        with pytest.raises(StoreError, match="disk is full") as caught:
            store._writer.submit(lambda c: c.exec_driver_sql(full).close(), Needs()).result(10)
        assert "Free some space" in caught.value.hint
        await store.put_rollout(admission, completion())
    assert one(postgres, "select count(*) from rollout") == 1


async def test_two_readers_see_whole_moments_while_a_run_plays(player: Player, url: str) -> None:
    seen: list[set[int]] = [set(), set()]
    done = anyio.Event()

    def look(into: set[int]) -> None:
        with open_history(url) as history:
            counts = [
                history.connection.execute(sa.select(sa.func.count()).select_from(row)).scalar_one()
                for row in (RolloutRow, RolloutPayloadRow, RolloutRow)
            ]
            assert len(set(counts)) == 1, "a read saw two moments"
            into.add(counts[0])

    async def read(into: set[int]) -> None:
        while not done.is_set() or len(into) < 2:
            await run_sync(look, into)

    async with anyio.create_task_group() as group:
        group.start_soon(read, seen[0])
        group.start_soon(read, seen[1])
        for version in range(2):
            await player.step(version=version)
        done.set()
    assert_accounted(url)


async def test_two_runs_of_one_database_know_nothing_of_each_other(url: str, clock: Clock) -> None:
    names = ("first", "second")
    stores = [config(store={"run_name": name}) for name in names]
    async with (
        SqlStore.open(url, run=stores[0], clock=clock) as first,
        SqlStore.open(url, run=stores[1], clock=clock) as second,
    ):
        players = [Player(first), Player(second)]
        for player in players:
            await player.seed()
        async with anyio.create_task_group() as both:
            both.start_soon(_two_steps, players[0])
            both.start_soon(_two_steps, players[1])
        assert await first.outstanding() == await second.outstanding()
        await players[0].step(version=2)
        await first.recover(0)
        assert (await first.learner_version(), await second.learner_version()) == (0, 2)
        [held] = await players[1].admit(version=2, owner="second's")
        await first.release("second's")
        assert await players[1].admit(version=2, limit=0) == []
        assert held.slot == 4
    for name, survived in zip(names, (0, 2), strict=True):
        with open_history(Located(url, run_name=name)) as history:
            assert len(steps(history)) == survived
    assert select(url, "select name from runs order by run_id") == [("",), ("first",), ("second",)]
    assert_accounted(url)


async def _two_steps(player: Player) -> None:
    for version in range(2):
        await player.step(version=version)
