"""What the kernel says of a jail's processes, and what native code inside one finds."""

from __future__ import annotations

import os
import platform

import anyio
import pytest

from azr.sandbox import Request, SandboxPool
from azr.types import Outcome, Verdict

from .processes import PATIENCE_SECONDS, family, has_job, namespace, open_files, owner, proc, status

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
ENDLESS = "def f(a):\n    while True: pass"
CAP_KILL, CAP_SETGID, CAP_SETUID = 5, 6, 7
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code of x86_64")


async def test_process_1_shares_no_namespace_with_us(pool: SandboxPool) -> None:
    for jail in pool.pids:
        zygote = family(jail)[1]
        for kind in NAMESPACES:
            assert namespace(zygote, kind) != namespace(os.getpid(), kind), kind


async def test_process_1_keeps_three_capabilities_at_most(pool: SandboxPool) -> None:
    needed = sum(1 << capability for capability in (CAP_KILL, CAP_SETGID, CAP_SETUID))
    for jail in pool.pids:
        found = status(family(jail)[1])
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(found[kind], 16) & ~needed == 0, kind
        assert found["NoNewPrivs"] == "1"
        assert int(found["Seccomp_filters"]) >= 1


async def test_the_root_is_read_only_and_no_mount_grants_anything(pool: SandboxPool) -> None:
    for jail in pool.pids:
        mounts = {line.split()[1]: line.split() for line in proc(family(jail)[1], "mounts")}
        assert mounts.keys() == {"/", "/dev/null"}
        root, null = (set(mounts[point][3].split(",")) for point in ("/", "/dev/null"))
        assert {"ro", "nosuid", "nodev"} <= root
        assert {"nosuid", "noexec"} <= null


async def test_limits_of_process_1_leave_nothing_to_lock_to_queue_or_to_dump(
    pool: SandboxPool,
) -> None:
    for jail in pool.pids:
        lines = proc(family(jail)[1], "limits")
        limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
        for name in (
            "Max core file size",
            "Max locked memory",
            "Max msgqueue size",
            "Max realtime priority",
        ):
            assert limits[name] == ["0", "0"], name


async def test_a_job_has_no_capability_one_more_filter_and_leaves_no_core(
    pool: SandboxPool,
) -> None:
    async with anyio.create_task_group() as callers:
        callers.start_soon(pool.run, ENDLESS, ["1"])
        zygote, job = await _confined(pool)
        found = status(job)
        for kind in ("CapPrm", "CapEff", "CapAmb"):  # CapInh counts at execve only
            assert int(found[kind], 16) == 0, kind
        assert "0" not in found["Uid"].split() + found["Gid"].split()
        assert int(found["Seccomp_filters"]) == int(status(zygote)["Seccomp_filters"]) + 1
        # The kernel gives the files of a process that must not be dumped to root.
        assert str(owner(job)) not in found["Uid"].split()
        callers.cancel_scope.cancel()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the files of a process not dumpable")
async def test_a_job_holds_its_pipe_and_nothing_else(pool: SandboxPool) -> None:
    async with anyio.create_task_group() as callers:
        callers.start_soon(pool.run, ENDLESS, ["1"])
        _, job = await _confined(pool)
        files = open_files(job)
        pipes = [name for name in files if name.startswith("pipe:")]
        assert len(pipes) == 1
        assert set(files) == {"/dev/null", pipes[0]}
        callers.cancel_scope.cancel()


MACHINE_CODE = """
import ctypes, mmap
def f(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_long)(address)()
"""


def move(number: int) -> bytes:
    """Machine code for `mov eax, number`."""
    return b"\xb8" + number.to_bytes(4, "little")


@needs_x86
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(move(39) + b"\x0f\x05\xc3", "ok", id="getpid, as a control"),
        pytest.param(move(20) + b"\xcd\x80\xc3", "killed:SIGSYS", id="getpid of 32 bits"),
        pytest.param(move(0x40000000 | 39) + b"\x0f\x05\xc3", "-1", id="getpid of x32"),
        pytest.param(move(57) + b"\x0f\x05\xc3", "-1", id="fork"),
        pytest.param(move(425) + b"\x0f\x05\xc3", "-1", id="io_uring_setup"),
        pytest.param(move(321) + b"\x0f\x05\xc3", "-1", id="bpf"),
        pytest.param(move(101) + b"\x0f\x05\xc3", "-1", id="ptrace"),
        pytest.param(move(310) + b"\x0f\x05\xc3", "-1", id="process_vm_readv"),
        pytest.param(move(135) + b"\x0f\x05\xc3", "-1", id="personality"),
        pytest.param(move(250) + b"\x0f\x05\xc3", "-1", id="keyctl"),
        pytest.param(move(29) + b"\x0f\x05\xc3", "-1", id="shmget"),
        pytest.param(move(149) + b"\x0f\x05\xc3", "-1", id="mlock"),
        pytest.param(move(38) + b"\x0f\x05\xc3", "-1", id="setitimer"),
        pytest.param(move(222) + b"\x0f\x05\xc3", "-1", id="timer_create"),
        pytest.param(move(319) + b"\x0f\x05\xc3", "-1", id="memfd_create"),
        pytest.param(move(157) + b"\x0f\x05\xc3", "-1", id="prctl"),
    ],
)
async def test_machine_code_meets_the_same_walls(
    pool: SandboxPool, code: bytes, expected: str
) -> None:
    request = Request(program=MACHINE_CODE, calls=(repr(code),), policy=False)
    (outcome,) = await pool.examine(request)
    if expected == "killed:SIGSYS":
        assert outcome == Outcome(Verdict.KILLED, detail="SIGSYS")
    else:
        assert outcome.value is not None
        assert (outcome.value.canonical == "-1") == (expected == "-1"), outcome


async def _confined(pool: SandboxPool) -> tuple[int, int]:
    """A zygote and its job, once the job has given everything up."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            for jail in filter(has_job, pool.pids):
                _, zygote, job = family(jail)
                return zygote, job
            await anyio.sleep(0.005)
