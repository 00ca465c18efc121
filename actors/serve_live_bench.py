"""`azr bench serve-live`: a run that plays, the endpoint beside it, and requests in turns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from actors.serve_app import Listening
from actors.serve_driver import ANSWER_SECONDS, serving
from azr.errors import EngineError, RunDirectoryError, StoreError
from azr.progress import CPU_SECONDS_METRIC, SAMPLED_TOKENS_METRIC
from azr.run_directory import RunDirectory
from azr.serve.live_load import Load
from azr.serve.live_record import Answer, Phase, Step, Window, window
from azr.serve.target import find_target
from azr.store import queries
from azr.store.history import open_history
from azr.store.locate import of_directory

STEPS = 5_000
"""More than is ever played: the run ends when it is told to. A run asks for disk by it."""
SETTINGS = (
    # Small steps, so that a window has several; tasks and attempts as in the preset.
    "learner.batch_rollouts=8",
    "learner.solve_rollouts=32",
    "evaluation.problems_per_type=0",
)
FIRST_STEPS = 2
"""Until the run is in its stride."""
STEP_SECONDS = 1800.0
"""For one learner step, or for a run to begin, on a machine that others use too."""
STOP_SECONDS = 300.0
LOOK_SECONDS = 0.5
INTERRUPTED = 130
"""How `azr run` ends after one Ctrl-C."""

type Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    settings: Sequence[str] = ()
    """Of the run, SECTION.KEY=VALUE, beside those that make its steps small."""
    requests: int = 500
    """At least; a window goes on asking until its steps are done."""
    clients: int = 8
    max_tokens: int = 64
    windows: int = 4
    """With requests; one more has none."""
    steps: int = 4
    """Learner steps of each window."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen."""

    answers: Sequence[Answer]
    windows: Sequence[Window]
    run_ended: str
    """Empty if the run drained; else what happened."""


def measure(plan: Plan, *, preset: str, folder: Path, tell: Tell) -> Found:
    """Start a run in `folder`, load its endpoint in turns, and drain it.

    Raises EngineError if the run does not play, or stands still.
    """
    directory = RunDirectory(folder / "run")
    answers: list[Answer] = []
    with _playing(plan, preset, directory) as run:
        tell(f"starting a run in {directory.root}")
        turns = _Turns(plan, directory, run, answers, tell)
        anyio.run(turns.begun)
        tell("starting the endpoint")
        target = find_target(str(directory.root), preset=preset, overrides=[])
        at = Listening(host="127.0.0.1", port=0, key=None, access_log=None)
        with serving(target, at, run_root=directory.root.absolute(), ray_address="") as door:
            port = door.port.remote().result(timeout_s=ANSWER_SECONDS)
            tell(f"asking http://127.0.0.1:{port}")
            anyio.run(turns.take, f"http://127.0.0.1:{port}")
        tell("stopping")
        run_ended = _drained(run, directory)
    steps = read_steps(directory)
    return Found(answers, [window(phase, steps) for phase in turns.phases], run_ended)


@dataclass(eq=False)
class _Turns:
    """The phases of one measurement, as they pass."""

    plan: Plan
    directory: RunDirectory
    run: subprocess.Popen[bytes]
    answers: list[Answer]
    tell: Tell
    phases: list[Phase] = field(default_factory=list)

    async def begun(self) -> None:
        """Wait until the run is in its stride."""
        await self._until_committed(FIRST_STEPS)

    async def take(self, url: str) -> None:
        """All phases; the first and the last are without requests."""
        load = Load(
            url,
            clients=self.plan.clients,
            max_tokens=self.plan.max_tokens,
            answers=self.answers,
        )
        await load.warm_up()
        await self._phase(None, 0)
        for number in range(1, self.plan.windows + 1):
            await self._phase(load, self.plan.requests * number // self.plan.windows)
            await self._phase(None, 0)

    async def _phase(self, load: Load | None, wanted: int) -> None:
        """Until its steps are committed, and so many answers are there in all."""
        began_at, base = time.time(), await run_sync(self._committed)
        self.tell(f"{'requests' if load else 'no requests'}, from step {base}")
        enough = anyio.Event()
        async with anyio.create_task_group() as tasks:
            if load is not None:
                tasks.start_soon(load.until, enough)
            await self._until_committed(base + self.plan.steps + 1)
            while load is not None and len(self.answers) < wanted:
                self._require_playing()
                await anyio.sleep(LOOK_SECONDS)
            ended_at = time.time()
            enough.set()
        self.phases.append(Phase(load is not None, began_at, ended_at))

    async def _until_committed(self, step: int) -> None:
        """Raises EngineError if the run ends, or makes no step for too long."""
        while (seen := await run_sync(self._committed)) < step:
            with anyio.move_on_after(STEP_SECONDS):
                while await run_sync(self._committed) == seen:
                    self._require_playing()
                    await anyio.sleep(LOOK_SECONDS)
                continue
            raise EngineError(f"the run made no step within {STEP_SECONDS:g} s")

    def _require_playing(self) -> None:
        if self.run.poll() is not None:
            raise EngineError(
                f"the run ended with exit code {self.run.returncode}: ...{_said(self.directory)}",
                hint=f"Its logs are in {self.directory.logs}.",
            )

    def _committed(self) -> int:
        """The last step; 0 also before there is a database."""
        try:
            with open_history(of_directory(self.directory)) as history:
                steps = queries.steps(history)
        except (StoreError, RunDirectoryError):
            return 0
        return steps[-1].step if steps else 0


def read_steps(directory: RunDirectory) -> list[Step]:
    """What the run's database has of each."""
    with open_history(of_directory(directory)) as history:
        rows: Counter[int] = Counter()
        for cell in queries.cell_steps(history):
            rows[cell.step] += cell.num_rollouts
        return [
            Step(
                committed_at=step.committed_at,
                num_rollouts=rows[step.step],
                sampled_tokens=step.metrics[SAMPLED_TOKENS_METRIC],
                cpu_seconds=step.metrics[CPU_SECONDS_METRIC],
            )
            for step in queries.steps(history)
        ]


@contextmanager
def _playing(
    plan: Plan, preset: str, directory: RunDirectory
) -> Generator[subprocess.Popen[bytes]]:
    """`azr run` in a process of its own; killed with its group if the block ends before it."""
    overrides = [word for setting in (*SETTINGS, *plan.settings) for word in ("--set", setting)]
    directory.root.mkdir(parents=True)
    words = [sys.executable, "-m", "azr", "run", preset, "--run-dir", str(directory.root)]
    with _log(directory).open("wb") as output:
        run = subprocess.Popen(  # noqa: S603 -- a fixed program
            [*words, "--steps", str(STEPS), *overrides],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield run
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def _drained(run: subprocess.Popen[bytes], directory: RunDirectory) -> str:
    """Tell it to stop; empty if it ended as it should, else what happened."""
    if run.poll() is None:
        run.send_signal(signal.SIGINT)
    try:
        code = run.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return f"it did not drain within {STOP_SECONDS:g} s"
    return "" if code == INTERRUPTED else f"exit code {code}: ...{_said(directory)}"


def _log(directory: RunDirectory) -> Path:
    return directory.root.parent / "run.log"


def _said(directory: RunDirectory) -> str:
    return " ".join(_log(directory).read_text(errors="replace").split())[-500:]
