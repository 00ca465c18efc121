"""`azr serve` and `azr ask`, with real models in real processes, to their ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.serve.commands import (
    STOP_SECONDS,
    Started,
    command,
    completed,
    started,
    streaming,
    url_of,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

LONG_TOKENS = 480
"""Of an answer in whose midst something happens."""
SMALL_RUN = [
    *("--set", "learner.batch_rollouts=4", "--set", "learner.solve_rollouts=0"),
    *("--set", "selfplay.seed_batches=2", "--set", "evaluation.problems_per_type=0"),
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Of the tiny model; the last test of this file ends it."""
    log = tmp_path_factory.mktemp("serve-command") / "serve.log"
    with started(log, "serve", "tiny", "--port", "0", "--set", "serve.drain_seconds=120") as it:
        yield it


def asked(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("ask", "--url", url, "--max-tokens", "8", *words),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_ask_writes_an_answer_and_names_the_policy(endpoint: Started):
    found = asked(url_of(endpoint), "What is 2 + 2?")
    assert found.returncode == 0, found.stderr
    assert found.stdout
    assert "policy v0, serve-" in found.stderr


def test_a_replica_that_is_killed_under_its_requests_is_replaced(endpoint: Started):
    url = url_of(endpoint)
    [replica] = endpoint.replicas()
    with ThreadPoolExecutor() as threads, streaming(url, tokens=LONG_TOKENS) as stream:
        whole = threads.submit(completed, url, tokens=LONG_TOKENS)
        wait_until(lambda: in_flight(url) == 2, what="second request")
        assert replica.send(signal.SIGKILL)
        *_, last = stream.rest()
        assert last["error"]["code"] == "unavailable"
        answer = whole.result()  # it had no answer yet: it is asked again, or told to come back
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
    after = completed(url, tokens=4)
    assert after.status_code == 200, after.text
    assert after.headers["x-azr-replica"] != stream.answer.headers["x-azr-replica"]
    [other] = endpoint.replicas()
    assert other.pid != replica.pid


def in_flight(url: str) -> int:
    return httpx.get(f"{url}/v1/azr/status", timeout=60).json()["in_flight"]


def test_sigterm_lets_a_stream_end_and_then_stops(endpoint: Started):
    url = url_of(endpoint)
    with streaming(url, tokens=LONG_TOKENS) as stream:
        endpoint.process.send_signal(signal.SIGTERM)
        events = stream.rest()
    assert not any("error" in event for event in events)
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert endpoint.process.wait(STOP_SECONDS) == 0, endpoint.said
    assert endpoint.said.splitlines()[-1] == "stopped", endpoint.said


def test_beside_a_live_run_it_answers_and_leaves_without_a_word(tmp_path: Path):
    run_dir = tmp_path / "run"
    playing = ("run", "--run-dir", run_dir, "--steps", "100000", *SMALL_RUN)
    with started(tmp_path / "run.log", *playing) as run:
        run.until_said(r"self-play begins")
        with started(tmp_path / "serve.log", "serve", run_dir, "--port", "0") as served:
            found = asked(url_of(served), "What is 2 + 2?")
            assert found.returncode == 0, found.stderr
            assert "replica-1" in found.stderr
            assert served.ended(by=signal.SIGTERM) == 0
            first, ready, last = served.said.splitlines()
            assert "by the replicas of the live run" in first
            assert ready.startswith("ready:")
            assert last == "stopped"
        assert run.process.poll() is None  # it plays on
        assert run.ended(by=signal.SIGINT) == 130, run.said
