"""Looks that cost the same however long the run: what they leave out has not changed."""

from __future__ import annotations

import time

from azr.store import queries
from azr.store.history import History, members, open_history, recent
from azr.types import DropReason
from tests.store.store_play import Clock, Player, completion, select

OLD_SECONDS = 2 * recent.COMMIT_SECONDS


def all_drops(history: History) -> dict[DropReason, int]:
    found: dict[DropReason, int] = {}
    for (reason, _), count in queries.drops(history).items():
        found[reason] = found.get(reason, 0) + count
    return found


async def test_drops_are_counted_as_they_are_whenever_one_looks(
    player: Player, clock: Clock, url: str
) -> None:
    counts = recent.DropCounts()
    await player.store.lease_attempts(owner="nobody", at_most=1)
    for version in range(3):
        batch = await player.step(version=version)
        waiting = await player.propose(version=version + 1)
        await player.propose(version=version + 1)
        with open_history(url) as history:
            assert counts.read(history) == all_drops(history)
        clock.now += OLD_SECONDS
        await player.reject(waiting)
    assert batch.version == 2
    await player.store.mark_durable(1, "checkpoints/1")
    await player.store.recover(1, owners_gone=None)
    await player.store.claim_batch(version=9)  # too late for everything: all of it goes stale
    with open_history(url) as history:
        now = counts.read(history)
        assert now == all_drops(history)
        assert now[DropReason.STALE] > 0


async def test_every_event_is_given_out_once(player: Player, clock: Clock, url: str) -> None:
    tail = recent.EventTail()
    given: list[str] = []
    for number in range(4):
        await player.store.record_event("finding", name=f"found {number}")
        clock.now += OLD_SECONDS / 3
        with open_history(url) as history:
            given += [
                str(event.facts["name"]) for event in tail.read(history) if event.facts.get("name")
            ]
    assert given == [f"found {number}" for number in range(4)]


async def test_an_event_that_was_committed_late_is_given_out_too(player: Player, url: str) -> None:
    tail = recent.EventTail()
    for name in ("early", "late", "newest"):
        await player.store.record_event("finding", name=name)
    with open_history(url) as history:
        ids = [row[0] for row in select(url, "select event_id from event order by event_id")]
        assert len(tail.read(history)) == len(ids)
    tail._given.remove(ids[-2])  # as if its transaction had not ended then
    with open_history(url) as history:
        assert [event.facts["name"] for event in tail.read(history)] == ["late"]


async def test_the_newest_steps_are_those_of_the_whole_history(player: Player, url: str) -> None:
    for version in range(4):
        await player.step(version=version)
    await player.store.mark_durable(3, "checkpoints/3")
    await player.store.recover(3, owners_gone=None)
    with open_history(url) as history:
        everything, cells = queries.steps(history), queries.cell_steps(history)
        assert recent.newest_steps(history, 2) == everything[-2:]
        newest = queries.cell_steps(history, step_id=recent.newest_step_id(history))
        assert newest == [row for row in cells if row.step == everything[-1].step]
        assert recent.durable_version(history) == 3
        assert recent.buffer_sizes(history) == queries.buffer_sizes(history)


async def test_tokens_of_a_window_are_told_by_who_sampled_them(
    player: Player, clock: Clock, url: str
) -> None:
    await player.propose()
    clock.now += 10
    await player.store.register_node(
        "node-2-aa", name="node-2", machine="m", address="a", pid=1, duties=["sample"]
    )
    await player.propose()
    await player.propose()
    with open_history(url) as history:
        newest = recent.newest_rollout_at(history)
        assert newest is not None
        assert newest == clock.now
        each = len(completion().token_ids)
        got = recent.sampled_tokens(history, since=newest - 10, until=newest + 1)
        assert got == {"": each, "node-2-aa": 2 * each}
        assert recent.sampled_tokens(history, since=newest, until=newest + 1) == {
            "node-2-aa": 2 * each
        }


async def test_what_an_owner_holds_is_counted_and_what_is_overdue(
    player: Player, clock: Clock, url: str
) -> None:
    await player.propose()
    await player.admit(count=2, owner="node-1-aa")
    [leased] = await player.store.lease_rollouts(owner="node-1-aa", at_most=5)
    assert leased.rollout_id
    with open_history(url) as history:
        held = members.leases(history, at=clock.now)["node-1-aa"]
        later = members.leases(history, at=clock.now + 1000)["node-1-aa"]
        assert abs(members.now(history) - time.time()) < 3600
    assert (held.held, held.overdue) == (3, 0)
    assert (later.held, later.overdue) == (3, 3)


async def test_the_newest_numbers_of_a_metric_come_oldest_first(
    player: Player, clock: Clock, url: str
) -> None:
    for step in range(5):
        clock.now += 1
        await player.store.record_metrics(step // 2, {"a": float(step), "b": 0.0})
    with open_history(url) as history:
        found = recent.newest_metrics(history, ["a", "none"], count=3)
    assert [point.value for point in found["a"]] == [2, 3, 4]
    assert found["none"] == []
