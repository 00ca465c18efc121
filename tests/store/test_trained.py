"""Laws of reading what steps trained on: whole batches of surviving steps, on any database."""

from __future__ import annotations

from azr.store.history import open_history
from azr.store.history.trained import (
    programs_before,
    recorded_metrics,
    trained_rows,
    trained_steps,
)
from azr.task_types import MAIN_CELLS
from azr.types import Role, TaskType
from tests.store.store_play import Player


async def test_a_trained_batch_is_read_whole(url: str, player: Player) -> None:
    batch = await player.step(version=0)
    with open_history(url) as history:
        [step] = trained_steps(history)
        rows = trained_rows(history, step.batch_id)
    assert (step.step, step.batch_id, step.entropy) == (1, batch.batch_id, None)
    assert [row.rollout_id for row in rows] == [each.rollout_id for each in batch.trajectories]
    assert {row.cell for row in rows} == set(MAIN_CELLS)
    assert all(row.task is not None and row.text for row in rows)
    for row in rows:
        shown = {Role.SOLVE: 0, Role.PROPOSE: 1 if row.cell.task_type is TaskType.INDUCTION else 2}
        assert len(row.references) == shown[row.cell.role]


async def test_steps_are_read_from_where_one_left_off(url: str, player: Player) -> None:
    for version in range(3):
        await player.step(version=version)
    with open_history(url) as history:
        assert [found.step for found in trained_steps(history, after=1)] == [2, 3]
        assert [found.step for found in trained_steps(history, at_most=2)] == [1, 2]


async def test_older_programs_are_seeds_and_those_of_earlier_batches(
    url: str, player: Player
) -> None:
    await player.step(version=0)
    await player.step(version=1)
    with open_history(url) as history:
        first, second = trained_steps(history)
        before = programs_before(history, first.batch_id, at_most=100)
        later = programs_before(history, second.batch_id, at_most=100)
        newest = programs_before(history, second.batch_id, at_most=1)
        rows = trained_rows(history, first.batch_id)
    learned = {
        row.task.program
        for row in rows
        if row.task is not None
        and row.cell.role is Role.PROPOSE
        and row.cell.task_type is not TaskType.INDUCTION
    }
    assert set(later) - set(before) == learned
    assert newest == later[:1]


async def test_only_the_surviving_metrics_of_a_kind_are_read(url: str, player: Player) -> None:
    for version in range(2):
        await player.step(version=version)
        step = version + 1
        await player.store.record_metrics(step, {"watch/run/x": step / 2, "watched": 1.0})
    await player.store.mark_durable(1, "one")
    await player.store.recover(1)
    with open_history(url) as history:
        assert recorded_metrics(history, "watch/") == {1: {"watch/run/x": 0.5}}
        assert [found.step for found in trained_steps(history)] == [1]
