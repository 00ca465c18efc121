"""Jails come and go: killed, abandoned, orphaned, in a thread, or not to be had."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest

from azr import values
from azr.config import SandboxSection
from azr.errors import SandboxError, SandboxUnavailableError
from azr.sandbox import SandboxPool, probe
from azr.sandbox.diagnosis import unavailable
from azr.sandbox.pool import ATTEMPTS
from azr.types import Outcome, Verdict

from .processes import PATIENCE_SECONDS, family, gone, has_job, proc

LONG = SandboxSection(workers=1, wall_seconds=300, cpu_seconds=300, memory_mib=256)
ECHO = "def f(a):\n    return a"
ENDLESS = "def f(a):\n    while True: pass"
SOME_SECONDS = "def f(a):\n    for i in range(6_000_000): pass\n    return a"


async def test_a_job_whose_jail_is_killed_is_done_by_another() -> None:
    async with SandboxPool.open(LONG) as pool, anyio.create_task_group() as callers:
        before = pool.pids

        async def ask() -> None:
            assert await pool.run(SOME_SECONDS, ["1"]) == (
                Outcome(Verdict.OK, values.from_python(1)),
            )

        callers.start_soon(ask)
        os.kill(await _busy_jail(pool), signal.SIGKILL)
        callers.start_soon(ask)
    assert len(before) == 2


async def test_a_job_in_whose_hands_every_jail_dies_is_an_infrastructure_error() -> None:
    async with SandboxPool.open(LONG) as pool, anyio.create_task_group() as callers:

        async def ask() -> None:
            with pytest.raises(SandboxError, match=f"{ATTEMPTS} jails failed"):
                await pool.run(ENDLESS, ["1"])

        callers.start_soon(ask)
        killed = 0
        for _ in range(ATTEMPTS):
            killed = await _busy_jail(pool, other_than=killed)
            os.kill(killed, signal.SIGKILL)


async def test_a_job_whose_process_is_killed_from_outside_runs_again() -> None:
    async with SandboxPool.open(LONG) as pool:

        async def ask() -> None:
            assert await pool.run(SOME_SECONDS, ["1"]) == (
                Outcome(Verdict.OK, values.from_python(1)),
            )

        async with anyio.create_task_group() as callers:
            callers.start_soon(ask)
            os.kill(family(await _busy_jail(pool))[-1], signal.SIGKILL)
        assert pool.statistics.jobs == 2
        assert pool.statistics.replaced_jails == 0


async def test_a_process_killed_while_it_waits_for_a_job_is_replaced_inside_its_jail() -> None:
    async with SandboxPool.open(LONG) as pool:
        for jail in pool.pids:
            os.kill(await _waiting_child(jail), signal.SIGKILL)
        assert await pool.validate(ECHO, ["1"]) == (Outcome(Verdict.OK, values.from_python(1)),)
        assert pool.statistics.failed_jails == pool.statistics.replaced_jails == 0


async def test_a_job_finds_no_dead_jail_that_died_idle() -> None:
    async with SandboxPool.open(LONG) as pool:
        for jail in pool.pids:
            os.kill(jail, signal.SIGKILL)
            await gone([jail])
        assert await pool.validate(ECHO, ["1"]) == (Outcome(Verdict.OK, values.from_python(1)),)
        assert pool.statistics.failed_jails == pool.statistics.replaced_jails == 2


async def test_cancelling_a_caller_stops_the_work_and_frees_the_slot() -> None:
    async with SandboxPool.open(LONG) as pool:
        async with anyio.create_task_group() as callers:
            callers.start_soon(pool.run, ENDLESS, ["1"])
            busy = await _busy_jail(pool)
            callers.start_soon(pool.run, ENDLESS, ["2"])  # waits in the queue
            await anyio.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        with anyio.fail_after(PATIENCE_SECONDS):
            assert (await pool.run(ECHO, ["1"]))[0].verdict is Verdict.OK
        assert busy not in pool.pids
        await gone([busy])


async def test_callers_cancelled_at_any_moment_leave_a_working_pool() -> None:
    rng = random.Random(0)  # noqa: S311

    async def give_up(patience_seconds: float) -> None:
        with anyio.move_on_after(patience_seconds):
            await pool.validate(SOME_SECONDS, ["1"])

    async with SandboxPool.open(LONG) as pool:
        async with anyio.create_task_group() as callers:
            for _ in range(12):
                callers.start_soon(give_up, rng.uniform(0, 0.6))
        assert await pool.validate(ECHO, ["1"]) == (Outcome(Verdict.OK, values.from_python(1)),)
        members = [pid for jail in pool.pids for pid in family(jail)]
        assert len(pool.pids) <= 2
    await gone(members)


async def test_closing_a_pool_leaves_no_process_and_no_error_wrapped() -> None:
    members: list[int] = []

    async def use_and_fail() -> None:
        async with SandboxPool.open(LONG) as pool:
            members.extend(pid for jail in pool.pids for pid in family(jail))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await use_and_fail()
    assert 4 <= len(members) <= 6  # two nsjails with a zygote each, and their next children
    await gone(members)


async def test_inside_nobody_is_root_and_nothing_of_the_environment_is_known(
    pool: SandboxPool,
) -> None:
    for jail in pool.pids:
        _, zygote, *_ = family(jail)
        (uids,) = [line for line in proc(zygote, "status") if line.startswith("Uid:")]
        assert "0" not in uids.split()
        mapped = [int(line.split()[1]) for line in proc(zygote, "uid_map")]
        assert mapped
        assert 0 not in mapped
        (environment,) = proc(zygote, "environ")
        assert {entry.partition("=")[0] for entry in environment.rstrip("\0").split("\0")} == {
            "PYTHONHOME",
            "PYTHONPATH",
            "PYTHONHASHSEED",
            "LD_BIND_NOW",
            "LD_LIBRARY_PATH",
            "HOST_FD",
            "CHILD_ID",
            "HEAP_SHIFT",
        }


ORPHANING_HOST = """
import os, sys, threading
import anyio
from azr.config import SandboxSection
from azr.sandbox import SandboxPool

