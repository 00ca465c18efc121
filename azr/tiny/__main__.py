"""`python -m azr.tiny [FOLDER]`: measure a base in the jail and print the table.

Takes a few minutes on a laptop; `--proposals` trades time for precision.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anyio

from azr.config import SandboxSection
from azr.sandbox import SandboxPool
from azr.tiny import model_path
from azr.tiny.measure import diversity, measure, shown_work, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m azr.tiny", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=model_path())
    parser.add_argument("--proposals", type=int, default=256, help="per task type and setting")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    anyio.run(_measure, arguments.folder, arguments.proposals, arguments.seed)


async def _measure(folder: Path, proposals: int, seed: int) -> None:
    async with SandboxPool.open(SandboxSection(workers=1)) as sandbox:
        measured = await measure(folder, sandbox, seed=seed, proposals=proposals)
    sys.stdout.write(f"{table(measured)}\n\n{diversity(measured)}\n{shown_work(measured)}\n")


if __name__ == "__main__":
    main()
