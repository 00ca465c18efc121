"""How a replica's workers take new weights in: staged (gloo) or straight into the model.

All offer the same steps, in this order, so that a replica and the channel need
not know which one they have:

    prepare(info)     where the sender is, in a new membership
    begin()           the sender is about to send; returns at once
    deliver(payload)  what the sender exported instead (IPC only)
    arrived()         everything is here; raises while the old weights are untouched
    apply(label)      the new weights are in the model, and generation is paused
    resume()          generation goes on; seconds since the pause
    abort()           the broadcast was called off
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup
from vllm.distributed.weight_transfer.base import (
    WeightTransferInitRequest,
    WeightTransferUpdateRequest,
)
from vllm.v1.engine.async_llm import AsyncLLM

from azr.config import EngineSection
from azr.engine.session import Session
from azr.engine.weight_backend import WeightBackend
from azr.errors import EngineError, WeightSyncError

_JOIN_SECONDS = 5.0
"""Grace for a worker's staging thread once the sender has seen everybody finish."""

type TransferInfo = Mapping[str, str | int | float]


def weight_update(
    backend: WeightBackend,
    session: Session,
    llm: AsyncLLM,
    engine: EngineSection,
    background: TaskGroup,
) -> WeightUpdate:
    """The way that fits the backend the engine was started with."""
    match backend:
        case "gloo":
            return StagedUpdate(session, llm, engine)
        case "nccl":
            return NcclUpdate(session, llm, engine, background)
        case "ipc":
            return IpcUpdate(session, llm, engine)


class WeightUpdate(Protocol):
    """See the module docstring. Every step raises EngineError when the engine is lost."""

    async def prepare(self, info: TransferInfo) -> None: ...

    async def begin(self) -> None: ...

    async def deliver(self, payload: str) -> None: ...

    async def arrived(self) -> None: ...

    async def apply(self, label: str) -> None: ...

    async def resume(self) -> float: ...

    async def abort(self) -> None: ...


class _Pausing:
    """What both ways share: bounded calls, and the pause."""

    def __init__(self, session: Session, llm: AsyncLLM, engine: EngineSection) -> None:
        self._session = session
        self._llm = llm
        self._engine = engine
        self._paused_at = 0.0

    async def resume(self) -> float:
        """Generate again; seconds since the pause."""
        await self._call("resuming", self._llm.resume_generation)
        return anyio.current_time() - self._paused_at

    async def _call[T](
        self, what: str, function: Callable[..., Awaitable[T]], *arguments: object
    ) -> T:
        seconds = self._engine.update_timeout_seconds
        return await self._session.call(what, function, *arguments, seconds=seconds)

    async def _pause(self) -> None:
        """Stop between two steps of the engine."""
        self._paused_at = anyio.current_time()
        # The method behind `pause_generation`, without that one's fixed sleep of 20 ms.
        clear_cache = self._engine.kv_on_update == "recompute"
        pause = self._llm.engine_core.pause_scheduler_async
        await self._call("pausing", pause, "keep", clear_cache)

    async def _finish(self, label: str) -> None:
        """Complete the load; tokens sampled from now on carry the label."""
        await self._call("finishing an update", self._llm.finish_weight_update, label)


class StagedUpdate(_Pausing):
    """gloo: received beside generation, loaded in a short pause. Nothing is lost
    when a broadcast fails (`azr.engine.gloo_transfer`)."""

    async def prepare(self, info: TransferInfo) -> None:
        request = WeightTransferInitRequest(init_info=dict(info))
        await self._call("transfer setup", self._llm.init_weight_transfer_engine, request)

    async def begin(self) -> None:
        await self._call("staging", self._llm.collective_rpc, "stage_weights")

    async def deliver(self, payload: str) -> None:
        raise WeightSyncError(f"gloo has no use for a payload of {len(payload)} characters")

    async def arrived(self) -> None:
        finish = self._llm.collective_rpc
        try:
            await self._call("receiving", finish, "finish_staging", None, (_JOIN_SECONDS,))
        except EngineError as error:
            if self._session.alive.cause is not None:
                raise
            raise WeightSyncError(str(error)) from None

    async def apply(self, label: str) -> None:
        await self._call("opening an update", self._llm.start_weight_update)
        await self._pause()
        await self._call("loading", self._llm.update_weights, WeightTransferUpdateRequest())
        await self._finish(label)

    async def abort(self) -> None:
        await self._call("aborting", self._llm.collective_rpc, "discard_staged")


