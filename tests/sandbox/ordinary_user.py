"""Runs tests again as an ordinary user, because a suite that runs as root proves little.

    from .ordinary_user import failures

    def test_the_corpus_passes_as_an_ordinary_user() -> None:
        assert failures("tests/sandbox/test_corpus.py") == {}

`failures` starts pytest in a process of its own as user and group 65534, without
supplementary groups and without root's capabilities; what it is given is pytest's
own selection (files, `file::test`, `-k`, `-n`). It returns what failed, by name.
Called by somebody who is not root, it skips the calling test: that person's own
run of the suite is the proof already. (So a selection that contains the caller ends
there.) The identity's cache and temporary files live in a folder that is removed.

One capability may stay, CAP_DAC_READ_SEARCH: where the interpreter, the packages or
this checkout lie under a folder that others cannot enter (root's home, say), Python
itself could not start without it. It reads files and does nothing for namespaces,
mounts, ids or signals, which is what these tests are about; inside a jail it is gone
like all others.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

ORDINARY_ID = 65_534
REPOSITORY = Path(__file__).parents[2]
_READ_SEARCH = "+dac_read_search"


def failures(*selection: str, timeout_seconds: float = 600.0) -> dict[str, str]:
    """Run pytest on `selection` as an ordinary user: message by name of each failed test.

    Tests that are skipped there count as passed. AssertionError if nothing was run.
    """
    if os.geteuid() != 0:
        pytest.skip("this suite runs as an ordinary user already")
    with home_folder() as home:
        report = home / "report.xml"
        pytest_command = ["-B", "-m", "pytest", "-q", f"--junitxml={report}", *selection]
        done = subprocess.run(
            [*identity(), sys.executable, *pytest_command],
            cwd=REPOSITORY,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
        assert report.exists(), done.stdout[-4000:]
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 -- our own pytest wrote it
    assert cases, done.stdout[-4000:]
    return {
        f"{case.get('classname')}::{case.get('name')}": found.get("message") or found.text or ""
        for case in cases
        for found in (case.find("failure"), case.find("error"))
        if found is not None
    }


def identity() -> list[str]:
    """The command that turns root into the ordinary user, to put before another command."""
    number = str(ORDINARY_ID)
    needed = _READ_SEARCH if _is_closed_to_others() else "-all"
    return [
        *("setpriv", "--reuid", number, "--regid", number, "--clear-groups"),
        *("--bounding-set", "-all,+dac_read_search", "--inh-caps", f"-all,{needed}"),
        *("--ambient-caps", f"-all,{needed}", "--"),
    ]


def environment(home: Path) -> dict[str, str]:
    """Of the ordinary user's processes; `home` must be theirs, and open to all."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


@contextmanager
def home_folder() -> Generator[Path]:
    """A folder of the ordinary user's that all may enter, removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="azr-ordinary-user-"))
    try:
        if os.geteuid() == 0:
            os.chown(home, ORDINARY_ID, ORDINARY_ID)
        home.chmod(0o755)  # a jail may run as yet another user
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _is_closed_to_others() -> bool:
    """Whether Python could not start, or not find this checkout, without root's eyes."""
    used = {Path(sys.executable), Path(sys.executable).resolve(), Path(sys.base_prefix), REPOSITORY}
    folders = {folder for path in used for folder in (path, *path.parents)}
    return not all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)
