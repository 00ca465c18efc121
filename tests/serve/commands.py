"""`azr serve` as a user starts it: a command, its output, and the processes behind it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from azr.chaos.processes import Process, descendants

READY_SECONDS = 1800.0
"""A deadline against hanging, for machines far slower than a laptop."""
STOP_SECONDS = 600.0
REPLICA = re.compile(r"ray::ServeReplica:.*:replica\b")


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "azr", *map(str, words)]


@dataclass(frozen=True)
class Started:
    """A command that runs, and the file of what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def until_said(self, pattern: str) -> re.Match[str]:
        wait_until(
            lambda: bool(re.search(pattern, self.said)) or self.process.poll() is not None,
            what=pattern,
        )
        found = re.search(pattern, self.said)
        assert found, self.said
        return found

    def ended(self, *, by: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(by)
        return self.process.wait(STOP_SECONDS)

    def replicas(self) -> list[Process]:
        """Processes of Ray Serve that hold a model."""
        return [each for each in descendants(self.process.pid) if REPLICA.search(each.command)]


@contextmanager
def started(log: Path, *words: str | Path) -> Generator[Started]:
    """An azr command in the background; told to end, then killed, if the block leaves early."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(*words), stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield Started(process, log)
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    process.send_signal(number)
                    try:
                        process.wait(STOP_SECONDS)
                    except subprocess.TimeoutExpired:
                        continue


def url_of(endpoint: Started) -> str:
    """Once it is ready."""
    return endpoint.until_said(r"ready: (http://[\d.]+:\d+)/v1")[1]


def wait_until(condition: Callable[[], bool], *, what: str) -> None:
    """Poll another process's work, with a deadline."""
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {READY_SECONDS:g} s"
        time.sleep(0.2)


def body(*, tokens: int, stream: bool = False) -> dict[str, object]:
    """A completion of exactly so many tokens."""
    asked = {"model": "azr", "prompt": "x = ", "max_tokens": tokens, "ignore_eos": True}
    return {**asked, "stream": stream}


def completed(url: str, *, tokens: int) -> httpx.Response:
    """A whole answer."""
    return httpx.post(f"{url}/v1/completions", json=body(tokens=tokens), timeout=READY_SECONDS)


@contextmanager
def streaming(url: str, *, tokens: int) -> Generator[StreamOf]:
    """A stream whose first event has arrived."""
    asked = body(tokens=tokens, stream=True)
    with httpx.stream("POST", f"{url}/v1/completions", json=asked, timeout=READY_SECONDS) as answer:
        lines = (line for line in answer.iter_lines() if line)
        yield StreamOf(answer, next(lines), lines)


@dataclass(frozen=True)
class StreamOf:
    """An answer that is being written."""

    answer: httpx.Response
    first: str
    lines: Generator[str]

    def rest(self) -> list[dict]:
        """Its other events; the last line must be the end of a stream."""
        lines = [self.first, *self.lines]
        assert lines[-1] == "data: [DONE]", lines[-3:]
        return [json.loads(line.removeprefix("data: ")) for line in lines[1:-1]]
