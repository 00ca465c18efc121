"""Doing an experiment: trial after trial, each in stages that are not repeated.

A trial's folder holds its run (or its pretraining), its evaluations and its log. What
is finished there is kept: an interrupted run resumes, an interrupted evaluation starts
again, a written result ends the trial for good, also on another machine.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from azr import config_files
from azr.errors import AzrError
from azr.experiments import children, results
from azr.experiments.arms import Kind
from azr.experiments.harvest import Harvest, Used
from azr.experiments.measured import is_measured, num_attempts
from azr.experiments.plans import ENOUGH_STEPS, Plan, Trial
from azr.experiments.progress import ExperimentView, run_position, time_left
from azr.experiments.results import TrialResult
from azr.play_time import SECONDS_PER_MINUTE
from azr.run_directory import RunDirectory

CHECKPOINT_PREFIX = "step-"
SLACK_SECONDS = 3600.0
"""Beyond its budget a child may need this long to start, seed, drain and stop."""
SECONDS_PER_STEP = 600.0
"""Bounds a run that has no limit in minutes."""
GENERATED_TASKS = 2000
"""Of each type, for arms that are given theirs."""
MEASURING_SECONDS = 4 * 3600.0
"""Bounds an evaluation, on machines far slower than a laptop."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A plan, where its files go, and who is told."""

    plan: Plan
    work: Path
    """Runs, checkpoints and logs; can be deleted when all results are in."""
    results: Path
    """The JSON files that stay."""
    view: ExperimentView

    def conduct(self) -> list[results.Failure]:
        """Do every trial that has no result; returns the failures of this invocation.

        Raises AzrError if there is no base to compare with, or for a result of other
        settings; KeyboardInterrupt on Ctrl-C, with everything resumable.
        """
        trials = self.plan.trials()
        known = {trial.name: results.finished(trial, self.results) for trial in trials}
        waiting = [trial for trial in trials if known[trial.name] is None]
        self.view.note(f"{len(trials) - len(waiting)} of {len(trials)} trials are done already")
        base = known[trials[0].name]
        failures: list[results.Failure] = []
        for index, trial in enumerate(waiting):
            one = OneTrial(experiment=self, trial=trial, waiting=waiting[index + 1 :], base=base)
            outcome = one.attempt()
            if isinstance(outcome, results.Failure):
                failures.append(outcome)
            elif trial.arm.kind is Kind.BASE:
                base = outcome
        return failures


