"""A jail has limits as a whole where this machine lets us make a cgroup, and needs none."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from azr import values
from azr.config import SandboxSection
from azr.sandbox import Request, SandboxPool, cgroups
from azr.sandbox.cgroups import MAX_PROCESSES, Cgroups, Group
from azr.types import Outcome, Verdict

from .processes import family

ECHO = "def f(a):\n    return a"
SUPPORT = Cgroups.probe()
needs_groups = pytest.mark.skipif(SUPPORT is None, reason="no cgroup can be made here")


def bases() -> tuple[Path, ...]:
    assert SUPPORT is not None
    return SUPPORT._bases


def groups_of(pid: int) -> list[str]:
    """Names of the groups that a process has made."""
    return [folder.name for base in bases() for folder in base.glob(f"azr-{pid}-*")]


@needs_groups
async def test_each_jail_is_in_a_group_of_its_own_until_it_ends(limits: SandboxSection) -> None:
    async with SandboxPool.open(limits) as pool:
        for jail in pool.pids:
            members = {str(pid) for pid in family(jail)}
            assert 2 <= len(members) <= 3
            (group,) = {
                name
                for name in groups_of(os.getpid())
                for base in bases()
                if members <= set((base / name / "cgroup.procs").read_text().split())
            }
            folders = [base / group for base in bases()]
            assert str(MAX_PROCESSES) in [
                (folder / "pids.max").read_text().strip()
                for folder in folders
                if (folder / "pids.max").exists()
            ]
        assert len(set(groups_of(os.getpid()))) == 2
    assert groups_of(os.getpid()) == []


@needs_groups
async def test_a_jail_that_is_killed_leaves_no_group(limits: SandboxSection) -> None:
    async with SandboxPool.open(limits) as pool:
        before = set(groups_of(os.getpid()))
        for jail in pool.pids:
            os.kill(jail, signal.SIGKILL)
        await pool.validate(ECHO, ["1"])
        after = set(groups_of(os.getpid()))
        assert len(after) == 2
        assert not before & after


@needs_groups
async def test_a_job_that_the_kernel_kills_for_its_jails_memory_is_out_of_memory(
    limits: SandboxSection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "HEADROOM_MIB", 64 - limits.memory_mib)
    grow = "def f(a):\n    return len(b'x' * (a << 20))"
    async with SandboxPool.open(limits) as pool:
        jails = pool.pids
        request = Request(program=grow, calls=("1", "128", "2"))
        assert await pool.examine(request) == (
            Outcome(Verdict.OK, values.from_python(1 << 20)),
            Outcome(Verdict.OUT_OF_MEMORY, detail="jail"),
            Outcome(Verdict.OK, values.from_python(2 << 20)),
        )
        assert pool.pids == jails  # the job died of it, not the jail


HOST = """
import anyio, sys
from azr.config import SandboxSection
from azr.sandbox import SandboxPool

async def main():
    async with SandboxPool.open(SandboxSection(workers=1)) as pool:
        print(*pool.pids, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@needs_groups
def test_groups_of_a_host_that_was_killed_are_removed_by_the_next() -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOST], stdout=subprocess.PIPE
    ) as host:
        assert host.stdout is not None
        host.stdout.readline()
        left = groups_of(host.pid)
        host.kill()
    assert len(set(left)) == 2
    while groups_of(host.pid):  # its jails die with it, in their own time
        assert Cgroups.probe() is not None


def test_the_probe_leaves_nothing_behind() -> None:
    if Cgroups.probe() is not None:
        assert groups_of(os.getpid()) == []


def test_a_group_that_is_refused_is_done_without(tmp_path: Path) -> None:
    assert Cgroups(2, (tmp_path / "absent",), itertools.count()).make(256) is None
    assert Cgroups(2, (tmp_path,), itertools.count()).make(256) is None  # it has no controllers
    assert list(tmp_path.iterdir()) == []
    assert Group((tmp_path / "absent",)).oom_kills() == 0


def test_a_command_runs_even_if_its_group_is_gone(tmp_path: Path) -> None:
    command = Group((tmp_path / "absent",)).joining(["/bin/echo", "ran"])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "ran\n"


def test_a_folder_delegates_only_if_both_controllers_are_for_its_children(tmp_path: Path) -> None:
    assert not cgroups._delegates(tmp_path)
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
    assert cgroups._delegates(tmp_path)
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    assert not cgroups._delegates(tmp_path)


def test_our_own_group_comes_before_those_above_it(tmp_path: Path) -> None:
    (tmp_path / "user.slice/app.slice/run.scope").mkdir(parents=True)
    lines = ["4:memory,pids:/elsewhere", "0::/user.slice/app.slice/run.scope"]
    own = cgroups._own_paths(lines)
    assert [path.name for path in cgroups._upwards(tmp_path, own[""])] == [
        "run.scope",
        "app.slice",
        "user.slice",
        tmp_path.name,
    ]
    assert list(cgroups._upwards(tmp_path, own["memory"])) == [tmp_path]


def test_mount_points_are_found_by_controller() -> None:
    lines = [
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0",
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0",
        "proc /proc proc rw 0 0",
    ]
    found = cgroups._mounts(lines)
    assert found["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert found[""] == Path("/sys/fs/cgroup/unified")
    assert "memory" not in found
