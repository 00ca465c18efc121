"""After a real run, people's questions are answered from what it left."""

from __future__ import annotations

import pytest

from azr.diagnosis.series import Series
from azr.store.health import examine
from azr.store.history import open_history
from azr.store.history.life import rollout_life
from azr.store.history.lineage import of_step
from azr.store.history.statements import ask, ask_question
from azr.store.questions import questions
from tests.e2e.conftest import Played

pytestmark = pytest.mark.e2e
SECONDS = 1.0


def test_every_question_is_answered_in_a_second(played: Played) -> None:
    with open_history(played.directory / "azr.sqlite") as history:
        for question in questions().values():
            found = ask_question(history, question, max_rows=100_000, timeout_seconds=SECONDS)
            assert found.complete


def test_the_last_step_descends_from_the_identity_triplet(played: Played) -> None:
    with open_history(played.directory / "azr.sqlite") as history:
        descent = of_step(history, 10)
    path = descent.shortest_path_to_identity()
    assert descent.tasks[path[-1]].is_identity


def test_a_real_run_keeps_every_invariant(played: Played) -> None:
    with open_history(played.directory / "azr.sqlite") as history:
        assert [finding for finding in examine(history) if not finding.is_well] == []


def test_every_end_of_a_rollout_has_its_story(played: Played) -> None:
    query = "select max(rollout_id) from rollout group by role, state, drop_reason"
    with open_history(played.directory / "azr.sqlite") as history:
        for (rollout_id,) in ask(history, query, max_rows=100, timeout_seconds=SECONDS).rows:
            life = rollout_life(history, rollout_id)
            assert life.sampled.text
            assert (life.rollout.drop_reason is None) == (life.rollout.state != "dropped")


def test_the_node_measured_every_step_once(played: Played) -> None:
    with open_history(played.directory / "azr.sqlite") as history:
        series = Series()
        assert series.catch_up(history) == []
        assert [step.step for step in series.steps] == list(range(1, 11))
        assert all(("propose/deduction", "valid") in step.values for step in series.steps)
    names = "select count(*), count(distinct step || name) from metric where name like 'watch/%'"
    [(recorded, distinct)] = played.query(names)
    assert recorded == distinct
