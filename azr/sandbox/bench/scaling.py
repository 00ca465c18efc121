"""Two cores beside one: a jail with its own host process on each, and a loop that only counts.

`python -m azr.sandbox.bench.scaling CORE SEEDS` is a worker: for each line `jail SECONDS`
or `loop SECONDS` on its input it works that long and answers with what it got done a second.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from azr.config import SandboxSection
from azr.errors import SandboxError
from azr.sandbox.bench.measure import pinned
from azr.sandbox.bench.programs import chosen, read_seeds
from azr.sandbox.bench.rivals import started
from azr.sandbox.pool import SandboxPool
from azr.sandbox.protocol import Request
from azr.sandbox.rootfs import prepare_root

WORK = ("jail", "loop")
PROGRAMS = 40
_START_SECONDS = 120.0
_MAX_LINE_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Scaling:
    """What one and two cores got done a second, a number for each round."""

    work: str
    one: tuple[float, ...]
    two: tuple[float, ...]
    """Both cores together."""


async def measure_scaling(
    cores: Sequence[int], seeds: Path, *, rounds: int, turn_seconds: float
) -> list[Scaling]:
    """One worker alone and then two at once, in turns with the loop doing the same."""
    one: dict[str, list[float]] = {work: [] for work in WORK}
    two: dict[str, list[float]] = {work: [] for work in WORK}
    workers = [await _Worker.start(core, seeds) for core in cores[:2]]
    try:
        for worker in workers:
            await worker.answer(_START_SECONDS)
        for number, work in itertools.product(range(rounds), WORK):
            alone = workers[number % 2]
            one[work].append(await alone.work(work, turn_seconds))
            two[work].append(sum(await _together(workers, work, turn_seconds)))
    finally:
        for worker in workers:
            await worker.aclose()
    return [Scaling(work, tuple(one[work]), tuple(two[work])) for work in WORK]


async def _together(workers: Sequence[_Worker], work: str, seconds: float) -> list[float]:
    for worker in workers:
        await worker.ask(work, seconds)
    return [await worker.answer(seconds + _START_SECONDS) for worker in workers]


@dataclass(frozen=True, slots=True)
class _Worker:
    process: Process
    answers: BufferedByteReceiveStream

    @classmethod
    async def start(cls, core: int, seeds: Path) -> _Worker:
        command = [sys.executable, "-m", "azr.sandbox.bench.scaling", str(core), str(seeds)]
        process = await anyio.open_process(command, stderr=None)
        if process.stdout is None:
            raise SandboxError("a worker of the bench has no output")
        return cls(process, BufferedByteReceiveStream(process.stdout))

    async def work(self, work: str, seconds: float) -> float:
        await self.ask(work, seconds)
        return await self.answer(seconds + _START_SECONDS)

    async def ask(self, work: str, seconds: float) -> None:
        if self.process.stdin is not None:
            await self.process.stdin.send(f"{work} {seconds}\n".encode())

    async def answer(self, patience_seconds: float) -> float:
        try:
            with anyio.fail_after(patience_seconds):
                return float(await self.answers.receive_until(b"\n", _MAX_LINE_BYTES))
        except (TimeoutError, anyio.IncompleteRead) as error:
            raise SandboxError("a worker of the bench failed") from error

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            self.process.kill()  # its jails die with it
            await self.process.aclose()


async def _serve(seeds: Path) -> None:
    limits = SandboxSection(workers=1)
    async with SandboxPool.open(limits) as pool:
        programs = await chosen(pool, read_seeds(seeds), most=PROGRAMS)
    jobs = itertools.cycle(Request(program=p.source, calls=p.inputs[:1]) for p in programs)
    async with started(prepare_root(), limits) as jail:
        _tell(0.0)
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            work, seconds = line.split()
            begun = now = time.perf_counter()
            done = 0
            while now - begun < float(seconds):
                if work == "jail":
                    await jail.call(next(jobs))
                else:
                    sum(range(2000))
                done += 1
                now = time.perf_counter()
            _tell(done / (now - begun))


def _tell(number: float) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with pinned(int(sys.argv[1])):
        anyio.run(_serve, Path(sys.argv[2]))
