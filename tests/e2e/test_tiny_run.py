"""What plain SQL must show after a run of ten steps."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import BATCH_ROLLOUTS, Played

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MAX_STALENESS = 4


def test_every_batch_holds_b_rows_of_each_of_the_six_cells(played: Played):
    rows = played.query(
        "select s.version, r.role, r.task_type, count(*) from learner_step s"
        " join batch_row b on b.batch_id = s.batch_id join rollout r using (rollout_id)"
        " where s.state = 'live' group by 1, 2, 3"
    )
    assert len(rows) == 10 * 6
    assert {count for *_, count in rows} == {BATCH_ROLLOUTS}


def test_every_trained_rollout_has_as_many_behaviour_logprobs_as_tokens(played: Played):
    ((trained, matching),) = played.query(
        "select count(*), sum(length(p.behaviour_logprobs) = 4 * r.num_tokens)"
        " from rollout r join rollout_payload p using (rollout_id) where r.state = 'trained'"
    )
    assert trained == matching == 10 * 6 * BATCH_ROLLOUTS


def test_some_rollouts_span_two_policy_versions_and_spans_cover_all_tokens(played: Played):
    rows = played.query(
        "select r.num_tokens, r.oldest_version, r.newest_version, p.version_spans"
        " from rollout r join rollout_payload p using (rollout_id)"
    )
    assert any(newest > oldest for _, oldest, newest, _ in rows)
    for num_tokens, oldest, newest, text in rows:
        spans = json.loads(text)
        ends = [0, *(end for _, _, end, _ in spans)]
        assert [start for _, start, _, _ in spans] == ends[:-1]
        assert ends[-1] == num_tokens
        versions = [version for version, *_ in spans]
        assert versions == sorted(set(versions))
        assert not versions or (versions[0], versions[-1]) == (oldest, newest)


def test_staleness_at_the_claim_never_exceeds_the_bound(played: Played):
    ((least, most),) = played.query("select min(staleness), max(staleness) from batch_row")
    assert 0 <= least <= most <= MAX_STALENESS


def test_staleness_counts_from_the_oldest_token(played: Played):
    ((wrong,),) = played.query(
        "select count(*) from batch_row b join batch using (batch_id) join rollout r"
        " using (rollout_id) where b.staleness <> batch.version - r.oldest_version"
    )
    assert wrong == 0


def test_everything_generated_is_accounted_for_exactly(played: Played):
    counts = dict(played.query("select state, count(*) from rollout group by 1"))
    ((generated,),) = played.query("select count(*) from rollout_payload")
    accounted = ("trained", "ready", "claimed", "dropped", "generated", "judged")
    assert generated == sum(counts.get(state, 0) for state in accounted) == sum(counts.values())
    assert counts["trained"] == 10 * 6 * BATCH_ROLLOUTS
    ((unexplained,),) = played.query(
        "select count(*) from rollout where (state = 'dropped') <> (drop_reason is not null)"
    )
    assert unexplained == 0


def test_every_version_was_proved_by_the_replica_before_the_next(played: Played):
    proofs = played.query("select version, canary_nats, accepted from replica_proof order by 1")
    assert [version for version, *_ in proofs] == list(range(11))
    assert all(accepted and nats < 1e-3 for _, nats, accepted in proofs)


def test_all_three_task_types_were_proposed_validated_and_solved(played: Played):
    rows = played.query(
        "select task_type, sum(judgement = 'valid'), sum(judgement = 'correct') from rollout"
        " where purpose <> 'seed' group by 1"
    )
    assert len(rows) == 3
    assert all(valid > 0 and correct > 0 for _, valid, correct in rows)


def test_the_run_directory_holds_all_that_was_promised(played: Played):
    lines = (played.directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 11))
    for name in ("config.toml", "report/index.html", "report/report.md", "logs/node-1.log"):
        assert (played.directory / name).stat().st_size > 0
    ((path,),) = played.query(
        "select path from policy_version where durable order by version desc limit 1"
    )
    assert json.loads((played.directory / "checkpoints" / path / "config.json").read_text())
    assert str(played.directory) in played.output


def test_held_out_accuracy_is_measured_before_and_after(played: Played):
    rows = played.query(
        "select step, value from metric where name = 'held_out/problems' order by 1"
    )
    assert rows == [(0, 6.0), (10, 6.0)]
    means = played.query("select value from metric where name = 'held_out/mean'")
    assert all(0 <= mean <= 1 for (mean,) in means)
    assert "Accuracy on 6 problems that training never shows" in played.output
    assert "policy v10" in played.output
