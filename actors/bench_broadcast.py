"""`azr bench broadcast`: what it costs to bring new weights to several replicas.

Every replica is a process of its own with a real vLLM that keeps sampling; the learner's
process sends as it does in a run, and every version is proved. With several replicas one is
then stopped (SIGSTOP): before a broadcast, and in the middle of one.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import ray
from anyio.to_thread import run_sync

from actors.bench_limits import Limits, limits
from actors.cluster import answered
from actors.ray_session import joined_ray
from actors.remote_replica import RemoteReplica
from actors.replica_host import ReplicaHost
from azr.config import RunConfig
from azr.engine.concurrently import concurrently
from azr.engine.environment import engine_environment
from azr.engine.weight_channel import GlooWeightChannel
from azr.errors import AzrError, EngineError
from azr.learner.link import LearnerProcess
from azr.membership import ReplicaProof
from azr.model_path import resolve_model

START_SECONDS = 900.0
"""For all replicas together; most of it is importing torch and vLLM."""
ANSWER_SECONDS = 60.0
"""For a word from a replica that is not stopped."""
ALONE_SECONDS = 5.0
STOP_POLL_SECONDS = 0.01

type Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Publication:
    """One version brought to all replicas that could be reached."""

    seconds: float
    """All of it: staging, sending, the swap and the proof."""
    send_seconds: float
    pause_seconds: float
    """Of the replica that paused longest."""
    sent_mib: float
    proved: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Publications while one replica does not run."""

    before: Publication
    """It was stopped before anything was sent."""
    midway: Publication
    """It was stopped when everybody was ready to receive."""
    back: Publication
    """The one after that, with the replica going on and admitted again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All publications with so many replicas."""

    num_replicas: int
    publications: Sequence[Publication]
    tokens_per_second_alone: float
    """Sampled by all replicas while no weights came."""
    tokens_per_second_updated: float
    """The same while version followed version without a rest."""
    stopped: Stopped | None
    """If there are several."""
    limits: Limits


def broadcast(
    config: RunConfig, *, replicas: Sequence[int], rounds: int, tell: Tell
) -> list[Figures]:
    """Measure each number of replicas in turn. Raises AzrError."""
    with joined_ray():
        return [anyio.run(partial(_measure, config, count, rounds, tell)) for count in replicas]


async def _measure(config: RunConfig, count: int, rounds: int, tell: Tell) -> Figures:
    proofs: list[ReplicaProof] = []

    async def record(proof: ReplicaProof) -> None:
        proofs.append(proof)

    tell(f"{count} replicas: starting them")
    async with _hosts(config, count) as hosts, _learner(config) as process:
        learner = _Learner(process)
        replicas = [_proxy(host, config, index) for index, host in enumerate(hosts)]
        canary = await replicas[0].canary()
        channel = GlooWeightChannel(
            learner, replicas, engine=config.engine, canary=canary, record=record
        )
        tell(f"{count} replicas: forming the group")
        await channel.publish(1)
        alone = await _sampled_per_second(hosts, seconds=ALONE_SECONDS)
        tell(f"{count} replicas: sending {rounds} versions")
        before, started = await _sampled_tokens(hosts), time.monotonic()
        publications = [await _publish(channel, 2 + index) for index in range(rounds)]
        seconds = time.monotonic() - started
        updated = (await _sampled_tokens(hosts) - before) / seconds
        stopped = None
        if count > 1:
            tell(f"{count} replicas: stopping one")
            admit = partial(_proxy, hosts[-1], config, count - 1)
            pid = await _answer(hosts[-1].process_id.remote())
            stopped = await _with_one_stopped(channel, learner, pid, admit, 2 + rounds)
        return Figures(
            num_replicas=count,
            publications=publications,
            tokens_per_second_alone=alone,
            tokens_per_second_updated=updated,
            stopped=stopped,
            limits=await run_sync(limits, publications[0].sent_mib),
        )


@dataclass(eq=False)
class _Learner:
    """The learner's process; stops another process just before it sends, if told."""

    process: LearnerProcess
    stops: int = 0

    async def rendezvous_info(self) -> Mapping[str, str | int]:
        return await self.process.rendezvous_info()

    async def open_weight_group(self, world_size: int, epoch: int) -> None:
        await self.process.open_weight_group(world_size, epoch)

    async def send_weights(self, epoch: int, dtype: str) -> Mapping[str, float | str]:
        if self.stops:
            await _stop(self.stops)
            self.stops = 0
        return await self.process.send_weights(epoch, dtype)

    async def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return await self.process.logprobs(sequences)


async def _stop(pid: int) -> None:
    """SIGSTOP a process, and wait until it has taken effect. Raises EngineError."""
    os.kill(pid, signal.SIGSTOP)
    stat = anyio.Path(f"/proc/{pid}/stat")
    with anyio.move_on_after(ANSWER_SECONDS):
        while True:
            state = (await stat.read_text()).rpartition(")")[2].split()[0]
            if state == "T":
                return
            await anyio.sleep(STOP_POLL_SECONDS)
    raise EngineError(f"a replica did not stop within {ANSWER_SECONDS:g} s")


