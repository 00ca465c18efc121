from pathlib import Path

import pytest

from azr.errors import StoreError
from azr.seeds import derive_seed, draw_without_replacement
from azr.store import SqlStore
from azr.task_types import MAIN_CELLS
from azr.types import Cell, Role, TaskType
from tests.store.store_play import (
    Clock,
    Player,
    completion,
    config,
    draft,
    one,
    select,
)

DEDUCTION = Cell(Role.PROPOSE, TaskType.DEDUCTION)


async def test_slots_count_per_type_from_zero(player: Player) -> None:
    slots = [a.slot for a in await player.admit(TaskType.DEDUCTION, 2)]
    slots += [a.slot for a in await player.admit(TaskType.ABDUCTION, 1)]
    slots += [a.slot for a in await player.admit(TaskType.DEDUCTION, 1)]
    assert slots == [0, 1, 0, 2]


async def test_the_seed_of_an_admission_names_its_role_type_and_slot(player: Player) -> None:
    [_, second] = await player.admit(TaskType.ABDUCTION, 2)
    assert second.seed == derive_seed(0, "propose", "abduction", 1)


async def test_nothing_is_admitted_beyond_the_limit(player: Player) -> None:
    assert len(await player.admit(count=10, limit=3)) == 3
    assert await player.admit(count=10, limit=3) == []
    assert (await player.store.outstanding())[DEDUCTION] == 3


async def test_a_limit_computed_before_a_step_admits_nothing_after_it(player: Player) -> None:
    await player.fill(2)
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    await player.commit(batch)
    assert await player.admit(count=2, limit=2, version=0) == []
    assert len(await player.admit(count=2, limit=2, version=1)) == 2


async def test_a_sampled_row_stays_outstanding_until_it_is_trained(player: Player) -> None:
    await player.fill(2)
    full = dict.fromkeys(MAIN_CELLS, 2)
    assert await player.store.outstanding() == full
    batch = await player.store.claim_batch(version=0)
    assert batch is not None
    assert await player.store.outstanding() == full
    await player.commit(batch)
    assert await player.store.outstanding() == dict.fromkeys(MAIN_CELLS, 0)


async def test_measuring_attempts_are_not_outstanding(player: Player) -> None:
    await player.accept(await player.propose())
    solve = Cell(Role.SOLVE, TaskType.DEDUCTION)
    assert (await player.store.outstanding())[solve] == 1  # the other only measures
    assert len(await player.store.lease_attempts(owner="w", at_most=9)) == 2


async def test_references_are_drawn_by_slot_among_the_visible_tasks(player: Player) -> None:
    for _ in range(6):
        await player.accept(await player.propose(version=4))
    [now] = await player.admit(version=0)
    [later] = await player.admit(version=5)
    for admission, visible in ((now, 3), (later, 9)):
        seed = derive_seed(0, "references", "deduction", admission.slot)
        drawn = draw_without_replacement(visible, 2, seed)
        sizes = [f"def f(x):\n    return x + {i if i < 3 else 997 + i}" for i in drawn]
        assert [task.program for task in admission.references] == sizes


async def test_draws_are_exact_when_tasks_become_visible_out_of_order(player: Player) -> None:
    late = await player.propose(version=0)  # admitted first, judged last
    for version in (2, 1, 2):
        await player.accept(await player.propose(version=version))
    await player.accept(late)
    # (visible_from, ordinal): three seeds, then 1003 (from 1), 1001 (2), 1000 and 1002 (3)
    order = [0, 1, 2, 1003, 1001, 1000, 1002]
    for version, visible in ((0, 3), (1, 4), (2, 5), (3, 7)):
        [admission] = await player.admit(version=version)
        seed = derive_seed(0, "references", "deduction", admission.slot)
        expected = [order[i] for i in draw_without_replacement(visible, 2, seed)]
        drawn = [int(task.program.rpartition(" ")[2]) for task in admission.references]
        assert drawn == expected


