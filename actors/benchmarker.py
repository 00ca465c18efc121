"""The benchmarker: measures checkpoints beside the run, in a process of their own.

A version is pinned by its files: the checkpoint's are linked into a folder before the
run can remove them, and another engine is opened on that folder. It has the lowest
priority, a GPU only if it was given one, and no part in the run's queues; nobody waits
for it. While one version is measured, newer ones wait, and only the newest of them is
measured next.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
from anyio.abc import ByteReceiveStream
from anyio.to_thread import run_sync

from azr.benchmarks.metrics import to_metrics
from azr.config import EvaluationSection
from azr.errors import StoreError
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

EVALS_FOLDER = "evals/background"
_PINNED = "step-"
_LAST_WORDS_CHARS = 500


class History(Protocol):
    """What it needs of the store."""

    async def latest_durable(self) -> tuple[PolicyVersion, str] | None: ...

    async def record_event(self, kind: str, **facts: object) -> None: ...

    async def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None: ...


type Command = Callable[[Path], Sequence[str]]
"""What measures the model in a folder, and prints its scores as JSON."""


@dataclass(kw_only=True, eq=False)
class Benchmarker:
    """Measures every `suite_every_steps`-th version that is durable, until cancelled."""

    store: History
    settings: EvaluationSection
    root: Path
    """The run directory."""
    command: Command
    _due: anyio.Event = field(default_factory=anyio.Event)
    _measured: PolicyVersion = 0

    def notice(self, version: PolicyVersion) -> None:
        """A version was committed, and is durable if its turn had come."""
        every = self.settings.suite_every_steps
        if every and version % every == 0:
            self._due.set()

    async def run(self) -> None:
        """Measure the newest version whenever one is due."""
        await run_sync(_let_go, self.root / EVALS_FOLDER)
        while True:
            await self._due.wait()
            self._due = anyio.Event()
            try:
                durable = await self.store.latest_durable()
            except StoreError as error:  # the next version that is due brings the next look
                log.warning("no checkpoint was found", extra={"cause": str(error)})
                continue
            if durable is not None and durable[0] > self._measured:
                self._measured, folder = durable
                await self._measure(self._measured, Path(folder))

    async def _measure(self, version: PolicyVersion, checkpoint: Path) -> None:
        """Record the scores of a checkpoint; a failure is told and costs nothing else."""
        pinned = self.root / EVALS_FOLDER / f"{_PINNED}{version}"
        suite = self.settings.suite
        try:
            await run_sync(_pin, checkpoint, pinned)
            with anyio.fail_after(self.settings.suite_timeout_seconds):
                metrics = to_metrics(json.loads(await self._output(pinned)))
            await self.store.record_metrics(version, metrics)
            await self.store.record_event("benchmarked", version=version, suite=suite)
        except TimeoutError:
            await self._tell(version, "it took longer than evaluation.suite_timeout_seconds")
        except (OSError, ValueError, StoreError) as error:
            await self._tell(version, str(error))
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(_let_go, pinned.parent)

    async def _tell(self, version: PolicyVersion, cause: str) -> None:
        log.warning("a checkpoint was not measured", extra={"version": version, "cause": cause})
        with suppress(StoreError):
            await self.store.record_event("benchmark_failed", version=version, cause=cause)

    async def _output(self, folder: Path) -> str:
        """What the command prints. ValueError with its last words if it fails."""
        environment = dict(os.environ)
        if self.settings.suite_gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.settings.suite_gpus
        process = await anyio.open_process(
            _modest(self.command(folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        try:
            out, err = bytearray(), bytearray()
            async with anyio.create_task_group() as pipes:
                for stream, into in ((process.stdout, out), (process.stderr, err)):
                    pipes.start_soon(_drain, stream, into)
            if await process.wait() != 0:
                raise ValueError(err.decode(errors="replace").strip()[-_LAST_WORDS_CHARS:])
            return out.decode(errors="replace")
        finally:
            with anyio.CancelScope(shield=True):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.aclose()


async def _drain(stream: ByteReceiveStream | None, into: bytearray) -> None:
    if stream is None:
        return
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for piece in stream:
            into += piece


def evaluation_command(settings: EvaluationSection, root: Path, config: Path) -> Command:
    """`azr eval` of a folder, on the settings' suite."""

    def command(folder: Path) -> Sequence[str]:
        options = ["--suite", settings.suite, "--config", str(config), "--json"]
        options += ["--limit", str(settings.suite_limit)] if settings.suite_limit else []
        options += ["--data", settings.suite_data] if settings.suite_data else []
        own = f"held-out-{folder.name}" if settings.suite == "held-out" else "results"
        options += ["--out", str(root / EVALS_FOLDER / own)]
        options += ["--samples", "0"]
        return [sys.executable, "-m", "azr", "eval", str(folder), *options]

    return command


def _modest(command: Sequence[str]) -> list[str]:
    """With the lowest priority, and ending with the node."""
    setpriv = shutil.which("setpriv")
    ending = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    return [*ending, "nice", "-n", "19", *command]


def _let_go(folder: Path) -> None:
    """Remove pinned versions: a run that was killed left its own, with all their weights."""
    for pinned in folder.glob(f"{_PINNED}*"):
        shutil.rmtree(pinned, ignore_errors=True)


def _pin(checkpoint: Path, pinned: Path) -> None:
    """Link a checkpoint's model into a folder of its own, or copy it to another disk."""
    pinned.mkdir(parents=True)
    for path in checkpoint.iterdir():
        if path.is_file():
            try:
                os.link(path, pinned / path.name)
            except OSError:
                shutil.copy2(path, pinned / path.name)