class NcclUpdate(_Pausing):
    """NCCL: the workers load each tensor as it arrives, so the pause spans the
    broadcast, and a broadcast that fails half-way costs the replica.

    Written from vLLM 0.32's source for its stock engine; not yet run on GPUs.
    """

    def __init__(
        self, session: Session, llm: AsyncLLM, engine: EngineSection, background: TaskGroup
    ) -> None:
        super().__init__(session, llm, engine)
        self._background = background
        self._info: dict[str, Any] | None = None
        self._tensors: dict[str, Any] = {}
        self._loaded = anyio.Event()

    async def prepare(self, info: TransferInfo) -> None:
        """Remember the rendezvous: joining blocks the workers until the sender joins."""
        self._tensors = json.loads(str(info["tensors"]))
        self._info = {
            "master_address": info["host"],
            "master_port": info["port"],
            "rank_offset": info["rank_offset"],
            "world_size": info["world_size"],
            "packed": True,
        }

    async def begin(self) -> None:
        self._loaded = anyio.Event()
        self._background.start_soon(self._receive)

    async def deliver(self, payload: str) -> None:
        raise WeightSyncError(f"nccl has no use for a payload of {len(payload)} characters")

    async def arrived(self) -> None:
        late = EngineError("an NCCL broadcast did not arrive")
        with self._session.alive.bounded(self._engine.update_timeout_seconds, late):
            await self._loaded.wait()

    async def apply(self, label: str) -> None:
        await self._finish(label)

    async def abort(self) -> None:
        if not self._loaded.is_set():
            self._session.alive.cut(EngineError("an NCCL broadcast failed half-way"))

    async def _receive(self) -> None:
        """Load a broadcast as it comes. A failure leaves half a model: the end."""
        request = WeightTransferUpdateRequest(update_info=self._tensors)
        try:
            if self._info is not None:
                join, self._info = WeightTransferInitRequest(init_info=self._info), None
                await self._call("joining", self._llm.init_weight_transfer_engine, join)
            await self._pause()
            await self._call("opening an update", self._llm.start_weight_update)
            await self._call("receiving", self._llm.update_weights, request)
        except EngineError as error:
            self._session.alive.cut(error)
        else:
            self._loaded.set()


class IpcUpdate(_Pausing):
    """CUDA IPC, learner and replica on one GPU: the learner exports memory handles,
    the workers copy from them in the pause.

    Written from vLLM 0.32's source for its stock engine; not yet run on GPUs.
    """

    def __init__(self, session: Session, llm: AsyncLLM, engine: EngineSection) -> None:
        super().__init__(session, llm, engine)
        self._payload: dict[str, Any] | None = None

    async def prepare(self, info: TransferInfo) -> None:  # noqa: ARG002
        request = WeightTransferInitRequest(init_info={"packed": False})
        await self._call("transfer setup", self._llm.init_weight_transfer_engine, request)

    async def begin(self) -> None:
        self._payload = None

    async def deliver(self, payload: str) -> None:
        self._payload = json.loads(payload)

    async def arrived(self) -> None:
        if self._payload is None:
            raise WeightSyncError("the learner exported no weights")

    async def apply(self, label: str) -> None:
        request = WeightTransferUpdateRequest(update_info=self._payload or {})
        self._payload = None
        await self._call("opening an update", self._llm.start_weight_update)
        await self._pause()
        await self._call("loading", self._llm.update_weights, request)
        await self._finish(label)

    async def abort(self) -> None:
        self._payload = None
