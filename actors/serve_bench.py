"""`azr bench serve`: the endpoint beside vLLM's own server, on one model and one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import httpx

from actors.serve_app import Listening
from actors.serve_driver import ANSWER_SECONDS, serving
from azr.config import RunConfig
from azr.engine.environment import engine_environment, resolve_device
from azr.errors import EngineError
from azr.serve.bench import Plan, compare, table
from azr.serve.listen import bound
from azr.serve.target import Target

START_SECONDS = 900.0
STOP_SECONDS = 30.0
OURS, THEIRS = "azr", "vllm"
_NOT_THEIRS = ("VLLM_PLUGINS", "VLLM_ENABLE_V1_MULTIPROCESSING")
"""What makes vLLM the part of a node that azr wants it to be."""
THEIR_SERVER = "vllm.entrypoints.launchers.api_server.entry"
"""What `vllm serve` runs. That command itself asks for the version of a package called vllm,
which the builds for CPUs do not have."""


def bench(target: Target, plan: Plan, *, told: Callable[[str], None]) -> str:
    """Start both servers, load them in turn, and return the table.

    Raises EngineError if one does not start, or fails a request.
    """
    with ExitStack() as held:
        told("starting azr's endpoint")
        at = Listening(host="127.0.0.1", port=0, key=None, access_log=None)
        door = held.enter_context(serving(target, at, run_root=None, ray_address=""))
        port = door.port.remote().result(timeout_s=ANSWER_SECONDS)
        told("starting vLLM's own server")
        theirs = held.enter_context(_own_server(target))
        servers = {OURS: f"http://127.0.0.1:{port}", THEIRS: theirs}

        async def load() -> str:
            return table(await compare(servers, plan, told=told), ours=OURS, theirs=THEIRS)

        return anyio.run(load)


def own_server_command(config: RunConfig, model: Path, port: int) -> list[str]:
    """Of vLLM's server with the engine settings that a replica would have."""
    engine = config.engine
    command = [
        sys.executable,
        *("-m", THEIR_SERVER),
        *("--model", str(model), "--served-model-name", OURS),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", engine.dtype),
        *("--max-model-len", str(engine.max_model_len_tokens)),
        *("--max-num-seqs", str(engine.max_sequences)),
        *("--kv-cache-memory-bytes", str(engine.kv_cache_mib << 20)),
        *("--tensor-parallel-size", str(engine.tensor_parallel)),
        "--disable-log-stats",
        "--disable-uvicorn-access-log",
    ]
    return [*command, "--enforce-eager"] if resolve_device(config) == "cpu" else command


def own_server_environment(config: RunConfig, present: Mapping[str, str]) -> dict[str, str]:
    """The replica's, but for what makes it a part of a node. What must be unset is left out:
    vLLM reads some empty texts as numbers, and does not start."""
    wanted = engine_environment(config)
    left_out = {*_NOT_THEIRS, *(name for name, text in wanted.items() if not text)}
    return {name: text for name, text in {**present, **wanted}.items() if name not in left_out}


@contextmanager
def _own_server(target: Target) -> Generator[str]:
    """The URL of vLLM's server, in processes of its own."""
    opened = bound("127.0.0.1", 0)
    port = opened.getsockname()[1]
    opened.close()
    environment = own_server_environment(target.config, os.environ)
    command = own_server_command(target.config, target.base, port)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 -- a fixed program
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _until_up(process, url, lambda: _tail(output.fileno()))
            yield url
        finally:
            _end(process)


def _until_up(process: subprocess.Popen[bytes], url: str, tail: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EngineError(f"vLLM's server ended with {process.returncode}: {tail()}")
        try:
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise EngineError(f"vLLM's server did not start within {START_SECONDS:g} s: {tail()}")


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    text = os.pread(descriptor, 2000, max(0, size - 2000)).decode(errors="replace")
    return " ".join(text.split())[-500:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its whole session: it has children of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
