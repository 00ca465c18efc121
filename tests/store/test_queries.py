from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from azr.errors import StoreError
from azr.membership import ReplicaProof
from azr.store import SqlStore, queries
from azr.store.history import open_history
from azr.store.states import RolloutState
from azr.task_types import MAIN_CELLS
from azr.types import (
    Cell,
    DropReason,
    Judgement,
    PolicyVersion,
    Role,
    TaskType,
)
from tests.store.store_play import (
    Clock,
    Player,
    completion,
    config,
    select,
)

PROPOSE = Cell(Role.PROPOSE, TaskType.DEDUCTION)
SOLVE = Cell(Role.SOLVE, TaskType.DEDUCTION)


@pytest.fixture
async def played(player: Player, clock: Clock, url: str) -> str:
    """Two steps a minute apart, the second undone; one seeding rollout before them."""
    await player.store.put_seed_rollout(completion(), TaskType.INDUCTION, Judgement.VALID)
    for version in range(2):
        clock.now += 60
        await player.step(version=version)
    await player.store.mark_durable(1, "checkpoints/1")
    await player.store.recover(1)
    await player.reject(await player.propose(version=1))
    return url


async def test_steps_are_those_that_survive(played: str) -> None:
    with open_history(played) as history:
        [step] = queries.steps(history)
    assert (step.step, step.loss, step.metrics) == (1, 0.5, {"loss/kl": 0.1})


async def test_a_cell_step_describes_what_was_trained_on(played: str) -> None:
    with open_history(played) as history:
        points = queries.cell_steps(history)
    assert {point.cell for point in points} == set(MAIN_CELLS)
    [point] = [point for point in points if point.cell == SOLVE]
    assert (point.step, point.num_rollouts, point.mean_tokens) == (1, 2, 4.0)
    assert (point.mean_reward, point.truncated_share, point.max_staleness) == (1.0, 0.0, 0)


async def test_proposals_and_solves_are_counted_by_version(played: str) -> None:
    with open_history(played) as history:
        proposed = {(p.version, p.task_type): p for p in queries.proposals(history)}
        solved = {(p.version, p.task_type): p for p in queries.solves(history)}
    point = proposed[1, TaskType.DEDUCTION]
    assert (point.num_judged, point.num_valid, point.num_settled) == (3, 2, 2)
    assert point.mean_solve_rate == 0.5
    attempts = solved[0, TaskType.DEDUCTION]
    assert (attempts.num_attempts, attempts.num_solved) == (4, 2)
    assert proposed[0, TaskType.INDUCTION].num_judged == 2  # seeding is not among them


async def test_counts_add_up_to_what_was_generated(played: str) -> None:
    with open_history(played) as history:
        states = queries.state_counts(history)
        dropped = queries.drops(history)
        staleness = queries.staleness_counts(history)
        summary = queries.pipeline_summary(history)
    assert sum(states.values()) == 1 + 2 * 18 + 1
    assert states[RolloutState.TRAINED] == sum(staleness.values()) == 12
    assert states[RolloutState.DROPPED] == sum(dropped.values())
    assert dropped[DropReason.SEEDING, Cell(Role.PROPOSE, TaskType.INDUCTION)] == 1
    assert summary.in_state(RolloutState.READY) == states[RolloutState.READY] == 13
    assert (summary.learner_version, summary.durable_version) == (1, 1)
    assert summary.latest_step is not None
    assert summary.buffer_sizes[TaskType.ABDUCTION] == 3 + 4


async def test_throughput_has_a_window_for_every_moment(played: str) -> None:
    with open_history(played) as history:
        windows = queries.throughput(history, window_seconds=30)
    assert [window.start for window in windows] == [0, 30, 60, 90, 120]
    assert [window.generated_rollouts for window in windows] == [1, 0, 18, 0, 19]
    assert [window.trained_tokens for window in windows] == [0, 0, 48, 0, 0]


async def test_metrics_events_and_proofs_come_back(player: Player, url: str) -> None:
    await player.store.record_metrics(3, {"engine/busy": 0.5, "broken": float("inf")})
    await player.store.record_metrics(4, {"engine/busy": 0.75})
    await player.store.record_event("restart", cause="out of memory", where=Path("there"))
    proof = ReplicaProof(replica="r0", version=4, fingerprint="ab", canary_nats=1e-6, accepted=True)
    await player.store.record_proof(proof)
    with open_history(url) as history:
        assert queries.metric_names(history) == ["broken", "engine/busy"]
        busy = queries.metric_series(history, "engine/busy")
        assert [(point.step, point.value) for point in busy] == [(3, 0.5), (4, 0.75)]
        [event] = queries.events(history, kind="restart")
        assert event.facts == {"cause": "out of memory", "where": "there"}
        assert queries.proofs(history) == [proof]
        assert queries.run_config(history) == config()


async def test_an_empty_run_has_empty_answers(url: str) -> None:
    with open_history(url) as history:
        assert queries.throughput(history, window_seconds=10) == []
        assert queries.cell_steps(history) == []
        assert queries.pipeline_summary(history).latest_step is None


async def test_each_run_of_a_database_has_its_own_history(played: str) -> None:
    async with SqlStore.open(played, run=config(store={"run_name": "second"})):
        pass
    with open_history(played) as latest, open_history(played, run=1) as first:
        assert (latest.run_id, first.run_id) == (2, 1)
        assert queries.steps(latest) == []
        assert queries.first_rollout_at(latest) is None
        assert sum(queries.state_counts(latest).values()) == 0
        assert len(queries.steps(first)) == 1
        assert sum(queries.staleness_counts(first).values()) == 12
    with pytest.raises(StoreError, match="no run 7"), open_history(played, run=7):
        pass


async def test_history_cannot_be_written(url: str) -> None:
    with open_history(url) as history, pytest.raises(DBAPIError, match=r"read-?only"):
        history.connection.exec_driver_sql("delete from runs")


async def test_views_answer_what_people_ask(played: str) -> None:
    [(parents,)] = select(
        played, "select count(*) from v_lineage where task_id = (select max(task_id) from task)"
    )
    assert parents == 1  # the last task is an induction task, made from one program
    [(valid,)] = select(played, "select count(*) from v_task_history where judgement = 'valid'")
    assert valid == 1 + 2 * 6
    reasons = select(played, "select distinct drop_reason from v_why_dropped order by 1")
    assert reasons == [("measured_only",), ("seeding",)]
    rates = select(played, "select distinct solve_rate from v_difficulty where version = 0")
    assert rates == [(0.5,)]
    trained = "select sum(num_rollouts), avg(mean_reward) from v_cell_rewards where step = 1"
    assert select(played, trained) == [(12, 0.75)]
    assert select(played, "select sum(num_rollouts) from v_staleness") == [(12,)]
    queue: PolicyVersion = len(select(played, "select * from v_queue where queue = 'rollout'"))
    assert queue > 0


async def test_sums_and_means_are_plain_numbers_on_every_database(played: str) -> None:
    with open_history(played) as history:
        windows = queries.throughput(history, window_seconds=10)
        cells = queries.cell_steps(history)
        proposals = queries.proposals(history)
    assert {type(window.generated_tokens) for window in windows} == {int}
    assert {type(cell.mean_tokens) for cell in cells} == {float}
    assert {type(row.num_valid) for row in proposals} == {int}
