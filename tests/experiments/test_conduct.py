"""What is finished is not done again, and what is cut short is continued.

The commands of a trial are scripted here by a small program that leaves the files that
`azr run` and `azr eval` leave; tests/e2e does it with the real ones.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from azr.errors import AzrError, InputError
from azr.evals.problems import held_out_suite
from azr.experiments import children, results
from azr.experiments.conduct import Experiment
from azr.experiments.harvest import Used
from azr.experiments.plans import Plan

SCRIPT = """
import json, pathlib, sys
calls, problems, words = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
with calls.open("a") as file:
    file.write(" ".join(words) + "\\n")
option = lambda name, default: words[words.index(name) + 1] if name in words else default
failing = calls.parent / f"fail-{words[0]}"
if failing.exists():
    print("it broke")
    code = failing.read_text()
    if code == "once":
        failing.unlink()
    sys.exit(1 if code == "once" else int(code))
if words[0] == "pretrain":
    (pathlib.Path(words[1]) / "model").mkdir(parents=True, exist_ok=True)
    told = json.dumps({"tokens": 1000, "seconds": 60.0})
    (pathlib.Path(words[1]) / "progress.json").write_text(told)
if words[0] == "eval":
    out = pathlib.Path(option("--out", ""))
    out.mkdir(parents=True)
    chosen = [name for name in problems if int(name.rpartition("/")[2]) < int(option("--limit", 9))]
    kinds = ["greedy"] + ["sampled"] * int(option("--samples", 0))
    rows = [{"version": 0, "problem": name, "decoding": kind, "solved": True}
            for name in chosen for kind in kinds]
    (out / "attempts.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
    (out / "scores.json").write_text("{}")
"""


class Notes:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def show(self, text: str) -> None:
        pass


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Base and pretraining, whose commands are the script above."""
    problems = json.dumps([problem.problem_id for problem in held_out_suite().problems])

    def scripted(*words: str | Path) -> list[str]:
        return [sys.executable, "-c", SCRIPT, str(tmp_path / "calls"), problems, *map(str, words)]

    monkeypatch.setattr(children, "azr", scripted)
    plan = Plan(
        name="scripted",
        about="for tests",
        seeds={"base": (0,), "more-pretraining": (0,)},
        minutes=1,
        curve_per_type=1,
        suite_per_type=2,
        samples=1,
    )
    return Experiment(plan=plan, work=tmp_path / "work", results=tmp_path / "out", view=Notes())


def calls(experiment: Experiment) -> list[str]:
    """The commands so far, by name."""
    path = experiment.work.parent / "calls"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def fail(experiment: Experiment, command: str, code: int) -> Path:
    marker = experiment.work.parent / f"fail-{command}"
    marker.write_text(str(code))
    return marker


def test_a_finished_experiment_is_not_done_again(experiment: Experiment):
    assert experiment.conduct() == []
    assert calls(experiment) == ["eval", "pretrain", "eval"]
    (base, trained) = results.read_all(experiment.results)
    assert (base.arm, trained.arm, trained.tokens) == ("base", "more-pretraining", 1000)
    assert base.final.greedy == "1" * 12
    assert [len(point.outcomes.greedy) for point in trained.curve] == [6, 6]
    assert experiment.conduct() == []
    assert len(calls(experiment)) == 3


def test_results_alone_are_enough_on_another_machine(experiment: Experiment, tmp_path: Path):
    experiment.conduct()
    elsewhere = replace(experiment, work=tmp_path / "elsewhere")
    assert elsewhere.conduct() == []
    assert len(calls(experiment)) == 3


def test_an_interrupted_trial_goes_on_where_it_stopped(experiment: Experiment):
    marker = fail(experiment, "pretrain", 130)
    with pytest.raises(KeyboardInterrupt):
        experiment.conduct()
    marker.unlink()
    marker = fail(experiment, "eval", 130)
    (experiment.work / "more-pretraining-seed0" / "final").mkdir()
    with pytest.raises(KeyboardInterrupt):
        experiment.conduct()
    marker.unlink()
    assert experiment.conduct() == []
    assert calls(experiment) == ["eval", "pretrain", "pretrain", "eval", "eval"]
    used = Used.read(experiment.work / "more-pretraining-seed0" / "pretraining.used.json")
    assert (used.finished, used.starts) == (True, 2)


def test_a_command_that_fails_once_is_resumed_at_once(experiment: Experiment):
    (experiment.work.parent / "fail-pretrain").write_text("once")
    assert experiment.conduct() == []
    assert calls(experiment) == ["eval", "pretrain", "pretrain", "eval"]


def test_a_failed_trial_is_recorded_and_tried_again(experiment: Experiment):
    marker = fail(experiment, "pretrain", 3)
    (failure,) = experiment.conduct()
    assert failure.arm == "more-pretraining"
    assert "ended with 3: it broke" in failure.reason
    assert results.read_failures(experiment.results) == [failure]
    marker.unlink()
    assert experiment.conduct() == []
    assert results.read_failures(experiment.results) == []


def test_without_a_base_there_is_no_experiment(experiment: Experiment):
    fail(experiment, "eval", 3)
    with pytest.raises(AzrError, match="it broke"):
        experiment.conduct()


def test_a_result_of_other_settings_does_not_pass_for_this_one(experiment: Experiment):
    experiment.conduct()
    longer = replace(experiment, plan=replace(experiment.plan, minutes=2))
    with pytest.raises(InputError, match=r"holds a result of other settings.*\(1 min\)"):
        longer.conduct()


@pytest.mark.parametrize("heeded", [True, False], ids=["foreground", "background"])
def test_a_child_that_is_too_slow_is_stopped(tmp_path: Path, *, heeded: bool):
    handler = signal.default_int_handler if heeded else signal.SIG_IGN
    before = signal.signal(signal.SIGINT, handler)
    words = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]
    try:
        with pytest.raises(children.ChildFailedError, match="was stopped after 5 s"):
            children.run(words, tmp_path / "log", deadline_seconds=5)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()
