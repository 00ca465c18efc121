"""The driver looks at a database that a node is still making."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.watch import RunWatch
from azr.config import RunConfig
from azr.progress import Progress, SilentView
from azr.store import SqlStore
from azr.store.sqlite import DRIVER


class Recorder(SilentView):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Progress] = []

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)


async def database_in(folder: Path, stage: str) -> Path:
    path = folder / "azr.sqlite"
    if stage == "no tables":
        path.touch()
    elif stage != "no file":
        async with SqlStore.open(f"sqlite:///{path}", run=RunConfig()):
            pass
    if stage == "no run":
        with DRIVER.connect(path) as connection:
            connection.execute("delete from event")
            connection.execute("delete from policy_version")
            connection.execute("delete from runs")
    return path


@pytest.mark.parametrize("stage", ["no file", "no tables", "no run"])
async def test_an_unfinished_database_shows_nothing_and_breaks_nothing(tmp_path: Path, stage: str):
    view = Recorder()
    watch = RunWatch(database=await database_in(tmp_path, stage), view=view)
    watch.begin()
    watch.refresh(now=True)
    assert view.shown == []
    assert watch.first_step == 0


async def test_a_begun_run_is_shown(tmp_path: Path):
    view = Recorder()
    watch = RunWatch(database=await database_in(tmp_path, "begun"), view=view)
    watch.begin()
    watch.refresh(now=True)
    assert [progress.step for progress in view.shown] == [0]
