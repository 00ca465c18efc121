import subprocess
import sys
from pathlib import Path

ROUNDS = 8


def test_a_killed_process_loses_no_row_and_trains_none_twice(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.crash_play", str(path.parent), str(ROUNDS), "1"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
