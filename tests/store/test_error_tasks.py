"""The store with all four task types: rows, draws and batches of the fourth."""

from __future__ import annotations

from dataclasses import replace

from azr.error_seeds import ZERO_ERROR
from azr.raised import class_name
from azr.store import SqlStore
from azr.store.history import open_history, recent
from azr.store.locate import locate
from azr.store.queries import buffer_sizes
from azr.store.seed_export import export_rows
from azr.task_types import MAIN_TYPES
from azr.types import CELLS, Cell, Example, Role, TaskDraft, TaskType
from azr.values import from_python
from tests.store.store_play import OWNER, Player, config, one, select

ERROR = TaskType.ERROR
FOUR = config(selfplay={"task_types": [*MAIN_TYPES, ERROR]})


def failing(number: int) -> TaskDraft:
    name = ("KeyError", "TypeError")[number % 2]
    return replace(
        ZERO_ERROR,
        program=f"def f(a):\n    return a[{number}]",
        examples=(Example("{}", from_python(name)),),
    )


async def test_an_error_task_comes_back_as_it_was_stored(url: str) -> None:
    async with SqlStore.open(url, run=FOUR) as store:
        assert await store.add_seed_tasks([ZERO_ERROR, failing(1), ZERO_ERROR]) == 2
        assert (await store.buffer_sizes())[ERROR] == 2
        [admission] = await store.admit_proposals(
            ERROR, owner=OWNER, at_most=1, outstanding_limit=9, version=0
        )
    shown = sorted(admission.references, key=lambda task: task.task_id)
    assert [class_name(task.examples[0].output) for task in shown] == [
        "ZeroDivisionError",
        "TypeError",
    ]
    assert shown[0] == ZERO_ERROR.with_id(shown[0].task_id)
    assert one(url, "select count(*) from task where task_type = 'error'") == 2
    with open_history(locate(url)) as history:
        assert buffer_sizes(history)[ERROR] == recent.buffer_sizes(history)[ERROR] == 2
        [first, _] = export_rows(history, ERROR, seeds_only=True)
    assert '"input": "0", "error": "ZeroDivisionError"' in first


async def test_a_batch_of_four_types_has_eight_cells_in_order(url: str) -> None:
    async with SqlStore.open(url, run=FOUR) as store:
        player = Player(store)
        await player.seed()
        await store.add_seed_tasks([failing(number) for number in range(3)])
        await player.fill(2)
        assert await store.claim_batch(version=0) is None, "the errors' cells are empty"
        for _ in range(2):
            await player.accept(await player.propose(ERROR), ERROR)
        for rollout_id in await player.attempts():
            await player.judge(rollout_id)
        await player.settle()
        batch = await store.claim_batch(version=0)
        assert batch is not None
        assert [row.cell for row in batch.trajectories] == [c for c in CELLS for _ in range(2)]
        await player.commit(batch)
        assert (await store.outstanding())[Cell(Role.SOLVE, ERROR)] == 0
    assert select(url, "select count(*) from rollout where state = 'trained'") == [(16,)]


async def test_a_run_of_three_types_does_not_count_the_fourth(player: Player) -> None:
    assert set(await player.store.buffer_sizes()) == set(MAIN_TYPES)
    assert {cell.task_type for cell in await player.store.outstanding()} == set(MAIN_TYPES)


async def test_proposals_that_never_validate_are_replaced_by_attempts_at_seeds(url: str) -> None:
    async with SqlStore.open(url, run=config(selfplay={"task_types": [ERROR]})) as store:
        player = Player(store)
        await store.add_seed_tasks([ZERO_ERROR])
        for _ in range(2):
            await player.reject(await player.propose(ERROR))
        for rollout_id in await player.attempts():
            await player.judge(rollout_id, solved=False)
        batch = await store.claim_batch(version=0)
    assert batch is not None
    assert [str(row.cell) for row in batch.trajectories] == ["propose/error"] * 2 + [
        "solve/error"
    ] * 2
