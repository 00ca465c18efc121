from dataclasses import replace

import pytest

from azr.errors import StoreError
from azr.seeds import derive_seed, draw_for_replay
from azr.store import SqlStore
from azr.types import Cell, Example, Judgement, Measurement, Purpose, Role, TaskType, Value
from tests.store.store_play import (
    OWNER,
    Player,
    assert_accounted,
    completion,
    config,
    draft,
    one,
    select,
)

SOLVE = "select slot, purpose, task_id, measures from admission where role = 'solve' order by 1"


async def test_a_task_is_visible_from_the_version_after_its_admission(
    player: Player, url: str
) -> None:
    await player.accept(await player.propose(version=6))
    assert one(url, "select visible_from from task where origin = 'proposed'") == 7


async def test_a_duplicate_changes_nothing(player: Player, url: str) -> None:
    rollout_id = await player.propose()
    assert not await player.store.accept_proposal(rollout_id, draft(TaskType.DEDUCTION, 1))
    assert one(url, "select state from rollout") == "generated"
    assert one(url, "select count(*) from admission where role = 'solve'") == 0


async def test_the_same_program_may_enter_two_buffers(player: Player) -> None:
    rollout_id = await player.propose(TaskType.ABDUCTION)
    seed = draft(TaskType.DEDUCTION, 77)
    await player.store.add_seed_tasks([seed])
    twin = draft(TaskType.ABDUCTION, 77)
    assert await player.store.accept_proposal(rollout_id, twin)


async def test_by_program_other_inputs_make_no_new_task(url: str) -> None:
    known = draft(TaskType.DEDUCTION, 1)
    other_inputs = replace(known, examples=(Example("2", Value('["int","3"]')),))
    async with SqlStore.open(url, run=config()) as store:
        player = Player(store)
        await player.seed()
        rollout_id = await player.propose()
        spare = await player.propose()
        assert await store.accept_proposal(rollout_id, other_inputs)
    stricter = config(selfplay={"duplicate_by": "program"})
    async with SqlStore.open(url, run=stricter) as store:
        third = replace(known, examples=(Example("3", Value('["int","4"]')),))
        assert not await store.accept_proposal(spare, third)
        assert await store.accept_proposal(spare, draft(TaskType.DEDUCTION, 99))


async def test_duplicates_enter_if_the_run_wants_them(url: str) -> None:
    run = config(selfplay={"reject_duplicates": False})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        assert await store.accept_proposal(await player.propose(), draft(TaskType.DEDUCTION, 1))


async def test_accepting_twice_makes_one_task(player: Player, url: str) -> None:
    rollout_id = await player.propose()
    made = await player.accept(rollout_id)
    assert await player.store.accept_proposal(rollout_id, made)
    assert one(url, "select count(*) from task where origin = 'proposed'") == 1
    assert len(select(url, SOLVE)) == 2


async def test_a_valid_task_spends_the_credit_and_measures_with_the_rest(
    player: Player, url: str
) -> None:
    rollout_id = await player.propose()
    await player.accept(rollout_id)
    task_id = one(url, "select task_id from task where proposal_id = ?", rollout_id)
    assert select(url, SOLVE) == [
        (0, "train", task_id, rollout_id),
        (1, "measure", task_id, rollout_id),
    ]


async def test_an_attempt_for_training_alone_does_not_measure(url: str) -> None:
    run = config(selfplay={"attempts": 2, "solver_reuse": "one"})
    async with SqlStore.open(url, run=run) as store:
        player = Player(store)
        await player.seed()
        rollout_id = await player.propose()
        await player.accept(rollout_id)
    task_id = one(url, "select task_id from task where proposal_id = ?", rollout_id)
    assert select(url, SOLVE) == [
        (0, "train", task_id, None),
        (1, "measure", task_id, rollout_id),
        (2, "measure", task_id, rollout_id),
    ]


async def test_credits_that_no_task_spent_replay_visible_tasks(player: Player, url: str) -> None:
    await player.reject(await player.propose())
    assert select(url, SOLVE) == []
    await player.reject(await player.propose())  # a batch's worth
    seeds = [
        task_id
        for [task_id] in select(
            url, "select task_id from task where task_type = 'deduction' order by ordinal"
        )
    ]
    drawn = draw_for_replay(3, 2, derive_seed(0, "replay", "deduction", 0), group_size=2)
    assert select(url, SOLVE) == [
        (slot, "train", seeds[index], None) for slot, index in enumerate(drawn)
    ]


async def test_proposals_never_bring_more_solver_rows_than_batches_take(
    player: Player, url: str
) -> None:
    ids = [await player.propose() for _ in range(8)]
    for index, rollout_id in enumerate(ids):
        await (player.accept if index % 3 == 0 else player.reject)(rollout_id)
        solve = (await player.store.outstanding())[Cell(Role.SOLVE, TaskType.DEDUCTION)]
        assert (index + 1) // 2 * 2 <= solve <= index + 1
    assert_accounted(url)


