"""`azr bench broadcast`: what it costs to bring new weights to several replicas.

Every replica is a process of its own with a real vLLM that keeps sampling; the learner's
process sends as it does in a run, and every version is proved. Beside the figures stand
what the machine could do at best: copying the same bytes in memory, and sending them once
through a loopback socket.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import ray

from actors.cluster import answered
from actors.ray_session import joined_ray
from actors.remote_replica import RemoteReplica
from actors.replica_host import ReplicaHost
from azr.config import RunConfig
from azr.engine.environment import engine_environment
from azr.engine.weight_channel import GlooWeightChannel
from azr.errors import AzrError, EngineError
from azr.learner.link import LearnerProcess
from azr.model_path import resolve_model
from azr.types import ReplicaProof

START_SECONDS = 300.0
MIB = 1 << 20
WIDTH, LAYERS, HEADS, KEY_HEADS, INNER = 768, 12, 12, 4, 3072
"""Of the larger model: about 104 million parameters with the tiny tokenizer."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One version brought to all replicas."""

    seconds: float
    """All of it: staging, sending, the swap and the proof."""
    send_seconds: float
    pause_seconds: float
    """Of the replica that paused longest."""
    sent_mib: float
    proved: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What this machine can do with the same bytes."""

    copy_seconds: float
    """Once, in memory, one thread."""
    loopback_seconds: float
    """Once, through a TCP socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All publications with so many replicas."""

    num_replicas: int
    publications: Sequence[Publication]
    tokens_per_second_alone: float
    """Sampled by all replicas while no weights came."""
    tokens_per_second_updated: float
    """The same while version followed version without a rest."""
    stopped: Publication | None
    """With one replica stopped by SIGSTOP, if there are several."""
    rejoined: Publication | None
    """The next one after it went on and was admitted again."""
    limits: Limits


def broadcast(config: RunConfig, *, replicas: Sequence[int], rounds: int) -> list[Figures]:
    """Measure each number of replicas in turn. Raises AzrError."""
    with joined_ray():
        return [anyio.run(partial(_measure, config, count, rounds)) for count in replicas]


async def _measure(config: RunConfig, count: int, rounds: int) -> Figures:
    model = resolve_model(config.run.model)
    proofs: list[ReplicaProof] = []

    async def record(proof: ReplicaProof) -> None:
        proofs.append(proof)

    async with _hosts(config, count) as hosts, _learner(model, config) as learner:
        replicas = [_proxy(host, config, index) for index, host in enumerate(hosts)]
        channel = GlooWeightChannel(
            learner,
            replicas,
            engine=config.engine,
            canary=await replicas[0].canary(),
            record=record,
        )
        await channel.publish(1)  # forms the group
        alone = await _sampled_per_second(hosts, seconds=5.0)
        before, started = await _sampled_tokens(hosts), time.monotonic()
        publications = [await _publish(channel, 2 + index) for index in range(rounds)]
        seconds = time.monotonic() - started
        updated = (await _sampled_tokens(hosts) - before) / seconds
        stopped = rejoined = None
        if count > 1:
            stopped, rejoined = await _with_one_stopped(channel, hosts, config, 2 + rounds)
        limits = await anyio.to_thread.run_sync(_limits, publications[0].sent_mib)
        return Figures(
            num_replicas=count,
            publications=publications,
            tokens_per_second_alone=alone,
            tokens_per_second_updated=updated,
            stopped=stopped,
            rejoined=rejoined,
            limits=limits,
        )


async def _publish(channel: GlooWeightChannel, version: int) -> Publication:
    measured = await channel.publish(version)
    return Publication(
        seconds=measured["seconds"],
        send_seconds=measured["send_seconds"],
        pause_seconds=measured["pause_seconds"],
        sent_mib=measured["sent_mib"],
        proved=int(measured["proved"]),
    )


async def _with_one_stopped(
    channel: GlooWeightChannel, hosts: Sequence[Any], config: RunConfig, version: int
) -> tuple[Publication, Publication]:
    """A version while the last replica's process is stopped, and one after it goes on."""
    pid = await answered(hosts[-1].process_id.remote())
    os.kill(pid, signal.SIGSTOP)
    try:
        stopped = await _publish(channel, version)
    finally:
        os.kill(pid, signal.SIGCONT)
    channel.admit(_proxy(hosts[-1], config, len(hosts) - 1))
    return stopped, await _publish(channel, version + 1)


