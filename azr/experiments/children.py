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
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from azr.errors import AzrError
from azr.experiments.cpu_time import CpuTime

POLL_SECONDS = 1.0
STOP_SECONDS = 180.0
"""For a child to drain and checkpoint once asked to stop; then it is killed."""
EXIT_INTERRUPTED = 130
TAIL_LINES = 6

type OnTick = Callable[[], None]


def _nothing(*_: object) -> None:
    """For callers who need not be told."""


class ChildFailedError(AzrError):
    """A command of a trial failed; the message has the end of its output."""

    hint = "See the log; the same command continues the experiment."


@dataclass(frozen=True, slots=True)
class Usage:
    """What a child used until it ended, however that was."""

    seconds: float
    cpu_seconds: float | None
    finished: bool


type OnUsage = Callable[[Usage], None]


def azr(*words: str | Path) -> list[str]:
    """The command line of a product command, with this interpreter."""
    return [sys.executable, "-m", "azr", *map(str, words)]


def run(
    words: Sequence[str],
    log: Path,
    *,
    deadline_seconds: float,
    on_tick: OnTick = _nothing,
    on_usage: OnUsage = _nothing,
) -> None:
    """Run to the end, output appended to `log`.

    Args:
        words: the command line.
        log: made if need be.
        deadline_seconds: then it is stopped.
        on_tick: called about once a second.
        on_usage: called once, when it has ended, also if it failed.

    Raises:
        ChildFailedError: it failed, or was not done by the deadline.
        KeyboardInterrupt: Ctrl-C, here or there; the child has ended by then.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as output:
        with _interruptible():
            child = subprocess.Popen(  # noqa: S603 -- words are this project's own commands
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        cpu_time = CpuTime(child.pid)
        try:
            in_time = _watch(child, started + deadline_seconds, cpu_time, on_tick)
        except KeyboardInterrupt:
            _stop(child)
            raise
        finally:
            _kill(child)
            seconds = time.monotonic() - started
            on_usage(Usage(seconds, cpu_time.seconds, finished=child.returncode == 0))
    if not in_time:
        raise ChildFailedError(
            f"`{_shown(words)}` was stopped after {deadline_seconds:,.0f} s: {tail(log)}"
        )
    if child.returncode == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode != 0:
        raise ChildFailedError(f"`{_shown(words)}` ended with {child.returncode}: {tail(log)}")


@contextlib.contextmanager
def _interruptible() -> Generator[None]:
    """Children heed SIGINT, although a shell had their parent ignore it (`azr ... &`)."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def tail(log: Path) -> str:
    """The last lines of a log, in one."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-TAIL_LINES:] if line.strip())


def _watch(
    child: subprocess.Popen[bytes], deadline: float, cpu_time: CpuTime, on_tick: OnTick
) -> bool:
    """Wait for the end, and ask for it at the deadline; whether it came before."""
    while time.monotonic() < deadline:
        cpu_time.sample()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=POLL_SECONDS)
            return True
        on_tick()
    _stop(child)
    return False


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