async def test_an_attempt_counts_for_its_task_and_for_what_it_measures(
    player: Player, url: str
) -> None:
    rollout_id = await player.propose()
    await player.accept(rollout_id)
    assert await player.store.measured_proposals(at_most=9) == []
    train, measure = await player.attempts()
    await player.judge(train, solved=True)
    await player.judge(train, solved=True)  # a second examiner changes nothing
    assert await player.store.measured_proposals(at_most=9) == []
    await player.judge(measure, solved=False)
    cell = Cell(Role.PROPOSE, TaskType.DEDUCTION)
    assert await player.store.measured_proposals(at_most=9) == [Measurement(rollout_id, cell, 1, 2)]
    assert select(
        url, "select num_attempts, num_solved from task where proposal_id = ?", rollout_id
    ) == [(2, 1)]


async def test_a_measuring_attempt_is_dropped_with_its_facts(player: Player, url: str) -> None:
    await player.accept(await player.propose())
    for rollout_id in await player.attempts():
        await player.judge(rollout_id, solved=False)
    facts = "select purpose, state, drop_reason, judgement, reward from rollout where role='solve'"
    assert select(url, facts) == [
        ("train", "ready", None, "wrong", -0.5),
        ("measure", "dropped", "measured_only", "wrong", -0.5),
    ]
    assert_accounted(url)


async def test_settling_twice_keeps_the_first_reward(player: Player, url: str) -> None:
    rollout_id = await player.propose()
    await player.accept(rollout_id)
    for attempt in await player.attempts():
        await player.judge(attempt)
    for reward in (0.25, 0.75):
        await player.store.settle_proposal(rollout_id, solve_rate=0.5, reward=reward)
    row = select(url, "select state, reward, solve_rate from rollout where role = 'propose'")
    assert row == [("ready", 0.25, 0.5)]


async def test_a_rejection_is_final_and_explained(player: Player, url: str) -> None:
    rollout_id = await player.propose()
    await player.reject(rollout_id)
    await player.store.reject_proposal(rollout_id, Judgement.BAD_FORMAT, None, 0.0)
    assert not await player.store.accept_proposal(rollout_id, draft(TaskType.DEDUCTION, 99))
    facts = "select state, judgement, verdict, detail, reward from rollout"
    assert select(url, facts) == [("ready", "invalid", "timeout", "slow", -1.0)]


async def test_infrastructure_failures_return_work_and_then_drop_it(
    player: Player, url: str
) -> None:
    rollout_id = await player.propose()
    for _ in range(2):
        [leased] = await player.store.lease_rollouts(owner=OWNER, at_most=9)
        await player.store.fail_rollout(leased.rollout_id)
    assert one(url, "select state from rollout") == "generated"
    await player.store.fail_rollout(rollout_id)
    assert select(url, "select state, drop_reason from rollout") == [("dropped", "sandbox_failed")]
    assert await player.store.lease_rollouts(owner=OWNER, at_most=9) == []
    assert_accounted(url)


async def test_a_dropped_attempt_leaves_its_group(player: Player) -> None:
    rollout_id = await player.propose()
    await player.accept(rollout_id)
    lost, kept = await player.attempts()
    await player.judge(kept, solved=False)
    for _ in range(3):
        await player.store.fail_rollout(lost)
    [found] = await player.store.measured_proposals(at_most=9)
    assert (found.rollout_id, found.num_solved, found.num_attempts) == (rollout_id, 0, 1)


async def test_a_training_row_that_is_lost_is_replaced_for_its_batch(
    player: Player, url: str
) -> None:
    for _ in range(2):  # a batch's worth
        await player.accept(await player.propose())
    lost, *_ = await player.attempts()
    for _ in range(3):
        await player.store.fail_rollout(lost)
    solve = Cell(Role.SOLVE, TaskType.DEDUCTION)
    assert (await player.store.outstanding())[solve] == 2
    [replacement] = await player.store.lease_attempts(owner=OWNER, at_most=9)
    assert (replacement.purpose, replacement.measures) == (Purpose.TRAIN, None)
    assert_accounted(url)


async def test_a_proposal_without_any_attempt_left_is_lost(player: Player, url: str) -> None:
    rollout_id = await player.propose()
    await player.accept(rollout_id)
    for attempt in await player.attempts():
        for _ in range(3):
            await player.store.fail_rollout(attempt)
    assert await player.store.measured_proposals(at_most=9) == []
    reason = "select drop_reason from rollout where rollout_id = ?"
    assert one(url, reason, rollout_id) == "task_lost"
    assert_accounted(url)


async def test_seeding_rollouts_are_recorded_as_drops(player: Player, url: str) -> None:
    await player.store.put_seed_rollout(
        completion(), TaskType.INDUCTION, Judgement.INVALID, "timeout"
    )
    facts = "select role, task_type, purpose, state, drop_reason, judgement, verdict from rollout"
    assert select(url, facts) == [
        ("propose", "induction", "seed", "dropped", "seeding", "invalid", "timeout")
    ]
    [admission] = await player.admit(TaskType.INDUCTION)
    assert (admission.slot, admission.purpose) == (0, Purpose.TRAIN)
    assert_accounted(url)


async def test_judging_what_does_not_exist_is_an_error(player: Player) -> None:
    with pytest.raises(StoreError, match="no rollout 12345"):
        await player.judge(12345)
