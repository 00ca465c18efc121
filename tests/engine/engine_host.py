"""A process of its own for real vLLM, and one for the learner's end of the wire.

vLLM in a thread takes over torch's default process group and reads its environment
at import, so the engine tests do not run it inside pytest's process. A test hands
the host a module-level coroutine function (a scenario), which runs there on a
`Bench`, and asserts on the plain values that it returns.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from azr.config import RunConfig
from azr.engine.canary import sample_canary
from azr.engine.environment import require_environment
from azr.engine.replica import VllmReplica
from azr.engine.weight_channel import GlooWeightChannel
from azr.engine.weight_ports import WeightReplica
from azr.errors import LearnerError, WeightSyncError
from azr.membership import ReplicaProof
from azr.types import Completion

ANSWER_SECONDS = 280.0


class LearnerProcess:
    """A child with the trainable model and a `WeightSender`; a `LearnerLink`."""

    def __init__(self, model_path: str, timeout_seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=learner_main, args=(theirs, model_path, timeout_seconds), daemon=True
        )
        self._process.start()
        theirs.close()
        self._turn = anyio.Lock()

    async def ask(self, command: str, *arguments: object) -> Any:  # noqa: ANN401
        async with self._turn:
            try:
                self._pipe.send((command, arguments))
                kind, value = await anyio.to_thread.run_sync(self._pipe.recv)
            except (EOFError, OSError) as error:
                raise LearnerError(f"the learner is gone: {error!r}") from None
        if kind == "error":
            raise WeightSyncError(value)
        return value

    async def rendezvous_info(self) -> Mapping[str, str | int]:
        return await self.ask("rendezvous_info")

    async def open_weight_group(self, world_size: int, epoch: int) -> None:
        await self.ask("open_weight_group", world_size, epoch)

    async def send_weights(self, epoch: int, dtype: str) -> Mapping[str, float | str]:
        return await self.ask("send_weights", epoch, dtype)

    async def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return await self.ask("logprobs", [list(sequence) for sequence in sequences], None)

    async def logprobs_at(self, sequences: Sequence[Sequence[int]], step: int) -> list[list[float]]:
        return await self.ask("logprobs", [list(sequence) for sequence in sequences], step)

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


class LearnerSide:
    """What runs in the learner's process. No vLLM here."""

    def __init__(self, model_path: str, timeout_seconds: float) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from azr.learner.broadcast import WeightSender

        torch.set_num_threads(1)
        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
        self.sender = WeightSender(timeout_seconds=timeout_seconds, bucket_bytes=64 << 10)
        self.steps = [self.snapshot()]

    def snapshot(self) -> dict[str, Any]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def rendezvous_info(self) -> dict[str, str | int]:
        return self.sender.rendezvous_info()

    def open_weight_group(self, world_size: int, epoch: int) -> None:
        self.sender.open_group(world_size, epoch)

    def send_weights(self, epoch: int, dtype: str) -> dict[str, float | str]:
        return self.sender.send(self.model.named_parameters(), epoch=epoch, dtype=dtype)

    def step(self) -> int:
        """An "optimizer step": every weight moves by 10 % of its spread."""
        generator = self.torch.Generator().manual_seed(len(self.steps))
        with self.torch.no_grad():
            for parameter in self.model.parameters():
                noise = self.torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.1 * float(parameter.abs().mean()) * noise)
        self.steps.append(self.snapshot())
        return len(self.steps) - 1

    def reset(self) -> None:
        """Back to the weights that replicas are opened with, as step 0."""
        del self.steps[1:]
        self.model.load_state_dict(self.steps[0])

    def logprobs(self, sequences: list[list[int]], step: int | None) -> list[list[float]]:
        if step is not None:
            current = self.snapshot()
            self.model.load_state_dict(self.steps[step])
            scores = self.logprobs(sequences, None)
            self.model.load_state_dict(current)
            return scores
        scores = []
        with self.torch.no_grad():
            for sequence in sequences:
                ids = self.torch.tensor([sequence])
                table = self.model(ids).logits[0, :-1].log_softmax(-1)
                scores.append(table.gather(1, ids[0, 1:, None])[:, 0].tolist())
        return scores

    def die_while_sending(self, _epoch: int, dtype: str) -> None:
        """Send the header and the first bucket, then vanish as SIGKILL would."""
        import os

        from azr.engine import wire

        group = self.sender._group
        assert group is not None
        specs = [
            wire.TensorSpec(name, getattr(self.torch, dtype), tuple(value.shape))
            for name, value in self.model.named_parameters()
        ]
        header = wire.encode_header(specs, 64 << 10)
        group.broadcast(self.torch.tensor([len(header)])).wait()
        group.broadcast(self.torch.tensor(list(header), dtype=self.torch.uint8)).wait()
        first = wire.pack(specs, 64 << 10)[0]
        group.broadcast(self.torch.zeros(first.num_bytes, dtype=self.torch.uint8)).wait()
        os._exit(9)


