"""Checkpoints are measured beside the run: pinned, told of, and ended with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from actors.benchmarker import EVALS_FOLDER, Benchmarker
from azr.benchmarks.metrics import from_metrics, to_metrics
from azr.config import EvaluationSection
from azr.types import PolicyVersion

SCORES = """
import json, pathlib, sys
share = float((pathlib.Path(sys.argv[1]) / "weights").read_text())
score = {"mean": share, "low": 0.0, "high": 1.0}
policy = {"benchmarks": [{"benchmark": "mbpp+", "pass_at": {"1": score}}], "averages": {"1": {}}}
print(json.dumps({"policies": [policy]}))
"""


@dataclass
class Recorder:
    """The store as the benchmarker knows it."""

    durable: tuple[PolicyVersion, str] | None = None
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    told: anyio.Event = field(default_factory=anyio.Event)

    async def latest_durable(self) -> tuple[PolicyVersion, str] | None:
        return self.durable

    async def record_event(self, kind: str, **facts: object) -> None:
        self.events.append((kind, facts))
        self.told.set()

    async def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        self.metrics[step] = dict(metrics)


def checkpoint(tmp_path: Path, version: int, weights: str) -> tuple[PolicyVersion, str]:
    folder = tmp_path / f"checkpoint-{version}"
    folder.mkdir()
    (folder / "weights").write_text(weights)
    return version, str(folder)


def benchmarker(tmp_path: Path, store: Recorder, script: str = SCORES) -> Benchmarker:
    def command(folder: Path) -> Sequence[str]:
        return [sys.executable, "-c", script, str(folder)]

    settings = EvaluationSection(suite_every_steps=10, suite="mbpp+")
    return Benchmarker(store=store, settings=settings, root=tmp_path, command=command)


async def told(measuring: Benchmarker, store: Recorder, version: PolicyVersion) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(measuring.run)
        measuring.notice(version)
        await store.told.wait()
        tasks.cancel_scope.cancel()


async def test_a_durable_version_is_measured_and_its_scores_are_metrics(tmp_path: Path) -> None:
    store = Recorder(checkpoint(tmp_path, 10, "0.25"))
    await told(benchmarker(tmp_path, store), store, 10)
    assert store.metrics[10]["benchmark/mbpp+"] == 0.25
    assert store.events == [("benchmarked", {"version": 10, "suite": "mbpp+"})]
    assert list((tmp_path / EVALS_FOLDER).glob("step-*")) == [], "the pinned files are let go"
    (point,) = from_metrics({name: {10: v} for name, v in store.metrics[10].items()})
    assert (point.name, point.version, point.estimate.mean) == ("mbpp+", 10, 0.25)


async def test_a_version_is_pinned_while_the_run_removes_it(tmp_path: Path) -> None:
    store = Recorder(checkpoint(tmp_path, 10, "0.5"))
    removed = f"import shutil; shutil.rmtree({store.durable and store.durable[1]!r})\n"
    await told(benchmarker(tmp_path, store, removed + SCORES), store, 10)
    assert store.metrics[10]["benchmark/mbpp+"] == 0.5
    assert not (tmp_path / "checkpoint-10").exists()


async def test_what_a_killed_run_had_pinned_is_let_go(tmp_path: Path) -> None:
    left = tmp_path / EVALS_FOLDER / "step-7"
    left.mkdir(parents=True)
    (left / "weights").write_text("0.1")
    (tmp_path / EVALS_FOLDER / "results").mkdir()
    store = Recorder(checkpoint(tmp_path, 10, "0.5"))
    await told(benchmarker(tmp_path, store), store, 10)
    assert [path.name for path in (tmp_path / EVALS_FOLDER).iterdir()] == ["results"]


async def test_a_failure_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    store = Recorder(checkpoint(tmp_path, 10, "0.5"))
    failing = "import sys; sys.exit('error: no data')"
    await told(benchmarker(tmp_path, store, failing), store, 10)
    assert store.events == [("benchmark_failed", {"version": 10, "cause": "error: no data"})]
    assert store.metrics == {}


async def test_what_is_measured_ends_with_the_run(tmp_path: Path) -> None:
    store = Recorder(checkpoint(tmp_path, 10, "0.5"))
    beat = tmp_path / "beat"
    os.mkfifo(beat)
    endless = f"import time\nopen({str(beat)!r}, 'wb').close()\ntime.sleep(10000)"
    with anyio.fail_after(100):
        async with anyio.create_task_group() as tasks:
            measuring = benchmarker(tmp_path, store, endless)
            tasks.start_soon(measuring.run)
            measuring.notice(10)
            await run_sync(beat.read_bytes)  # blocks until the other process opens it
            tasks.cancel_scope.cancel()
    assert list((tmp_path / EVALS_FOLDER).glob("step-*")) == []
    assert store.events == []


async def test_only_the_versions_whose_turn_it_is_are_measured(tmp_path: Path) -> None:
    store = Recorder(checkpoint(tmp_path, 15, "0.5"))
    measuring = benchmarker(tmp_path, store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(measuring.run)
        measuring.notice(15)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert store.events == []


def test_held_out_scores_are_metrics_too() -> None:
    score = {"split": "harder", "task_type": "mean", "decoding": "greedy", "k": 1}
    fields = {"mean": 0.5, "low": 0.4, "high": 0.6}
    other = {**score, "task_type": "deduction"}
    found = to_metrics({"policies": [{"scores": [{**score, **fields}, {**other, **fields}]}]})
    assert found == {
        "benchmark/held-out harder": 0.5,
        "benchmark/held-out harder_low": 0.4,
        "benchmark/held-out harder_high": 0.6,
    }
