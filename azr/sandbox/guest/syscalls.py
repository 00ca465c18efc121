"""The system calls that are left, by name, and the seccomp filters made of them.

Whatever is not listed fails with EPERM. Measured by tracing process 1 and jobs over
the released seed programs and every module of the policy; the few beyond that are
what other versions of libc call instead.
"""

import struct

# name: (x86_64, aarch64); None where an architecture does without.
_NUMBERS = {
    "access": (21, None),
    "arch_prctl": (158, None),
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "clone": (56, 220),
    "close": (3, 57),
    "close_range": (436, 436),
    "dup2": (33, None),
    "dup3": (292, 24),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "faccessat": (269, 48),
    "fcntl": (72, 25),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getdents64": (217, 61),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getrandom": (318, 278),
    "getsockname": (51, 204),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "getuid": (102, 174),
    "ioctl": (16, 29),
    "kill": (62, 129),
    "lseek": (8, 62),
    "lstat": (6, None),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "newfstatat": (262, 79),
    "openat": (257, 56),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "prctl": (157, 167),
    "pread64": (17, 67),
    "prlimit64": (302, 261),
    "read": (0, 63),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "readv": (19, 65),
    "recvfrom": (45, 207),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rseq": (334, 293),
    "sendto": (44, 206),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "setgroups": (116, 159),
    "setresgid": (119, 149),
    "setresuid": (117, 147),
    "sigaltstack": (131, 132),
    "stat": (4, None),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    "wait4": (61, 260),
    "write": (1, 64),
}
MACHINES = ("x86_64", "aarch64")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FILES = frozenset({"openat", "getdents64", "newfstatat", "stat", "lstat"})
"""What a job needs to import a module, and to look around."""
JOB = FILES | _words("""
    brk clock_gettime clock_nanosleep close exit exit_group fstat futex getpid getrandom
    gettimeofday lseek madvise mmap mprotect mremap munmap pread64 read rt_sigprocmask
    rt_sigreturn write
""")
"""Every call that a pure Python computation makes."""
SERVER = JOB | _words("""
    access arch_prctl clone close_range dup2 dup3 faccessat fcntl getegid geteuid getgid getppid
    getsockname gettid getuid ioctl kill pipe2 poll ppoll prctl prlimit64 readlink readlinkat
    readv recvfrom rt_sigaction rseq sendto set_robust_list set_tid_address setgroups setresgid
    setresuid sigaltstack sysinfo uname wait4
""")
"""Also those of process 1, and of CPython's start."""

SIGCHLD, SIGKILL = 17, 9
FORK_FLAGS = 0x0120_0000 | SIGCHLD
"""What libc's fork passes to clone: CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, no namespaces."""
TCGETS = 0x5401
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
ARGUMENTS: dict[str, tuple[int, tuple[int, ...]]] = {
    "clone": (0, (FORK_FLAGS, SIGCHLD)),
    "ioctl": (1, (TCGETS,)),
    "kill": (1, (SIGKILL,)),
    "prctl": (0, (PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS)),
    "prlimit64": (0, (0,)),
}
"""By call: which argument is looked at, and the values it may have."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Classic BPF opcodes and seccomp return values (linux/filter.h, linux/seccomp.h).
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_KILL_PROCESS, _EPERM, _ALLOW = 0x8000_0000, 0x0005_0001, 0x7FFF_0000
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16

type _Step = tuple[int, int, int, int]


def available(calls: frozenset[str], machine: str) -> list[str]:
    """Those of the calls that this architecture has, in alphabetical order."""
    column = MACHINES.index(machine)
    return sorted(name for name in calls if _NUMBERS[name][column] is not None)


def filter_program(calls: frozenset[str], machine: str) -> bytes:
    """The BPF program: kill on a foreign ABI, allow what is listed, EPERM otherwise."""
    column = MACHINES.index(machine)
    numbers = {name: _NUMBERS[name][column] for name in available(calls, machine)}
    plain = [number for name, number in numbers.items() if name not in ARGUMENTS]
    checked = {name: number for name, number in numbers.items() if name in ARGUMENTS}
    steps: list[_Step] = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    for name, number in checked.items():
        block = _argument_check(name)
        steps += [(_JUMP_IF_EQUAL, 0, len(block), number or 0), *block]
    for index, number in enumerate(plain):
        steps.append((_JUMP_IF_EQUAL, len(plain) - index, 0, number or 0))
    steps += [(_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _argument_check(name: str) -> list[_Step]:
    """Ends the program: allow if the argument has one of the values, else EPERM.

    Only the lower half is compared: the kernel reads these arguments as 32 bits.
    """
    index, values = ARGUMENTS[name]
    count = len(values)
    return [
        (_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * index),
        *[(_JUMP_IF_EQUAL, count - at, 0, value) for at, value in enumerate(values)],
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