@dataclass(kw_only=True)
class OneTrial:
    """One arm with one seed, from its settings to its result."""

    experiment: Experiment
    trial: Trial
    waiting: Sequence[Trial]
    base: TrialResult | None

    def __post_init__(self) -> None:
        self.folder = self.experiment.work / self.trial.name
        self.run = RunDirectory(self.folder / "run")
        self.log = self.folder / "output.log"
        self._started = time.monotonic()

    def attempt(self) -> TrialResult | results.Failure:
        """Do it, and write the result, or why there is none; without a base, raise."""
        view, trial, folder = self.experiment.view, self.trial, self.experiment.results
        view.note(f"{trial.name}: {trial.arm.question}")
        try:
            result = self._done()
        except AzrError as error:
            if trial.arm.kind is Kind.BASE:
                raise
            failure = results.Failure(
                arm=trial.arm.name, seed=trial.seed, reason=str(error), log=str(self.log)
            )
            results.write(failure, results.failure_path_of(trial, folder))
            view.note(f"{trial.name} failed: {error}")
            return failure
        results.write(result, results.path_of(trial, folder))
        results.failure_path_of(trial, folder).unlink(missing_ok=True)
        self._forget_checkpoints()
        view.note(f"{trial.name}: done in {self._seconds / SECONDS_PER_MINUTE:.1f} min")
        return result

    def _done(self) -> TrialResult:
        harvest = Harvest(trial=self.trial, run=self.run, folder=self.folder)
        if self.trial.arm.kind is Kind.BASE:
            final = self._measure("final", self._model(), self._whole())
            return harvest.base(final)
        if self.base is None:
            raise AzrError("the base has no result", hint="It is measured first.")
        if self.trial.arm.kind is Kind.PRETRAINING:
            used = self._train("pretraining", self._pretraining)
            model = str(self.folder / "pretraining" / "model")
            return harvest.pretrained(self.base, self._measure("final", model, self._whole()), used)
        used = self._train("run", self._playing)
        steps = self._checkpoints()
        last = str(max(steps, default=0))
        run = str(self.run.root)
        curve = self._measure("curve", run, [*self._some(), "--checkpoint", self._spread(steps)])
        final = self._measure("final", run, [*self._whole(), "--checkpoint", last])
        return harvest.played(self.base, curve, final, used)

    # Training

    def _playing(self) -> list[str]:
        """`azr run`, or its resumption; the seed file is written before the first start."""
        if self.run.holds_run():
            return children.azr("run", "--resume", self.run.root)
        plan, trial = self.experiment.plan, self.trial
        settings = [
            "evaluation.problems_per_type=0",
            "learner.keep_checkpoints=100000",
            f"learner.checkpoint_every_steps={plan.checkpoint_every_steps}",
        ]
        if trial.minutes:
            settings += [f"run.steps={ENOUGH_STEPS}", f"run.minutes={trial.minutes}"]
        settings += trial.settings
        settings.append(f"run.seed={trial.seed}")
        if trial.arm.needs_generator_tasks:
            settings.append(f'selfplay.seed_file="{self._seed_file()}"')
        return children.azr("run", plan.preset, "--run-dir", self.run.root, *_overrides(settings))

    def _pretraining(self) -> list[str]:
        seed = 1 + self.trial.seed  # stream 0 is what the shipped weights were trained on
        return children.azr(
            "pretrain", self.folder / "pretraining", "--resume", "--from", self._model(),
            "--minutes", str(self.trial.minutes or 0.1), "--seed", str(seed),
        )  # fmt: skip

    def _train(self, name: str, command: Callable[[], list[str]]) -> Used:
        """Train unless that was finished before; a command that fails is resumed once.

        Returns what it used, all in all.
        """
        ledger = self.folder / f"{name}.used.json"
        if Used.read(ledger).finished:
            return Used.read(ledger)
        try:
            return self._start(name, command(), ledger)
        except children.ChildFailedError as error:
            self.experiment.view.note(f"{self.trial.name}: {error}; once more")
            return self._start(name, command(), ledger)

    def _start(self, name: str, words: list[str], ledger: Path) -> Used:
        limit = self.trial.minutes * SECONDS_PER_MINUTE
        if not limit:
            limit = self.experiment.plan.config(self.trial.arm).run.steps * SECONDS_PER_STEP
        children.run(
            words,
            self.log,
            deadline_seconds=limit + SLACK_SECONDS,
            on_tick=self._tell(name),
            on_usage=lambda usage: Used.read(ledger).plus(usage).write(ledger),
        )
        return Used.read(ledger)

    def _seed_file(self) -> Path:
        """The generator's tasks; all seeds learn from the same ones."""
        path = (self.experiment.work / "generator-tasks.jsonl").resolve()
        if not path.exists():
            partial = path.with_name("partial-" + path.name)
            partial.unlink(missing_ok=True)
            pairs = self.experiment.plan.config(self.trial.arm).selfplay.induction_pairs
            words = children.azr(
                "tasks", "generate", partial, "--count", str(GENERATED_TASKS), "--pairs", str(pairs)
            )
            children.run(words, self.log, deadline_seconds=SLACK_SECONDS)
            partial.replace(path)
        return path

    # Measuring

    def _measure(self, name: str, subject: str, options: list[str]) -> Path:
        """`azr eval`, unless it was finished before; the folder of its figures."""
        out = self.folder / name
        if is_measured(out):
            return out
        shutil.rmtree(out, ignore_errors=True)
        words = children.azr("eval", subject, "--out", out, *options)
        if not RunDirectory(Path(subject)).holds_run():  # a run brings its settings
            words += ["--config", self.experiment.plan.preset]
            words += _overrides(self.experiment.plan.settings)
        children.run(words, self.log, deadline_seconds=MEASURING_SECONDS, on_tick=self._tell(name))
        return out

    def _whole(self) -> list[str]:
        plan = self.experiment.plan
        return ["--samples", str(plan.samples), *_limit(plan.suite_per_type)]

    def _some(self) -> list[str]:
        return ["--samples", "0", *_limit(self.experiment.plan.curve_per_type)]

    def _checkpoints(self) -> list[int]:
        """Steps that the run kept."""
        names = (path.name for path in self.run.checkpoints.glob(f"{CHECKPOINT_PREFIX}*"))
        numbers = (name.removeprefix(CHECKPOINT_PREFIX) for name in names)
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _spread(self, steps: Sequence[int]) -> str:
        """`--checkpoint` for about as many points as the plan wants."""
        if len(steps) <= self.experiment.plan.curve_points:
            return "all"
        grain = config_files.load(self.run.config).learner.checkpoint_every_steps
        every = max(1, round(steps[-1] / self.experiment.plan.curve_points / grain))
        return f"every:{every * grain}"

    def _model(self) -> str:
        return self.experiment.plan.config(self.trial.arm).run.model

    # Afterwards, and meanwhile

    def _forget_checkpoints(self) -> None:
        """All but the newest: they were measured, and take most of the space."""
        for step in self._checkpoints()[:-1]:
            shutil.rmtree(self.run.checkpoints / f"{CHECKPOINT_PREFIX}{step:06}")

    def _tell(self, stage: str) -> Callable[[], None]:
        def tell() -> None:
            if stage == "run":
                where = run_position(self.run.metrics, self.trial.minutes)
            elif stage == "pretraining":
                where = "pretraining"
            else:
                where = f"measuring, {num_attempts(self.folder / stage):,} answers"
            left = time_left(self._seconds, self.trial, self.waiting)
            self.experiment.view.show(f"{self.trial.name}: {where} | {left}")

        return tell

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started


def _overrides(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def _limit(per_type: int | None) -> list[str]:
    return [] if per_type is None else ["--limit", str(per_type)]
