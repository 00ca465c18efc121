"""The baseline's tasks: what the pretraining generator draws, with answers known.

Programs that are reserved for evaluation are left out, as in pretraining. The jail
checks every task again when a run starts from the file.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azr.seeds import derive_seed
from azr.tiny.programs import Drawn, Stuck, draw_program
from azr.tiny.reserved import is_reserved
from azr.tiny.samples import arguments_text, draw_pairs, message_of

TASKS = 2000
"""Of each kind: a deduction and an abduction task from each pair, and induction tasks."""


def write_seed_file(path: Path, *, seed: int, num_pairs: int, tasks: int = TASKS) -> None:
    """JSON lines as `selfplay.seed_file` reads them; the same seed gives the same file.

    Args:
        path: replaced in one move.
        seed: of the draw.
        num_pairs: of an induction task, `selfplay.induction_pairs`.
        tasks: rows of each of the two kinds.
    """
    rng = random.Random(derive_seed(seed, "generator tasks"))  # noqa: S311
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    with scratch.open("w", encoding="utf-8") as file:
        for _ in range(tasks):
            for row in (_pair(rng), _induction(rng, num_pairs)):
                file.write(json.dumps(row) + "\n")
    scratch.replace(path)


def _pair(rng: random.Random) -> dict[str, Any]:
    drawn = next(_programs(rng))
    return {
        "snippet": drawn.program.text,
        "input": arguments_text(drawn.inputs),
        "output": repr(drawn.output),
        "imports": [],
    }


def _induction(rng: random.Random, num_pairs: int) -> dict[str, Any]:
    for drawn in _programs(rng):
        try:
            pairs = draw_pairs(rng, drawn, num_pairs)
        except Stuck:
            continue
        return {
            "snippet": drawn.program.text,
            "inputs": [arguments for arguments, _ in pairs],
            "outputs": [output for _, output in pairs],
            "message": message_of(rng, drawn.program),
            "imports": [],
        }
    raise AssertionError("programs never end")


def _programs(rng: random.Random) -> Iterator[Drawn]:
    """Programs that are not kept for evaluation, without end."""
    while True:
        drawn = draw_program(rng)
        if not is_reserved(drawn.program.text):
            yield drawn
