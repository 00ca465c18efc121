"""The histories that `azr db bench` measures are real ones: the store works on them."""

from __future__ import annotations

from dataclasses import asdict

import anyio

from azr.store import SqlStore
from azr.store.bench import Load, grow, measure, prepare
from azr.store.bench.fill import add_ready
from azr.store.bench.measure import config
from azr.store.engine import Database, open_database
from azr.store.health import examine
from azr.store.history import open_history
from azr.task_types import MAIN_TYPES

NOT_MADE = {"a trained rollout is one live row of one batch"}
"""A filled history has no batches: nothing that is timed looks at old ones."""
LOAD = Load(num_puts=8, num_calls=4, num_claims=1, batch_rollouts=2)


def test_a_history_is_measured_grows_on_stays_whole_and_can_be_claimed(empty_url: str) -> None:
    database = open_database(empty_url)
    run_id = prepare(empty_url)
    grow(database, run_id, num_tasks=300)
    figures = anyio.run(measure, database, empty_url, LOAD)
    assert figures.num_tasks == 300
    assert all(value > 0 for value in asdict(figures).values())
    grow(database, run_id, num_tasks=600)
    assert len(anyio.run(claimed, database, empty_url)) == 6 * LOAD.batch_rollouts
    with open_history(empty_url) as history:
        broken = {finding.name for finding in examine(history) if not finding.is_well}
    assert broken <= NOT_MADE


async def claimed(database: Database, url: str) -> set[int]:
    """Rollouts of the one batch that the rows made ready are enough for."""
    async with SqlStore.open(url, run=config(LOAD)) as store:
        assert await store.buffer_sizes() == dict.fromkeys(MAIN_TYPES, 200)
        version = await store.learner_version()
        assert await store.claim_batch(version=version) is None
        rows = LOAD.batch_rollouts
        add_ready(database, store.run_id, rows_per_cell=rows, version=version)
        batch = await store.claim_batch(version=version)
        assert batch is not None
        assert await store.claim_batch(version=version) is None
        return {row.rollout_id for row in batch.trajectories}
