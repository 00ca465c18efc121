"""The learner's end of a weight update on GPUs: NCCL or CUDA IPC, by vLLM's own engines.

The same interface as `azr.learner.broadcast.WeightSender`, over vLLM's
`WeightTransferTrainerFactory`. vLLM's trainer engines expect to drive the
replicas themselves; here the node does that, so they get a client that says
nothing (NCCL) or hands over what it was given (IPC).

Written from the source of vLLM 0.32; it has not run on GPUs yet. Figures come
with that check.
"""

from __future__ import annotations

import base64
import json
import pickle
import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource
from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from azr.errors import WeightSyncError


class DeviceSender:
    """Sends parameters that live on this process's current CUDA device.

    A failed or late transfer cannot be taken back (a peer may hang inside NCCL):
    the group is dropped, and replicas that were loading are lost.
    """

    def __init__(
        self,
        backend: Literal["nccl", "ipc"],
        named_parameters: Iterable[tuple[str, torch.Tensor]],
        *,
        dtype: str,
        host: str = "127.0.0.1",
        timeout_seconds: float,
    ) -> None:
        """`named_parameters` are the live tensors; they are read anew at every send."""
        self._backend = backend
        self._source = _CastSource(list(named_parameters), getattr(torch, dtype))
        self._host = host
        self._port = 0
        self._timeout_seconds = timeout_seconds
        self._client = _Client(timeout_seconds)
        self._engine: Any = None
        self._epoch = -1

    def rendezvous_info(self) -> dict[str, str | int]:
        """`host`, a fresh `port`, and the `tensors` that replicas will receive."""
        with socket.create_server((self._host, 0)) as listener:
            self._port = listener.getsockname()[1]
        tensors = json.dumps(self._source.update_info())
        return {"host": self._host, "port": self._port, "tensors": tensors}

    def open_group(self, world_size: int, epoch: int) -> None:
        """Rendezvous with `world_size - 1` workers (NCCL), or agree on terms (IPC)."""
        self.drop_group()
        if self._backend == "nccl":
            terms: Any = NCCLTrainerInitInfo(
                rank=0,
                master_address=self._host,
                master_port=self._port,
                world_size=world_size,
            )
        else:
            terms = IPCTrainerInitInfo(rank=0)
        try:
            self._engine = WeightTransferTrainerFactory.trainer_init(
                terms, client=self._client, source=self._source
            )
        except RuntimeError as error:
            message = f"the replicas' GPU workers did not join the weight group: {error}"
            raise WeightSyncError(message) from None
        self._epoch = epoch

    def send(
        self, named_parameters: Iterable[tuple[str, torch.Tensor]], *, epoch: int, dtype: str
    ) -> dict[str, float | str]:
        """Broadcast (NCCL), or export as `payload` (IPC), in `dtype`.

        Exported memory is kept until the next send, or until the deadline.
        """
        if self._engine is None or epoch != self._epoch:
            raise WeightSyncError(f"no weight group is open for epoch {epoch}")
        self._source.parameters = list(named_parameters)
        self._source.dtype = getattr(torch, dtype)
        self._client.release()
        started = time.monotonic()
        outcome: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._run, args=(outcome,), daemon=True).start()
        answer = outcome if self._backend == "nccl" else self._client.exported
        try:
            payload = answer.get(timeout=self._timeout_seconds)
        except queue.Empty:
            payload = "error: the transfer is late"
        if payload.startswith("error: "):
            self.drop_group()
            raise WeightSyncError(f"the weight transfer failed: {payload.removeprefix('error: ')}")
        measured = {
            "send_seconds": time.monotonic() - started,
            "sent_mib": self._source.num_bytes() / 2**20,
            "fingerprint": "",
        }
        return measured | ({"payload": payload} if self._backend == "ipc" else {})

    def drop_group(self) -> None:
        """Leave the current group."""
        self._client.release()
        if self._engine is not None:
            self._engine.shutdown()
        self._engine = None
        self._epoch = -1

    def _run(self, outcome: queue.Queue[str]) -> None:
        """Body of a transfer's thread: it may hang in NCCL, its caller does not."""
        try:
            self._engine.send_weights()
        except Exception as error:  # noqa: BLE001 -- reported to the caller of `send`
            for answer in (outcome, self._client.exported):
                answer.put(f"error: {error}")
        else:
            outcome.put("")


class _CastSource(WeightSource):
    """Live float32 parameters, in the replicas' dtype."""

    def __init__(self, parameters: list[tuple[str, torch.Tensor]], dtype: torch.dtype) -> None:
        self.parameters = parameters
        self.dtype = dtype

    def metadata(self) -> list[ParamMeta]:
        return [ParamMeta(name, self.dtype, tuple(value.shape)) for name, value in self.parameters]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, value in self.parameters:
            yield name, value.detach().to(self.dtype)

    def update_info(self) -> dict[str, list[Any]]:
        """What a worker must know before it receives, in the order of the transfer."""
        metadata = self.metadata()
        return {
            "names": [meta.name for meta in metadata],
            "dtype_names": [str(meta.dtype).removeprefix("torch.") for meta in metadata],
            "shapes": [list(meta.shape) for meta in metadata],
        }

    def num_bytes(self) -> int:
        return sum(value.numel() for _, value in self.parameters) * self.dtype.itemsize


class _Client:
    """Stands where vLLM's trainer engine expects the replicas' control plane."""

    def __init__(self, timeout_seconds: float) -> None:
        self.exported: queue.Queue[str] = queue.Queue()
        self._timeout_seconds = timeout_seconds
        self._released = threading.Event()

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Nothing: the node initialises its replicas."""

    def start_weight_update(self) -> None:
        """Nothing: the node pauses its replicas."""

    def update_weights(self, update_info: Any) -> None:  # noqa: ANN401 -- dict or list of them
        """IPC: hand over the handles, and keep the memory behind them for a while."""
        handles = update_info.get("ipc_handles")
        if handles is None:
            return
        released = self._released = threading.Event()
        rest = {name: update_info[name] for name in ("names", "dtype_names", "shapes")}
        pickled = base64.b64encode(pickle.dumps(handles)).decode()
        self.exported.put(json.dumps(rest | {"ipc_handles_pickled": pickled}))
        released.wait(self._timeout_seconds)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Nothing: the node labels and resumes its replicas."""

    def release(self) -> None:
        """Exported memory is no longer needed; forget unclaimed handles."""
        self._released.set()
        while not self.exported.empty():
            self.exported.get_nowait()
