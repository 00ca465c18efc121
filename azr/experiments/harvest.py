"""From what a trial's commands left behind to its result."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from azr.errors import InputError
from azr.evals.problems import held_out_suite
from azr.experiments.arms import Kind
from azr.experiments.children import Usage
from azr.experiments.machine import this_machine
from azr.experiments.measured import read_outcomes, suite_name
from azr.experiments.plans import Trial
from azr.experiments.results import CurvePoint, Outcomes, TrialResult
from azr.experiments.trace import Moment, Played, read_played
from azr.run_directory import RunDirectory
from azr.store.locate import of_directory
from azr.types import PolicyVersion

PRETRAINING_PROGRESS = "progress.json"
"""As `azr.tiny.pretrain` writes it; not imported, because that loads torch."""


@dataclass(frozen=True, slots=True)
class Used:
    """What training has used so far, over its restarts."""

    finished: bool = False
    seconds: float = 0.0
    cpu_seconds: float | None = 0.0
    """None where it cannot be measured."""
    starts: int = 0

    @classmethod
    def read(cls, path: Path) -> Used:
        """What was written there; nothing if nothing was. Raises InputError."""
        if not path.exists():
            return cls()
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged: {error}", hint="Remove it.") from error

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(path.name + ".new")
        scratch.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        scratch.replace(path)

    def plus(self, usage: Usage) -> Used:
        """With one more start, however that ended."""
        known = self.cpu_seconds is not None and usage.cpu_seconds is not None
        return Used(
            finished=usage.finished,
            seconds=self.seconds + usage.seconds,
            cpu_seconds=(self.cpu_seconds or 0) + (usage.cpu_seconds or 0) if known else None,
            starts=self.starts + 1,
        )


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """Makes the results of one trial."""

    trial: Trial
    run: RunDirectory
    folder: Path

    def base(self, final: Path) -> TrialResult:
        """The model before any training; its answers are every curve's first point."""
        outcomes = self._final(final)[0]
        point = CurvePoint(step=0, tokens=0, played_seconds=0.0, outcomes=self._first(outcomes))
        return self._result(Moment(step=0, tokens=0, played_seconds=0), (point,), outcomes, None)

    def pretrained(self, base: TrialResult, final: Path, used: Used) -> TrialResult:
        """Two points: nothing is kept in between."""
        outcomes = self._final(final)[0]
        told = json.loads((self.folder / "pretraining" / PRETRAINING_PROGRESS).read_text("utf-8"))
        end = Moment(step=0, tokens=told["tokens"], played_seconds=told["seconds"])
        last = self._point(end, self._first(outcomes))
        return self._result(end, (base.curve[0], last), outcomes, used)

    def played(self, base: TrialResult, curve: Path, final: Path, used: Used) -> TrialResult:
        """A run: its database, and its checkpoints as they were measured."""
        course = read_played(of_directory(self.run))
        measured = read_outcomes(curve, per_type=self.trial.plan.curve_per_type, samples=0)
        points = tuple(
            self._point(course.at(step), outcomes) for step, outcomes in measured.items() if step
        )
        ((last, outcomes),) = self._final(final).items()
        end = self._end(course, last)
        return self._result(end, (base.curve[0], *points), outcomes, used, course)

    def _end(self, course: Played, last: PolicyVersion) -> Moment:
        if last and course.at(last).step != last:
            raise InputError(f"{self.run.root} has no record of step {last}")
        return course.at(last)

    def _final(self, folder: Path) -> dict[PolicyVersion, Outcomes]:
        plan = self.trial.plan
        return read_outcomes(folder, per_type=plan.suite_per_type, samples=plan.samples)

    def _first(self, whole: Outcomes) -> Outcomes:
        """The greedy answers to the problems of a curve, out of all of them."""
        suite = held_out_suite()
        wanted = {
            problem.problem_id for problem in suite.select(per_type=self.trial.plan.curve_per_type)
        }
        asked = suite.select(per_type=whole.per_type)
        kept = [
            mark
            for mark, problem in zip(whole.greedy, asked, strict=True)
            if problem.problem_id in wanted
        ]
        return Outcomes(per_type=self.trial.plan.curve_per_type, greedy="".join(kept))

    @staticmethod
    def _point(moment: Moment, outcomes: Outcomes) -> CurvePoint:
        return CurvePoint(
            step=moment.step,
            tokens=moment.tokens,
            played_seconds=moment.played_seconds,
            outcomes=outcomes,
        )

    def _result(
        self,
        end: Moment,
        curve: tuple[CurvePoint, ...],
        final: Outcomes,
        used: Used | None,
        course: Played | None = None,
    ) -> TrialResult:
        trial = self.trial
        is_run = trial.arm.kind is Kind.RUN
        config = trial.plan.config(trial.arm).model_dump(mode="json")
        return TrialResult(
            arm=trial.arm.name,
            seed=trial.seed,
            minutes=trial.minutes,
            preset=trial.plan.preset,
            settings=trial.settings,
            config=config if is_run else {"run": {"model": config["run"]["model"]}},
            suite=suite_name(),
            steps=end.step,
            played_seconds=round(end.played_seconds, 1),
            cpu_seconds=None
            if used is None or used.cpu_seconds is None
            else round(used.cpu_seconds),
            tokens=end.tokens,
            curve=curve,
            final=final,
            trace=course.trace if course else {},
            findings=course.findings if course else (),
            machine=this_machine(),
            finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
