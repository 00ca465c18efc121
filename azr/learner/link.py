"""The host's side of the learner process: `azr.ports.Learner`, and the weight sender.

    async with LearnerProcess.open(folder, config, run_dir) as learner:
        result = await learner.train(batch, advantages)

A caller that is cancelled or late just leaves; its reply is dropped when it comes, because
replies name their request. All blocking I/O runs in threads.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import current_token

from azr.config import RunConfig
from azr.errors import LearnerError
from azr.learner import protocol
from azr.learner.child import EXIT_SECONDS, Child
from azr.types import Batch, PolicyVersion, StepResult

log = logging.getLogger(__name__)

LOAD_SECONDS = 600.0
"""For starting the process, importing torch and loading the model."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A caller waiting for its reply; answered without one when the process ends."""

    answered: anyio.Event = field(default_factory=anyio.Event)
    reply: protocol.Reply | None = None


class LearnerProcess:
    """A running learner process, serving one caller at a time."""

    def __init__(self, config: RunConfig, log_file: Path) -> None:
        """Use `open`."""
        self._config = config
        self._child = Child(config.learner.threads, log_file)
        self._request_ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._turn = anyio.Lock()
        self._ended = ""
        """How the process ended; empty while it runs."""
        self._loop = current_token()
        self.version: PolicyVersion = 0
        """Policy version of the weights in the process, as of the last reply."""

    @classmethod
    @asynccontextmanager
    async def open(cls, model_path: Path, config: RunConfig, run_dir: Path) -> AsyncGenerator[Self]:
        """Start the process on a model folder or a checkpoint, and stop it on leaving.

        Checkpoints go to `run_dir/checkpoints`, the process's output to
        `run_dir/logs/learner.log`.

        Raises:
            ModelError: the model cannot be used.
            RunDirectoryError: the checkpoint is corrupt.
            LearnerError: the process died, or was not ready in time.
        """
        learner = cls(config, run_dir / "logs" / "learner.log")
        thread = threading.Thread(target=learner._converse, name="learner-link", daemon=True)
        thread.start()
        try:
            load = protocol.Load(model_path, config, run_dir / "checkpoints")
            learner.version = await learner._ask(load, LOAD_SECONDS)
            yield learner
        finally:
            learner._child.hang_up()
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(thread.join, 3 * EXIT_SECONDS)

    async def train(self, batch: Batch, advantages: Sequence[float]) -> StepResult:
        """See `azr.ports.Learner`. Raises LearnerError if the step was refused."""
        command = protocol.Train(batch, tuple(advantages))
        result: StepResult = await self._ask(command, self._config.learner.step_timeout_seconds)
        self.version = result.version
        return result

    async def checkpoint(self, version: PolicyVersion) -> str:
        """See `azr.ports.Learner`. Raises RunDirectoryError if the disk refuses."""
        command = protocol.WriteCheckpoint(version)
        return await self._ask(command, self._config.learner.step_timeout_seconds)

    async def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See `azr.ports.Learner`."""
        command = protocol.ScoreSequences(tuple(tuple(sequence) for sequence in sequences))
        return await self._ask(command, self._config.learner.step_timeout_seconds)

    async def rendezvous_info(self) -> Mapping[str, str | int]:
        """`host` and `port` at which replicas meet the weight sender."""
        return await self._ask(protocol.RendezvousInfo(), self._weights_seconds)

    async def open_weight_group(self, world_size: int, epoch: int) -> None:
        """Wait for `world_size - 1` replica workers. Raises WeightSyncError if they stay away."""
        await self._ask(protocol.OpenWeightGroup(world_size, epoch), self._weights_seconds)

    async def send_weights(self, epoch: int, dtype: str) -> Mapping[str, float | str]:
        """Broadcast the weights as `dtype`; send_seconds, sent_mib and the fingerprint.

        Raises WeightSyncError if a replica went away; the group is then gone.
        """
        return await self._ask(protocol.SendWeights(epoch, dtype), self._weights_seconds)

    @property
    def pid(self) -> int:
        """Process id, for those who want to watch its memory."""
        return self._child.pid

    @property
    def _weights_seconds(self) -> float:
        # The sender keeps a deadline of its own, and its error says more than ours would.
        return 2 * self._config.engine.update_timeout_seconds

    async def _ask(self, command: protocol.Command, seconds: float) -> Any:  # noqa: ANN401
        """Send a command when it is this caller's turn, and wait up to `seconds` for its reply."""
        async with self._turn:
            request = protocol.Request(next(self._request_ids), command)
            waiting = self._waiting[request.request_id] = _Waiting()
            try:
                with anyio.fail_after(seconds):
                    if not self._ended:
                        # An abandoned thread still finishes its message: no frame is cut short.
                        await to_thread.run_sync(self._child.send, request, abandon_on_cancel=True)
                        await waiting.answered.wait()
            except TimeoutError:
                raise LearnerError(
                    f"the learner did not answer {type(command).__name__} within {seconds:g} s"
                    f"{await to_thread.run_sync(self._child.log_tail)}"
                ) from None
            finally:
                del self._waiting[request.request_id]
        if waiting.reply is None:
            raise LearnerError(self._ended)
        if waiting.reply.error is not None:
            raise waiting.reply.error
        return waiting.reply.value

    def _converse(self) -> None:
        """The link's thread: start the process, pass on its replies, see it end.

        One thread for all of it, because the kernel kills the process when the thread that
        started it ends: neither may outlive the other.
        """
        try:
            try:
                for reply in self._child.replies():
                    from_thread.run_sync(self._deliver, reply, token=self._loop)
            finally:
                from_thread.run_sync(self._end, self._child.see_out(), token=self._loop)
        except anyio.RunFinishedError:
            log.debug("the event loop ended before the learner did")

    def _deliver(self, reply: protocol.Reply) -> None:
        waiting = self._waiting.get(reply.request_id)
        if waiting is None:
            log.info("dropped a late reply", extra={"request_id": reply.request_id})
            return
        waiting.reply = reply
        waiting.answered.set()

    def _end(self, how: str) -> None:
        self._ended = how
        for waiting in self._waiting.values():
            waiting.answered.set()
