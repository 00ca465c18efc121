"""What a job's process gives up before it touches a program: resources, identity, system calls.

The jail around it already has no network, no writable file and no /proc. This
second, stacked layer separates one job from process 1 and from the next job.
"""

import ctypes
import os
import resource
import struct

from . import syscalls

_SECCOMP_MODE_FILTER = 2


class Filter:
    """A seccomp filter in the memory layout that the kernel takes."""

    def __init__(self, calls: frozenset[str]) -> None:
        program = syscalls.filter_program(calls, os.uname().machine)
        self._program = ctypes.create_string_buffer(program, len(program))
        pointer = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(self._program))
        self._pointer = ctypes.create_string_buffer(pointer, len(pointer))
        self.address = ctypes.addressof(self._pointer)


class Confinement:
    """Prepared once in process 1, entered once in every job's process."""

    def __init__(self, child_id: int) -> None:
        """`child_id`: user and group of jobs inside the jail, or -1 to keep one's own."""
        self._child_id = child_id
        files = os.environ.get("JOB_FILES", "readable") == "readable"
        self._filter = Filter(syscalls.JOB if files else syscalls.JOB - syscalls.FILES)

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
        # A crash is no core dump: a handler of the host's would read this process as root.
        set_option(syscalls.PR_SET_DUMPABLE, 0)
        set_option(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        set_option(syscalls.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._filter.address)


def install_filter(calls: frozenset[str]) -> None:
    """Leave this process, and all that it forks, these system calls. OSError if refused."""
    made = Filter(calls)
    set_option(syscalls.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, made.address)


def set_option(option: int, value: int, pointer: int = 0) -> None:
    """prctl(2); OSError if the kernel refuses."""
    if _prctl(option, value, pointer, 0, 0):
        raise OSError(f"prctl {option}")


_prctl = ctypes.PyDLL(None).prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
