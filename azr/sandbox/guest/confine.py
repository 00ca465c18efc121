"""What a job's process gives up before it touches a program: resources, identity, system calls.

The jail around it already has no network, no writable file and no /proc. This
second, stacked layer separates one job from process 1 and from the next job.
"""

import ctypes
import os
import resource
import struct

# Every system call that a pure Python computation makes; all others fail with EPERM.
_ALLOWED = {
    "x86_64": {
        "read": 0,
        "write": 1,
        "close": 3,
        "stat": 4,
        "fstat": 5,
        "lstat": 6,
        "lseek": 8,
        "mmap": 9,
        "mprotect": 10,
        "munmap": 11,
        "brk": 12,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "pread64": 17,
        "mremap": 25,
        "madvise": 28,
        "getpid": 39,
        "exit": 60,
        "gettimeofday": 96,
        "futex": 202,
        "getdents64": 217,
        "clock_gettime": 228,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "openat": 257,
        "newfstatat": 262,
        "getrandom": 318,
    },
    "aarch64": {
        "read": 63,
        "write": 64,
        "close": 57,
        "newfstatat": 79,
        "fstat": 80,
        "lseek": 62,
        "mmap": 222,
        "mprotect": 226,
        "munmap": 215,
        "brk": 214,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "pread64": 67,
        "mremap": 216,
        "madvise": 233,
        "getpid": 172,
        "exit": 93,
        "gettimeofday": 169,
        "futex": 98,
        "getdents64": 61,
        "clock_gettime": 113,
        "clock_nanosleep": 115,
        "exit_group": 94,
        "openat": 56,
        "getrandom": 278,
    },
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Classic BPF opcodes and seccomp return values (linux/filter.h, linux/seccomp.h).
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_KILL_PROCESS, _EPERM, _ALLOW = 0x8000_0000, 0x0005_0001, 0x7FFF_0000
_OFFSET_NUMBER, _OFFSET_ARCH = 0, 4
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2


def filter_program(machine: str) -> bytes:
    """The BPF program: kill on a foreign ABI, allow what is listed, EPERM otherwise."""
    numbers = sorted(_ALLOWED[machine].values())
    steps = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    count = len(numbers)
    steps += [(_JUMP_IF_EQUAL, count - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


class Confinement:
    """Prepared once in process 1, entered once in every job's process."""

    def __init__(self, child_id: int) -> None:
        """`child_id`: user and group of jobs inside the jail, or -1 to keep one's own."""
        self._child_id = child_id
        program = filter_program(os.uname().machine)
        self._program = ctypes.create_string_buffer(program, len(program))
        pointer = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(self._program))
        self._filter = ctypes.create_string_buffer(pointer, len(pointer))
        self._prctl = ctypes.PyDLL(None).prctl
        self._prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

    def enter(self, *, memory_mib: int, cpu_seconds: int) -> None:
        """Give everything up, for good. OSError if any part is refused."""
        limits = {
            resource.RLIMIT_AS: memory_mib << 20,
            resource.RLIMIT_CPU: cpu_seconds,  # the backstop; process 1 watches the exact limit
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_NOFILE: 16,
            resource.RLIMIT_CORE: 0,
        }
        for limit, value in limits.items():
            resource.setrlimit(limit, (value, value))
        if self._child_id >= 0:
            os.setresgid(self._child_id, self._child_id, self._child_id)
            os.setresuid(self._child_id, self._child_id, self._child_id)
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        if self._prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError("no_new_privs")
        address = ctypes.addressof(self._filter)
        if self._prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0):
            raise OSError("seccomp")