async def _publish(channel: GlooWeightChannel, version: int) -> Publication:
    started = time.monotonic()
    measured = await channel.publish(version)
    return Publication(
        seconds=time.monotonic() - started,
        send_seconds=measured["send_seconds"],
        pause_seconds=measured["pause_seconds"],
        sent_mib=measured["sent_mib"],
        proved=int(measured["proved"]),
    )


async def _with_one_stopped(
    channel: GlooWeightChannel,
    learner: _Learner,
    pid: int,
    proxy: Callable[[], RemoteReplica],
    version: int,
) -> Stopped:
    """Publications with the process `pid` stopped before and within one, and going on."""
    try:
        await _stop(pid)
        before = await _publish(channel, version)
        os.kill(pid, signal.SIGCONT)
        channel.admit(proxy())
        await _publish(channel, version + 1)
        learner.stops = pid
        midway = await _publish(channel, version + 2)
    finally:
        os.kill(pid, signal.SIGCONT)
    channel.admit(proxy())
    return Stopped(before, midway, back=await _publish(channel, version + 3))


@asynccontextmanager
async def _hosts(config: RunConfig, count: int) -> AsyncGenerator[list[Any]]:
    placed: Any = ray.remote(ReplicaHost).options(
        num_cpus=0,
        max_concurrency=64,
        runtime_env={"env_vars": engine_environment(config)},
    )
    hosts = [placed.remote(config, f"replica-{index}") for index in range(count)]
    try:
        try:
            with anyio.fail_after(START_SECONDS):
                await concurrently(lambda host: answered(host.start.remote()), hosts)
        except TimeoutError:
            raise EngineError(f"{count} replicas did not start in {START_SECONDS:g} s") from None
        yield hosts
    finally:
        for host in hosts:
            ray.kill(host)


@asynccontextmanager
async def _learner(config: RunConfig) -> AsyncGenerator[LearnerProcess]:
    model = resolve_model(config.run.model)
    with tempfile.TemporaryDirectory(prefix="azr-broadcast-") as scratch:
        async with LearnerProcess.open(model, config, Path(scratch)) as learner:
            yield learner


def _proxy(host: Any, config: RunConfig, index: int) -> RemoteReplica:  # noqa: ANN401
    name = f"replica-{index}"

    async def call(method: str, *arguments: object) -> Any:  # noqa: ANN401
        try:
            return await answered(host.replica.remote(method, arguments))
        except EngineError:
            raise
        except AzrError as error:
            raise EngineError(f"{name} cannot be reached: {error}") from None

    return RemoteReplica(name, name, call, update_seconds=config.engine.update_timeout_seconds)


async def _sampled_tokens(hosts: Sequence[Any]) -> int:
    return sum([await _answer(host.sampled_tokens.remote()) for host in hosts])


async def _answer(reference: Any) -> Any:  # noqa: ANN401 -- whatever the call gives
    """As `answered`, within a time. Raises EngineError."""
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            return await answered(reference)
    except TimeoutError:
        raise EngineError(f"a replica did not answer within {ANSWER_SECONDS:g} s") from None


async def _sampled_per_second(hosts: Sequence[Any], *, seconds: float) -> float:
    before, started = await _sampled_tokens(hosts), time.monotonic()
    await anyio.sleep(seconds)
    return (await _sampled_tokens(hosts) - before) / (time.monotonic() - started)


def table(figures: Sequence[Figures]) -> str:
    """Medians, a row for each number of replicas, and what the machine could do at best."""
    size_mib = figures[0].publications[0].sent_mib
    best = figures[-1].limits
    head = ("replicas", "proved", "all s", "send s", "MiB/s", "pause ms", "tok/s kept")
    rows = [head, *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    once = [
        f"once {how} {seconds * 1e3:.1f} ms ({size_mib / seconds:,.0f} MiB/s)"
        for how, seconds in (
            ("in memory", best.copy_seconds),
            ("through loopback", best.loopback_seconds),
        )
    ]
    lines += ["", f"{size_mib:.1f} MiB; {', '.join(once)}"]
    return "\n".join([*lines, *(line for one in figures for line in _on_stopping(one))])


def _on_stopping(one: Figures) -> list[str]:
    if one.stopped is None:
        return []
    told = (
        ("one stopped before it", one.stopped.before),
        ("one stopped in the middle of it", one.stopped.midway),
        ("that one back", one.stopped.back),
    )
    return [
        f"{one.num_replicas} replicas, {how}: {each.proved} proved after {each.seconds:.2f} s"
        for how, each in told
    ]


def _row(one: Figures) -> tuple[str, ...]:
    def median(name: str) -> float:
        return statistics.median(getattr(each, name) for each in one.publications)

    send_seconds = median("send_seconds")
    received_mib = one.publications[0].sent_mib * one.num_replicas
    return (
        str(one.num_replicas),
        str(min(each.proved for each in one.publications)),
        f"{median('seconds'):.3f}",
        f"{send_seconds:.3f}",
        f"{received_mib / send_seconds:,.0f}",
        f"{1e3 * median('pause_seconds'):.0f}",
        f"{one.tokens_per_second_updated / one.tokens_per_second_alone:.0%}",
    )
