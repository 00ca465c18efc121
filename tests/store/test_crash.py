import subprocess
import sys
from pathlib import Path

ROUNDS = 8


def test_a_killed_process_loses_no_row_and_trains_none_twice(path: Path) -> None:
    script = Path(__file__).with_name("crash_play.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path.parent), str(ROUNDS), "1"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
