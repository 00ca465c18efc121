"""A real run on a PostgreSQL server that goes away in the middle and comes back."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psycopg
import pytest

from azr.store.health import examine
from azr.store.history import open_history
from azr.store.private_server import private_server
from tests.e2e.conftest import (
    BATCH_ROLLOUTS,
    RUN_SECONDS,
    SMALL,
    command,
    overrides,
    playing,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

STEPS = 6
AWAY_SECONDS = 3.0


def committed_steps(url: str) -> int:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(
                "select count(*) from learner_step where state = 'live'"
            ).fetchone()
    except psycopg.Error:  # the tables are not there yet
        return 0
    return row[0] if row else 0


def test_a_run_outlives_an_outage_of_its_database_server(tmp_path: Path):
    with private_server() as server:
        url = server.create("history")
        words = command("run", "--run-dir", tmp_path / "run", "--db", url, "--steps", str(STEPS))
        log = tmp_path / "run.log"
        settings = [*SMALL, "evaluation.problems_per_type=1"]
        with playing([*words, *overrides(settings)], log) as driver:
            wait_until(lambda: committed_steps(url) >= 2, what="second step")
            server.stop(signal.SIGKILL)
            time.sleep(AWAY_SECONDS)  # the outage itself
            server.start_after_crash()
            assert driver.wait(timeout=RUN_SECONDS) == 0, log.read_text()
        assert committed_steps(url) == STEPS
        with open_history(url) as history:
            assert [finding for finding in examine(history) if not finding.is_well] == []
        with psycopg.connect(url) as connection:
            counts = connection.execute(
                "select count(*), count(distinct rollout_id) from batch_row where live"
            ).fetchone()
        assert counts == (STEPS * 6 * BATCH_ROLLOUTS,) * 2
        assert "policy v6" in log.read_text()
