import subprocess
import sys
from pathlib import Path

import pytest

from azr.errors import AzrError, RunDirectoryError, StoreError
from azr.store import SqlStore, sqlite
from azr.store.engine import Needs
from azr.store.history import open_history
from tests.store.store_play import Player, completion, config, one


async def refusal(url: str) -> AzrError:
    with pytest.raises(AzrError) as caught:
        async with SqlStore.open(url, run=config()):
            raise AssertionError("opened")
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert "\n" not in caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://nobody@/x?host=/nowhere", "the server cannot be reached"),
        ("mysql+pymysql://host/db", "mysql databases are not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("runs/x.sqlite", "not a database URL"),
    ],
)
async def test_what_cannot_be_a_store_is_refused(url: str, words: str) -> None:
    error = await refusal(url)
    assert isinstance(error, StoreError)
    assert words in str(error)


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    assert "not an SQLite database" in str(await refusal(f"sqlite:///{path}"))
    assert path.read_text() == "dear diary, " * 100


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    error = await refusal(f"sqlite:///{tmp_path / 'nowhere' / 'azr.sqlite'}")
    assert isinstance(error, RunDirectoryError)
    assert "nowhere" in str(error)


async def test_a_path_may_hold_characters_that_mean_something_in_urls(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1.sqlite"
    async with SqlStore.open(f"sqlite:///{path}", run=config()) as store:
        assert await store.learner_version() == 0
    assert path.is_file()


async def test_a_full_disk_loses_the_row_but_not_the_store(path: Path) -> None:
    url = f"sqlite:///{path}"
    pages = one(url, "PRAGMA page_count")
    async with SqlStore.open(url, run=config()) as store:

        def limit(num_pages: int) -> None:
            pragma = f"PRAGMA max_page_count = {num_pages}"
            job = store._writer.submit(lambda c: c.exec_driver_sql(pragma).close(), Needs())
            job.result(10)

        [admission] = await Player(store).admit()
        limit(pages)
        with pytest.raises(RunDirectoryError, match="disk is full") as caught:
            await store.put_rollout(admission, completion(num_tokens=50_000))
        assert caught.value.hint
        assert one(url, "select count(*) from rollout") == 0
        limit(1 << 30)
        await store.put_rollout(admission, completion(num_tokens=50_000))
        assert one(url, "select num_tokens from rollout") == 50_000


HOLDER = """
import sqlite3
import sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_database_that_another_process_holds_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0.05)
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        error = await refusal(f"sqlite:///{path}")
        holder.communicate("")
    assert "another process holds" in str(error)


def test_history_needs_a_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database"), open_history(tmp_path / "no.sqlite"):
        pass
    notes = tmp_path / "notes.txt"
    notes.write_text("dear diary, " * 100)
    with pytest.raises(StoreError, match="not an SQLite"), open_history(notes) as history:
        history.connection.exec_driver_sql("select * from rollout")