@asynccontextmanager
async def _hosts(config: RunConfig, count: int) -> AsyncGenerator[list[Any]]:
    placed: Any = ray.remote(ReplicaHost).options(
        num_cpus=0,
        max_concurrency=64,
        runtime_env={"env_vars": engine_environment(config)},
    )
    hosts = [placed.remote(config, f"replica-{index}") for index in range(count)]
    try:
        with anyio.fail_after(START_SECONDS):
            for host in hosts:
                await answered(host.start.remote())
        yield hosts
    except TimeoutError:
        raise EngineError(f"{count} replicas did not start in {START_SECONDS:g} s") from None
    finally:
        for host in hosts:
            ray.kill(host)


@asynccontextmanager
async def _learner(model: Path, config: RunConfig) -> AsyncGenerator[LearnerProcess]:
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
    return sum([await answered(host.sampled_tokens.remote()) for host in hosts])


async def _sampled_per_second(hosts: Sequence[Any], *, seconds: float) -> float:
    before, started = await _sampled_tokens(hosts), time.monotonic()
    await anyio.sleep(seconds)
    return (await _sampled_tokens(hosts) - before) / (time.monotonic() - started)


def _limits(size_mib: float) -> Limits:
    """Medians of five. Blocks."""
    source = bytearray(int(size_mib * MIB))
    target = bytearray(len(source))
    copies, sendings = [], []
    for _ in range(5):
        started = time.monotonic()
        target[:] = source
        copies.append(time.monotonic() - started)
        sendings.append(_through_loopback(source, target))
    return Limits(statistics.median(copies), statistics.median(sendings))


def _through_loopback(source: bytearray, target: bytearray) -> float:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
        with sender, receiver:
            started = time.monotonic()
            thread = threading.Thread(target=sender.sendall, args=(source,))
            thread.start()
            view, received = memoryview(target), 0
            while received < len(source):
                received += receiver.recv_into(view[received:])
            thread.join()
            return time.monotonic() - started


def larger_model(folder: Path, *, like: Path) -> Path:
    """Write a model of about 100 million random parameters with the tokenizer of `like`."""
    import torch  # noqa: PLC0415
    from transformers import Qwen2Config, Qwen2ForCausalLM  # noqa: PLC0415

    small = json.loads((like / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=small["vocab_size"],
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            intermediate_size=INNER,
            max_position_embeddings=small["max_position_embeddings"],
            tie_word_embeddings=True,
            eos_token_id=small["eos_token_id"],
            bos_token_id=small.get("bos_token_id"),
        )
    )
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(like / name, folder / name)
    return folder


def table(figures: Sequence[Figures]) -> str:
    """Medians, a row for each number of replicas, and what the machine could do at best."""
    size_mib = figures[0].publications[0].sent_mib
    limits = figures[-1].limits
    head = ("replicas", "proved", "all s", "send s", "MiB/s", "pause ms", "tok/s kept")
    rows = [head, *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    best = {"in memory": limits.copy_seconds, "through loopback": limits.loopback_seconds}
    once = [
        f"once {how} {seconds * 1e3:.1f} ms ({size_mib / seconds:,.0f} MiB/s)"
        for how, seconds in best.items()
    ]
    lines += ["", f"{size_mib:.1f} MiB; {', '.join(once)}"]
    for one in figures:
        if one.stopped is not None and one.rejoined is not None:
            lines.append(
                f"{one.num_replicas} replicas, one stopped: {one.stopped.proved} proved after"
                f" {one.stopped.seconds:.2f} s; the next version, with it back:"
                f" {one.rejoined.proved} proved after {one.rejoined.seconds:.2f} s"
            )
    return "\n".join(lines)


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
