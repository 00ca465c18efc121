"""The sandbox needs no root: the same tests pass for a user who has nothing but user namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .ordinary_user import ORDINARY_ID, environment, failures, home_folder, identity

SHOW = "print(open('/proc/self/status').read())"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_ordinary_user_has_nothing_of_root(tmp_path: Path) -> None:
    shown = subprocess.run(
        [*identity(), sys.executable, "-c", SHOW],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    status = dict(line.split(":\t", 1) for line in shown.splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(ORDINARY_ID)}
    assert not status["Groups"].strip()
    dac_read_search = 1 << 2
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) & ~dac_read_search == 0


@pytest.mark.timeout(600)
def test_jails_and_pools_work_for_an_ordinary_user() -> None:
    modules = ("jail", "pool", "hardening", "process_isolation")
    files = [f"tests/sandbox/test_{name}.py" for name in modules]
    assert failures(*files, "-k", "not corpus") == {}


PLANTED = """
import os
def test_is_ordinary(): assert os.geteuid() == 65534
def test_writes_as_root(): open("/etc/azr-planted", "w")
"""


def test_what_fails_there_is_reported_by_name() -> None:
    with home_folder() as home:
        planted = home / "test_planted.py"
        planted.write_text(PLANTED)
        found = failures(str(planted))
    assert [name.rpartition("::")[2] for name in found] == ["test_writes_as_root"]
    assert "PermissionError" in "".join(found.values())