async def test_induction_describes_one_program_of_the_other_two_buffers(url: str) -> None:
    async with SqlStore.open(url, run=config()) as store:
        await store.add_seed_tasks([draft(TaskType.DEDUCTION, i) for i in range(3)])
        await store.add_seed_tasks([draft(TaskType.ABDUCTION, i) for i in range(10, 14)])
        admissions = await Player(store).admit(TaskType.INDUCTION, 40)
    pool = [0, 1, 2, 10, 11, 12, 13]
    for admission in admissions:
        seed = derive_seed(0, "references", "induction", admission.slot)
        [index] = draw_without_replacement(7, 1, seed)
        [shown] = admission.references
        assert shown.program.endswith(f"+ {pool[index]}")


async def test_a_lease_is_exclusive_until_it_expires(player: Player, clock: Clock) -> None:
    held = await player.admit(count=2, limit=2, owner="dead")
    assert await player.admit(count=2, limit=2) == []
    clock.now += 121
    assert await player.admit(count=2, limit=2) == held


async def test_a_renewed_lease_does_not_expire(player: Player, clock: Clock) -> None:
    await player.admit(count=1, limit=1, owner="alive")
    clock.now += 100
    await player.store.renew("alive")
    clock.now += 100
    assert await player.admit(count=1, limit=1) == []


async def test_a_released_owner_holds_nothing(player: Player) -> None:
    rollout_id = await player.propose()
    await player.store.lease_rollouts(owner="gone", at_most=1)
    [held] = await player.admit(owner="gone")
    [other] = await player.admit(owner="stays")
    await player.store.release("gone")
    assert await player.admit(count=9, limit=0) == [held]
    [returned] = await player.store.lease_rollouts(owner="new", at_most=9)
    assert returned.rollout_id == rollout_id
    assert other.admission_id != held.admission_id


async def test_attempts_are_leased_oldest_first_with_expired_ones(
    player: Player, clock: Clock
) -> None:
    await player.accept(await player.propose())
    await player.accept(await player.propose(TaskType.ABDUCTION), TaskType.ABDUCTION)
    first = await player.store.lease_attempts(owner="dead", at_most=1)
    clock.now += 121
    leased = await player.store.lease_attempts(owner="w", at_most=3)
    assert leased[0] == first[0]
    ids = [admission.admission_id for admission in leased]
    assert ids == sorted(ids)


async def test_an_admission_is_sampled_once(player: Player, url: str) -> None:
    [admission] = await player.admit()
    rollout_id = await player.store.put_rollout(admission, completion())
    assert await player.store.put_rollout(admission, completion(text="again")) == rollout_id
    assert select(url, "select text from rollout_payload") == [("hm",)]


async def test_an_admission_that_was_never_granted_is_refused(
    player: Player, tmp_path: Path
) -> None:
    async with SqlStore.open(f"sqlite:///{tmp_path}/other.sqlite", run=config()) as other:
        [foreign] = await Player(other).admit()
    with pytest.raises(StoreError, match="never granted"):
        await player.store.put_rollout(foreign, completion())


async def test_a_rollout_comes_back_as_it_was_sampled(player: Player) -> None:
    [admission] = await player.admit(TaskType.INDUCTION)
    sampled = completion(3, 4, 5, num_tokens=50, text="ünïcode\x00 and \n lines")
    await player.store.put_rollout(admission, sampled)
    [rollout] = await player.store.lease_rollouts(owner="w", at_most=5)
    assert rollout.completion == sampled
    assert rollout.admission == admission


async def test_text_that_no_database_can_encode_is_data(player: Player, url: str) -> None:
    [admission] = await player.admit()
    await player.store.put_rollout(admission, completion(text="a\ud800b"))
    assert one(url, "select text from rollout_payload") == "a?b"


async def test_a_seed_that_is_known_is_not_new(player: Player) -> None:
    drafts = [draft(TaskType.DEDUCTION, 2), draft(TaskType.DEDUCTION, 3)]
    assert await player.store.add_seed_tasks([*drafts, drafts[1]]) == 1
    assert (await player.store.buffer_sizes())[TaskType.DEDUCTION] == 4
