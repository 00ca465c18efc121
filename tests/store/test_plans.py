"""A long run must not slow its queues: without statistics, SQLite plans by indices alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.event import listen, remove

from azr.membership import NodeState
from azr.store import SqlStore
from tests.store.store_play import Player, completion, config, select

type Statements = dict[str, tuple[object, ...]]

GROWING = r"(SCAN|SEARCH) (admission|rollout|task)\b.*"
SMALL = (
    r"INTEGER PRIMARY KEY \(rowid=\?\)",
    r"ix_(admission|rollout)_queue \(run_id=\? AND state=\?",
    r"COVERING INDEX",  # reads the index only: one entry, or a count
    r"autoindex_task_2 \(run_id=\? AND task_type=\? AND ordinal=\?\)",
    r"ix_rollout_batch_id",
)


@pytest.fixture
def executed() -> Iterator[Statements]:
    seen: Statements = {}

    def remember(_c: object, _cursor: object, sql: str, parameters: object, *_: object) -> None:
        if isinstance(parameters, tuple) and sql.startswith(("SELECT", "UPDATE")):
            seen[sql] = parameters

    listen(sa.Engine, "before_cursor_execute", remember)
    yield seen
    remove(sa.Engine, "before_cursor_execute", remember)


@pytest.fixture
def words() -> Iterator[list[str]]:
    """The first word of each statement."""
    seen: list[str] = []

    def remember(_c: object, _cursor: object, sql: str, *_: object) -> None:
        seen.append(sql.split()[0])

    listen(sa.Engine, "before_cursor_execute", remember)
    yield seen
    remove(sa.Engine, "before_cursor_execute", remember)


async def test_lineages_cost_a_put_no_statement(path: Path, words: list[str]) -> None:
    async with SqlStore.open(f"sqlite:///{path}", run=config()) as store:
        player = Player(store)
        await player.seed()
        for _ in range(2):
            [admission] = await player.admit()
            words.clear()
            await store.put_rollout(admission, completion(0))
            assert words == ["BEGIN", "UPDATE", "INSERT", "INSERT"]
            await store.recover(0)


@pytest.mark.parametrize("baseline", ["cell", "task"])  # claims differ
async def test_no_queue_statement_walks_the_history(
    path: Path, executed: Statements, baseline: str
) -> None:
    url = f"sqlite:///{path}"
    async with SqlStore.open(url, run=config(learner={"baseline": baseline})) as store:
        player = Player(store)
        await player.seed()
        executed.clear()
        await player.step(version=0)
        await player.reject(await player.propose(version=1))
        await store.lease_rollouts(owner="w", at_most=1)
        await store.renew("w")
        await store.register_node("w", name="w", machine="", address="", pid=1, duties=())
        await store.beat("w", state=NodeState.PLAYING, version=1, lineage=0)
        await store.silent_nodes(1)
        await store.fence("w", "done")
        await store.release("w")
        await store.outstanding()
    assert len(executed) > 30
    for sql, parameters in executed.items():
        for *_, step in select(url, f"EXPLAIN QUERY PLAN {sql}", *parameters):
            if re.match(GROWING, str(step)):
                assert any(re.search(small, str(step)) for small in SMALL), f"{step}\n{sql}"
