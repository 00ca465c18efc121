"""The short crash test. The long one is `azr db crash-test`."""

import subprocess
import sys
from pathlib import Path

import pytest

from azr.errors import StoreError
from azr.store.crash.laws import broken
from azr.store.crash.world import run
from azr.store.engine import Needs, open_database
from tests.store.store_play import Player

KILLS = 8
SEED = 1
TIMEOUT_SECONDS = 400
"""Six processes that play, on a machine that may have one core to spare, and that busy."""


@pytest.mark.timeout(TIMEOUT_SECONDS + 30)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_kills_lose_no_row_and_train_none_twice(database: str) -> None:
    done = subprocess.run(  # it forks, so it must have no threads
        [sys.executable, "-m", "azr.store.crash.world", database, str(KILLS), str(SEED)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "every law held" in done.stdout


def test_a_database_with_a_run_is_not_spoilt(url: str) -> None:
    with pytest.raises(StoreError, match="would spoil"):
        run(url, kills=1, seed_number=0)


async def test_the_laws_hold_for_an_unharmed_run(player: Player, url: str, tmp_path: Path) -> None:
    await player.step(version=0)
    assert broken(url, tmp_path) == []


async def test_what_is_lost_or_doubled_breaks_a_law(
    player: Player, url: str, tmp_path: Path
) -> None:
    await player.step(version=0)
    harm = {
        "a rollout has its tokens": "delete from rollout_payload where rollout_id = 1",
        "a surviving batch": "update batch_row set live = false where position = 0",
        "counts its attempts": "update task set num_attempts = 99 where task_id = 1",
        "staleness is negative": "update batch_row set staleness = -1 where position = 1",
        "counts as of -7, not 0": "update rollout set staleness_version = -7 where rollout_id = 2",
        "its last surviving step": "update runs set learner_version = 5",
        "surviving versions are whole": "update learner_step set version = 7",
        "without a gap": "update admission set slot = 99 where admission_id = 1",
    }
    session = open_database(url).session()
    with session.transaction(Needs(traceable=False)) as connection:
        for statement in harm.values():
            connection.exec_driver_sql(statement)
    session.close()
    (tmp_path / "sampler.journal").write_text("put 98765 4321\n")
    found = "\n".join(broken(url, tmp_path))
    for law in (*harm, "an acknowledged put is lost: (98765, 4321)"):
        assert law in found
