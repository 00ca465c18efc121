"""Product commands as child processes: watched, bounded in time, and interruptible.

A child has a session of its own, so that Ctrl-C reaches it through here only: once for
it to stop in good order, and by force if it does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from azr.errors import AzrError
from azr.experiments.cpu_time import tree_cpu_seconds

POLL_SECONDS = 1.0
CPU_SAMPLE_SECONDS = 5.0
STOP_SECONDS = 180.0
"""For a child to drain and checkpoint once asked to stop; then it is killed."""
EXIT_INTERRUPTED = 130
TAIL_LINES = 6

type OnTick = Callable[[], None]


class ChildFailedError(AzrError):
    """A command of a trial failed; the message has the end of its output."""

    hint = "See the log; the same command continues the experiment."


@dataclass(frozen=True, slots=True)
class Usage:
    """What a child used."""

    seconds: float
    cpu_seconds: float | None


def azr(*words: str | Path) -> list[str]:
    """The command line of a product command, with this interpreter."""
    return [sys.executable, "-m", "azr", *map(str, words)]


def run(
    words: Sequence[str], log: Path, *, deadline_seconds: float, on_tick: OnTick = lambda: None
) -> Usage:
    """Run to the end, output appended to `log`; `on_tick` is called about once a second.

    Raises:
        ChildFailedError: it failed, or was not done by the deadline.
        KeyboardInterrupt: Ctrl-C, here or there; the child has ended by then.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 -- words are this project's own commands
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            cpu_seconds = _watch(child, started + deadline_seconds, on_tick)
        except KeyboardInterrupt:
            _stop(child)
            raise
        finally:
            _kill(child)
    if child.returncode == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode is None or child.returncode != 0:
        raise ChildFailedError(f"`{_shown(words)}` ended with {child.returncode}: {tail(log)}")
    return Usage(time.monotonic() - started, cpu_seconds)


def tail(log: Path) -> str:
    """The last lines of a log, in one."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-TAIL_LINES:] if line.strip())


def _watch(child: subprocess.Popen[bytes], deadline: float, on_tick: OnTick) -> float | None:
    """Wait for the end or the deadline; the largest processor time seen."""
    used: float | None = None
    next_sample = 0.0
    while time.monotonic() < deadline:
        if time.monotonic() >= next_sample:
            next_sample = time.monotonic() + CPU_SAMPLE_SECONDS
            sample = tree_cpu_seconds(child.pid)
            used = sample if used is None or sample is None else max(used, sample)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=POLL_SECONDS)
            return used
        on_tick()
    _stop(child)
    return used


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ask for a good end; a second Ctrl-C meanwhile, or no end in time, kills it."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            child.wait(timeout=STOP_SECONDS)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it behind."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _shown(words: Sequence[str]) -> str:
    return " ".join(["azr", *words[3:6]])
