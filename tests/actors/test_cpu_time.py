"""CPU time of a process tree."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from actors.cpu_time import tree_cpu_seconds

BURN = """
import time
while time.process_time() < 0.3:
    pass
print(flush=True)
input()
"""


def test_a_childs_time_counts_while_it_runs_and_after_it_ended() -> None:
    before = tree_cpu_seconds(os.getpid()) - time.process_time()
    with subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        running = tree_cpu_seconds(os.getpid()) - time.process_time()
        child.communicate(b"\n")
    ended = tree_cpu_seconds(os.getpid()) - time.process_time()
    assert running - before >= 0.25
    assert ended - before >= 0.25
