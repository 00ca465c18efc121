"""`metrics.jsonl`: one line per learner step, for people with a text tool.

The database is the record; this file is a convenience. After a resume the steps
since the checkpoint appear again, with the later line being the one that counts.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import anyio

from azr.types import StepResult


@dataclass(frozen=True, slots=True)
class MetricsLog:
    """Appends; never rewrites."""

    path: Path

    async def append(self, result: StepResult) -> None:
        line = {
            "step": result.version,
            "time": round(time.time(), 3),
            "loss": result.loss,
            **result.metrics,
        }
        async with await anyio.open_file(self.path, "a", encoding="utf-8") as file:
            await file.write(json.dumps(line) + "\n")
