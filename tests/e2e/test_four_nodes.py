"""`azr run --nodes 4` on a Ray cluster of four raylets, with PostgreSQL: who did what, in SQL."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from azr.store.health import examine
from azr.store.history import open_history
from azr.store.private_server import private_server
from tests.e2e.conftest import BATCH_ROLLOUTS, SMALL, command, overrides
from tests.e2e.raylets import raylets

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STEPS = 10
RUN_SECONDS = 800.0


@dataclass(frozen=True, slots=True)
class FourNodes:
    """A finished run of four nodes."""

    directory: Path
    url: str
    output: str

    def query(self, sql: str) -> list[tuple]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql.encode()).fetchall()


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Generator[FourNodes]:
    directory = tmp_path_factory.mktemp("four") / "run"
    with private_server() as server, raylets(4) as cluster:
        url = server.create("history")
        words = command(
            "run", "--nodes", "4", "--ray-address", cluster.address, "--db", url,
            "--run-dir", directory, "--steps", str(STEPS),
        )  # fmt: skip
        finished = subprocess.run(
            [*words, *overrides(SMALL)],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
            env=os.environ | cluster.environment,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        yield FourNodes(directory, url, finished.stdout)


def test_the_run_takes_all_its_steps_and_trains_every_row_once(four: FourNodes):
    ((steps,),) = four.query("select count(*) from learner_step where state = 'live'")
    ((rows, different),) = four.query(
        "select count(*), count(distinct rollout_id) from batch_row where live"
    )
    assert steps == STEPS
    assert rows == different == STEPS * 6 * BATCH_ROLLOUTS
    with open_history(four.url) as history:
        assert [finding for finding in examine(history) if not finding.is_well] == []


def test_four_nodes_played_on_four_raylets(four: FourNodes):
    nodes = four.query("select name, machine, state from node order by name")
    assert [name for name, *_ in nodes] == ["node-1", "node-2", "node-3", "node-4"]
    assert len({machine for _, machine, _ in nodes}) == 4
    assert {state for *_, state in nodes} == {"ended"}


def test_every_replica_sampled_rollouts_that_were_trained_on(four: FourNodes):
    sampled = dict(
        four.query(
            "select n.name, count(*) from rollout r join node n on n.node_id = r.sampled_by"
            " where r.state = 'trained' group by 1"
        )
    )
    assert set(sampled) == {"node-1", "node-2", "node-3", "node-4"}


def test_every_node_validated_tasks(four: FourNodes):
    examined = dict(
        four.query(
            "select n.name, count(*) from task t join rollout r on r.rollout_id = t.proposal_id"
            " join node n on n.node_id = r.judged_by group by 1"
        )
    )
    assert set(examined) == {"node-1", "node-2", "node-3", "node-4"}


def test_every_replica_proved_versions_in_order(four: FourNodes):
    proofs = four.query(
        "select replica, version from replica_proof where accepted order by proof_id"
    )
    assert {replica for replica, _ in proofs} == {f"replica-{number}" for number in (1, 2, 3, 4)}
    for name in {replica for replica, _ in proofs}:
        versions = [version for replica, version in proofs if replica == name]
        assert versions == sorted(versions)


def test_staleness_stays_within_the_bound(four: FourNodes):
    ((least, most),) = four.query("select min(staleness), max(staleness) from batch_row")
    assert 0 <= least <= most <= 2
