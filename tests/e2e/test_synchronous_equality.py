"""`max_staleness = 0`: the asynchronous machinery equals Algorithm 1, with every real part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from azr import config_files
from azr.engine.environment import engine_environment
from tests.e2e.conftest import RUN_SECONDS, play

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STEPS = 3
SYNCHRONOUS = (
    "learner.max_staleness=0",
    "actors.propose_workers=1",
    "actors.solve_workers=1",
    "actors.execute_workers=1",
    # Large steps, so that a batch trained on differently would show in the next texts.
    "learner.learning_rate=1e-3",
)


@pytest.fixture
def played(tmp_path: Path):
    return play(tmp_path / "run", steps=STEPS, settings=SYNCHRONOUS)


@pytest.fixture
def told(tmp_path: Path, played) -> list[dict]:
    config = config_files.load(str(played.directory / "config.toml"))
    settings, out = tmp_path / "config.json", tmp_path / "oracle.json"
    settings.write_text(config.model_dump_json())
    subprocess.run(
        [sys.executable, "-m", "tests.e2e.oracle", settings, out],
        env=os.environ | engine_environment(config),
        check=True,
        timeout=RUN_SECONDS,
    )
    return json.loads(out.read_text())


def test_the_actors_reproduce_the_synchronous_telling_step_for_step(played, told):
    rows = played.query(
        "select s.version, s.loss, r.role, r.task_type, p.text, r.reward, b.advantage,"
        " r.finish_reason from learner_step s join batch_row b using (batch_id)"
        " join rollout r using (rollout_id) join rollout_payload p using (rollout_id)"
        " order by s.version, b.position"
    )
    assert len(told) == STEPS
    for step, expected in enumerate(told, start=1):
        own = [row for row in rows if row[0] == step]
        assert len(own) == len(expected["rows"])
        for (_, _, *known), row in zip(own, expected["rows"], strict=True):
            role, task_type, text, reward, advantage, _ = known
            assert [role, task_type, reward] == [row[0], row[1], row[3]]
            assert row[2].startswith(text)  # The oracle's text ends with the EOS token.
            assert advantage == pytest.approx(row[4], abs=1e-9)
        assert own[0][1] == pytest.approx(expected["loss"], rel=1e-4, abs=1e-7)
