"""The lag-0 canary on its own: do trainer and replica agree on this machine?

Opens a real learner and a real replica on one model, sends the learner's weights
once, and compares log-probs on fixed tokens. Each dtype gets a process of its own,
because an engine takes its process's environment and default process group.

Run by `azr doctor --canary`; the child is `python -m actors.canary CONFIG.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from azr.config import RunConfig
from azr.engine.environment import engine_environment
from azr.errors import AzrError, EngineError, WeightSyncError, expected_error
from azr.membership import ReplicaProof

CHILD_SECONDS = 300.0
TOLERANCE_NATS: dict[str, float] = {"float32": 1e-3, "bfloat16": 0.02}
"""Largest mean |trainer - replica| log-prob that counts as agreement."""


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """One dtype's comparison."""

    dtype: str
    mean_nats: float
    tolerance_nats: float
    fingerprint: str

    @property
    def agrees(self) -> bool:
        return self.mean_nats < self.tolerance_nats


def run_canary(config: RunConfig, dtype: Literal["float32", "bfloat16"]) -> CanaryResult:
    """Compare trainer and replica in `dtype`.

    Raises EngineError if the child fails or takes longer than its deadline.
    """
    sections = {
        "learner": config.learner.model_copy(update={"dtype": dtype}),
        "engine": config.engine.model_copy(
            update={"dtype": dtype, "canary_tolerance_nats": TOLERANCE_NATS[dtype]}
        ),
    }
    chosen = config.model_copy(update=sections)
    command = [sys.executable, "-m", "actors.canary", chosen.model_dump_json()]
    environment = os.environ | engine_environment(chosen)
    try:
        child = subprocess.run(  # noqa: S603 -- our own module, no model text
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"the {dtype} canary took longer than {CHILD_SECONDS:g} s") from None
    if child.returncode != 0:
        reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"the {dtype} canary failed: {reason}")
    answer = json.loads(child.stdout.splitlines()[-1])
    return CanaryResult(dtype, answer["mean_nats"], TOLERANCE_NATS[dtype], answer["fingerprint"])


async def _compare(config: RunConfig) -> ReplicaProof:
    from azr.engine.canary import sample_canary  # noqa: PLC0415
    from azr.engine.replica import VllmReplica  # noqa: PLC0415 -- heavy, and only in the child
    from azr.engine.weight_channel import GlooWeightChannel  # noqa: PLC0415
    from azr.learner.link import LearnerProcess  # noqa: PLC0415
    from azr.model_path import model_folder  # noqa: PLC0415

    proofs: list[ReplicaProof] = []

    async def keep(proof: ReplicaProof) -> None:
        proofs.append(proof)

    model = model_folder(config.run)
    with tempfile.TemporaryDirectory(prefix="azr-canary-") as scratch:
        async with (
            LearnerProcess.open(model, config, Path(scratch)) as learner,
            VllmReplica.open(str(model), config, name="canary", version=0) as replica,
        ):
            tokens = await sample_canary(replica)
            channel = GlooWeightChannel(
                learner, [replica], engine=config.engine, canary=tokens, record=keep
            )
            with contextlib.suppress(WeightSyncError):  # A refused proof is this function's answer.
                await channel.publish(0)
    if not proofs:
        raise EngineError("the replica received no weights")
    return proofs[-1]


def _main() -> int:
    """Print the proof as JSON; an expected failure is one line on stderr."""
    try:
        proof = anyio.run(_compare, RunConfig.model_validate_json(sys.argv[1]))
    except (AzrError, BaseExceptionGroup) as error:
        sys.stderr.write(f"{expected_error(error) or error!r}\n")
        return 2
    answer = {"mean_nats": proof.canary_nats, "fingerprint": proof.fingerprint}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