async def main():
    limits = SandboxSection(
        isolation=sys.argv[2], workers=1, wall_seconds=300, cpu_seconds=300
    )
    async with SandboxPool.open(limits) as pool:
        if sys.argv[1] == "forked" and os.fork() == 0:
            threading.Event().wait()  # holds the host's sockets open
        async with anyio.create_task_group() as callers:
            callers.start_soon(pool.run, "def f(a):\\n    while True: pass", ["1"])
            await anyio.wait_all_tasks_blocked()
            print(*pool.pids, flush=True)

anyio.run(main)
"""


@pytest.mark.parametrize("isolation", ["jail", "process"])
@pytest.mark.parametrize("kind", ["alone", "forked"])
async def test_jails_die_with_a_host_that_is_killed(kind: str, isolation: str) -> None:
    host = _start_host(kind, isolation)
    try:
        assert host.stdout is not None
        jails = [int(pid) for pid in (await anyio.to_thread.run_sync(host.stdout.readline)).split()]
        members = [pid for jail in jails for pid in family(jail)]
        assert len(members) >= 3
        host.kill()
        await gone(members)
    finally:
        os.killpg(host.pid, signal.SIGKILL)
        host.wait()
        host.stdout.close()


def test_a_pool_works_in_a_loop_outside_the_main_thread() -> None:
    found: list[Outcome] = []

    async def main() -> None:
        async with SandboxPool.open(LONG) as pool:
            found.extend(await pool.validate(ECHO, ["1"]))
            callers = anyio.create_task_group()
            async with callers:
                callers.start_soon(pool.run, ENDLESS, ["1"])
                await _busy_jail(pool)
                callers.cancel_scope.cancel()
            found.extend(await pool.run(ECHO, ["1"]))

    for uvloop in (False, True):
        options = {"use_uvloop": uvloop}
        thread = threading.Thread(
            target=anyio.run, args=(main,), kwargs={"backend_options": options}
        )
        thread.start()
        thread.join(PATIENCE_SECONDS)
    assert found == [Outcome(Verdict.OK, values.from_python(1))] * 4


async def test_the_probe_finds_every_promise_kept(limits: SandboxSection) -> None:
    report = await probe(limits)
    assert report.ok, [check for check in report.checks if not check.kept]
    assert len(report.checks) >= 7


async def test_a_missing_library_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "nsjail"
    fake.write_text(
        "#!/bin/sh\necho 'nsjail: error while loading shared libraries: libnl-route-3.so.200:"
        " cannot open shared object file: No such file or directory' >&2\nexit 127\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxUnavailableError, match=r"libnl-route-3\.so\.200") as caught:
        await probe(LONG)
    assert "apt-get install -y libnl-route-3-200" in caught.value.hint


@pytest.mark.parametrize(
    ("stderr", "hint"),
    [
        ("clone(flags=CLONE_NEWNS|...) failed: Operation not permitted", "--privileged"),
        ("clone(flags=CLONE_NEWUSER) failed: No space left on device", "max_user_namespaces"),
        ("mount('/') failed: Permission denied", "apparmor_restrict_unprivileged_userns"),
        ("something never seen", "azr doctor"),
    ],
)
def test_what_nsjail_says_becomes_what_to_do(stderr: str, hint: str) -> None:
    assert hint in unavailable(stderr).hint


def _start_host(kind: str, isolation: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", ORPHANING_HOST, kind, isolation],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


async def _waiting_child(jail: int) -> int:
    """The process that a jail's zygote has ready for the next job."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            match family(jail):
                case [_, _, child]:
                    return child
            await anyio.sleep(0.005)


async def _busy_jail(pool: SandboxPool, *, other_than: int = 0) -> int:
    """The nsjail whose zygote has a job running."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            for jail in pool.pids - {other_than}:
                if has_job(jail):
                    return jail
            await anyio.sleep(0.005)
