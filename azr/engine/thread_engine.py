"""vLLM's AsyncLLM with its engine core and worker in a thread of this process (CPU).

Stock AsyncLLM starts two more processes; on a laptop that doubles start-up time
and memory. This uses two seams of vLLM 0.32: AsyncLLM accepts the addresses of
an engine that somebody else runs, and EngineCoreProc asks an overridable method
for the addresses to serve. Consequences for the process: torch's default process
group belongs to vLLM, and a native crash ends the process.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.usage.usage_lib import UsageContext
from vllm.utils.async_utils import cancel_task_threadsafe
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, EngineCoreRequestType, FinishReason
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.core import EngineCoreProc, EngineShutdownState
from vllm.v1.engine.utils import EngineZmqAddresses
from vllm.v1.executor import Executor

from azr.engine.direct_line import CLIENT_INDEX, DirectLine

log = logging.getLogger(__name__)

_JOIN_SECONDS = 10.0


class ThreadEngine:
    """An AsyncLLM and the thread that serves it."""

    def __init__(self, engine_args: AsyncEngineArgs) -> None:
        """Load the model and start the loop; blocks for seconds, raises what vLLM raises."""
        set_num_threads = torch.set_num_threads
        config = engine_args.create_engine_config(UsageContext.ENGINE_CONTEXT)
        # Abstract sockets (Linux): they leave no file behind, even after SIGKILL.
        address = f"ipc://@azr-{uuid.uuid4().hex}"
        inputs, outputs = f"{address}-in", f"{address}-out"
        started: Future[_Core] = Future()
        self._thread = threading.Thread(
            target=_serve,
            args=(config, EngineZmqAddresses(inputs=[inputs], outputs=[outputs]), started),
            name="vllm-engine-core",
            daemon=True,
        )
        self._thread.start()
        # The core first: if the model does not load, its error is raised here, whereas
        # a client would wait ten minutes for an engine that never comes.
        self.core = started.result()
        self.line = self.core.line
        # vLLM's CPU worker disables this function for the whole process.
        torch.set_num_threads = set_num_threads
        self.llm = AsyncLLM.from_vllm_config(
            config,
            client_addresses={"input_address": inputs, "output_address": outputs},
            disable_log_stats=True,
        )

    def shutdown(self) -> None:
        """Abort what runs and stop the thread; blocks for at most 10 s."""
        if self.llm.output_handler is not None:
            # First, or it would report the end of the core as a failure.
            cancel_task_threadsafe(self.llm.output_handler)
        self.core.shutdown_state = EngineShutdownState.REQUESTED
        self.core.input_queue.put_nowait((EngineCoreRequestType.WAKEUP, None))
        self._thread.join(_JOIN_SECONDS)
        self.llm.shutdown()


class _Core(EngineCoreProc):
    """An engine core that serves given addresses, and a direct line into it."""

    def __init__(self, config: VllmConfig, addresses: EngineZmqAddresses) -> None:
        self._given_addresses = addresses
        super().__init__(
            vllm_config=config,
            local_client=True,
            handshake_address="",
            executor_class=Executor.get_class(config),
            log_stats=False,
        )
        self.line = DirectLine(self)
        self._plain_step = self.step_fn
        self.step_fn = self._step_and_hand_over

    @contextmanager
    def _perform_handshakes(self, *_: Any, **__: Any) -> Generator[EngineZmqAddresses]:  # noqa: ANN401
        yield self._given_addresses

    def _step_and_hand_over(self) -> tuple[dict[int, EngineCoreOutputs] | None, bool]:
        """One step, less the outputs that go by the direct line."""
        outputs, executed = self._plain_step()
        if outputs and (ours := outputs.pop(CLIENT_INDEX, None)) is not None:
            self.line.take(ours)
        return outputs, executed

    def _send_finish_outputs_to_client(
        self, req_ids: list[str], client_index: int, finish_reason: FinishReason
    ) -> None:
        """Requests that vLLM ends early, as when it shuts down."""
        if client_index != CLIENT_INDEX:
            super()._send_finish_outputs_to_client(req_ids, client_index, finish_reason)
            return
        ended = [EngineCoreOutput(name, [], finish_reason=finish_reason) for name in req_ids]
        self.line.take(EngineCoreOutputs(outputs=ended))


def _serve(config: VllmConfig, addresses: EngineZmqAddresses, started: Future[_Core]) -> None:
    """Body of the engine thread: load, then step until shut down or broken."""
    try:
        core = _Core(config, addresses)
    except BaseException as error:  # noqa: BLE001 -- handed to whoever waits for the core
        started.set_exception(error)
        return
    started.set_result(core)
    try:
        core.run_busy_loop()
    except SystemExit:
        pass  # how vLLM's loop ends after a shutdown request
    except Exception:
        log.exception("the vLLM engine loop failed")
    # Ends vLLM's output thread, and wakes every waiter of a client that is still there.
    core._send_engine_dead()
    core.shutdown()