def learner_main(pipe: Connection, model_path: str, timeout_seconds: float) -> None:
    side = LearnerSide(model_path, timeout_seconds)
    while True:
        try:
            command, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("ok", getattr(side, command)(*arguments)))
        except WeightSyncError as error:
            pipe.send(("error", str(error)))


@dataclass(kw_only=True)
class Bench:
    """What a scenario works with, inside the host."""

    model_path: str
    config: RunConfig
    replica: VllmReplica
    learner: LearnerProcess
    canary: list[list[int]]
    proofs: list[ReplicaProof] = field(default_factory=list)

    def channel(self, replica: WeightReplica | None = None) -> GlooWeightChannel:
        async def record(proof: ReplicaProof) -> None:
            self.proofs.append(proof)

        return GlooWeightChannel(
            self.learner,
            [replica or self.replica],
            engine=self.config.engine,
            canary=self.canary,
            record=record,
        )

    def is_usable(self) -> bool:
        return self.replica._session.alive.cause is None

    async def step(self) -> int:
        """Take a learner step; the policy version it made."""
        return await self.learner.ask("step")

    async def scores(self, completions: Sequence[Completion], version: int) -> list[list[float]]:
        """Log-probs of the sampled tokens under a version, by teacher forcing."""
        whole = [[*c.prompt_token_ids, *c.token_ids] for c in completions]
        rows = await self.learner.logprobs_at(whole, version)
        return [row[-len(c.token_ids) :] for row, c in zip(rows, completions, strict=True)]

    @property
    def core(self) -> Any:  # noqa: ANN401 -- vLLM's engine core, typed in no stub
        """The engine core behind the replica, to look into and to break on purpose."""
        return self.replica._engine.thread.core  # ty: ignore[missing-attribute]

    @property
    def model(self) -> Any:  # noqa: ANN401
        """The live model."""
        return self.core.model_executor.driver_worker.worker.model_runner.get_model()


async def until(condition: Callable[[], bool]) -> None:
    """Give way until something inside the engine has happened; tests have deadlines."""
    while not condition():
        await anyio.lowlevel.checkpoint()


def run_config(engine: Mapping[str, Any]) -> RunConfig:
    defaults = {
        "device": "cpu",
        "max_sequences": 16,
        "max_model_len_tokens": 320,
        "kv_cache_mib": 64,
        "update_timeout_seconds": 20.0,
        "request_timeout_seconds": 60.0,
    }
    prompts = {"max_prompt_tokens": 160, "max_response_tokens": 160}
    return RunConfig.model_validate({"prompts": prompts, "engine": defaults | dict(engine)})


def host_main(pipe: Connection, model_path: str) -> None:
    require_environment(run_config({}))
    anyio.run(_host, pipe, model_path)


async def _host(pipe: Connection, model_path: str) -> None:
    """Serve scenarios; other settings, or a dead engine, reopen the replica in place."""
    learner = LearnerProcess(model_path, run_config({}).engine.update_timeout_seconds)
    job = await anyio.to_thread.run_sync(pipe.recv)
    while job is not None:
        settings = job[2]
        config = run_config(settings)
        async with VllmReplica.open(model_path, config, name="replica-0", version=0) as replica:
            await learner.ask("reset")
            bench = Bench(
                model_path=model_path,
                config=config,
                replica=replica,
                learner=learner,
                canary=await sample_canary(replica),
            )
            while job is not None and job[2] == settings and bench.is_usable():
                bench.proofs.clear()
                pipe.send(await _run(job, bench))
                job = await anyio.to_thread.run_sync(pipe.recv)
            learner = bench.learner
    learner.close()


async def _run(job: tuple[Any, ...], bench: Bench) -> tuple[str, Any]:
    scenario, arguments, _ = job
    try:
        return "ok", await scenario(bench, *arguments)
    except Exception:  # noqa: BLE001 -- shown by the test that asked
        return "error", traceback.format_exc()


class EngineHost:
    """The host process, as tests see it."""

    def __init__(self, model_path: str) -> None:
        self._settings: dict[str, object] = {}
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=host_main, args=(theirs, model_path))
        self._process.start()
        theirs.close()

    def opened(self, **engine: object) -> EngineHost:
        """Overrides engine settings for the next run."""
        self._settings = engine
        return self

    def run[*Arguments, R](
        self, scenario: Callable[[Bench, *Arguments], Awaitable[R]], *arguments: *Arguments
    ) -> R:
        """Run a scenario in the host and return its result."""
        engine, self._settings = self._settings, {}
        self._pipe.send((scenario, arguments, engine))
        assert self._pipe.poll(ANSWER_SECONDS), f"{scenario} did not end"
        kind, value = self._pipe.recv()
        assert kind == "ok", value
        return value

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()
