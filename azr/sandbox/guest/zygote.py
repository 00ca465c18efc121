"""Process 1 of the jail: forks one child per job and forwards what it wrote.

It never reads a program, an input or a result as a Python object, so a child,
which is a copy of this process, holds nothing of any earlier job: request bodies
are read by the child alone, and results pass through a mapping that fork skips.
"""

import _socket
import contextlib
import ctypes
import gc
import importlib
import mmap
import os
import select
import signal
import time

from .child import RESULT_FD, forget_host, run_job
from .confine import Confinement
from .wire import (
    BODY_READ,
    CPU,
    FINISHED,
    FRAME_MAGIC,
    FRAME_PREFIX_BYTES,
    HEADER,
    PACKET_BYTES,
    PROTOCOL,
    READY,
    REPLY,
    RESULT_BYTES,
    TOO_LARGE,
    WALL,
)

HOST_FD = 63
"""Where the host's socket is moved: above everything a job may keep open."""

_PRELOAD = """
    bisect cmath collections collections.abc copy dataclasses enum fractions functools heapq
    itertools json math numbers operator re string textwrap typing
"""
"""Allowed modules that cost a job milliseconds to import and a fork nearly nothing.

Not statistics or queue: random and threading register after-fork hooks.
"""


class Zygote:
    """The loop of process 1."""

    def __init__(self, child_id: int) -> None:
        self._host = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fileno=HOST_FD)
        self._confinement = Confinement(child_id)
        self._results = mmap.mmap(-1, RESULT_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._results.madvise(mmap.MADV_DONTFORK)
        self._view = memoryview(self._results)

    def serve(self) -> None:
        """Handle jobs until the host closes the socket."""
        while header := self._host.recv(HEADER.size, _socket.MSG_PEEK):
            self._handle(header)

    def _handle(self, header: bytes) -> None:
        body_bytes, runs, max_bytes, wall_seconds, cpu_seconds = HEADER.unpack(header)
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_child(write_end, body_bytes)
        os.close(write_end)
        watch = _Watch(self._view[: min(max_bytes, RESULT_BYTES)], pid, runs)
        reason = watch.collect(read_end, wall_seconds, cpu_seconds)
        os.close(read_end)
        # An exiting child keeps its status; one that only closed its pipe dies of this signal.
        os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        _end_stragglers()
        if not watch.body_read:
            self._drop_request()
        num_bytes = watch.parsed if reason != PROTOCOL else 0
        cpu = usage.ru_utime + usage.ru_stime
        self._host.send(
            REPLY.pack(reason, status, watch.frames, num_bytes, cpu, usage.ru_maxrss / 1024)
        )
        for start in range(0, num_bytes, PACKET_BYTES):
            end = min(num_bytes, start + PACKET_BYTES)
            self._host.send(self._view[1 + start : 1 + end])

    def _drop_request(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._host.recv(1, _socket.MSG_DONTWAIT)

    def _become_child(self, write_end: int, body_bytes: int) -> None:
        """Run the job and leave; never returns."""
        try:
            os.dup2(write_end, RESULT_FD)
            body = self._host.recv(HEADER.size + body_bytes)[HEADER.size :]
            os.write(RESULT_FD, BODY_READ)
            os.closerange(3, RESULT_FD)
            os.closerange(RESULT_FD + 1, 64)
            run_job(body, self._confinement)
            os._exit(0)
        finally:
            os._exit(98)


class _Watch:
    """Collects one child's result bytes under its time limits; looks only at frame lengths."""

    def __init__(self, view: memoryview, pid: int, runs: int) -> None:
        self._view, self._runs = view, runs
        self._cpu_clock = (~pid << 3) | 2  # clock_getcpuclockid(3): CPU time of a process
        self._filled = 0
        self.body_read = False
        self.parsed = 0
        """Bytes of complete frames, without the leading BODY_READ."""
        self.frames = 0

    def collect(self, pipe: int, wall_seconds: float, cpu_seconds: float) -> int:
        """Read until the child closes its pipe or breaks a limit; returns the reason."""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        poll.register(HOST_FD, 0)  # reports only that the host is gone
        wall_end, cpu_end = time.monotonic() + wall_seconds, cpu_seconds
        while True:
            wall_left = wall_end - time.monotonic()
            cpu_left = cpu_end - self._cpu_used()
            if wall_left <= 0 or cpu_left <= 0:
                return WALL if wall_left <= 0 else CPU
            ready = poll.poll(min(wall_left, cpu_left) * 1000 + 1)
            if any(fd == HOST_FD for fd, _ in ready):
                os._exit(0)  # takes every process of this pid namespace along
            if not ready:
                continue
            if self._filled == len(self._view):
                return TOO_LARGE
            count = os.readv(pipe, [self._view[self._filled :]])
            if count == 0:
                return FINISHED if self._filled == self.parsed + self.body_read else PROTOCOL
            self._filled += count
            frames_before = self.frames
            if not self._parse():
                return PROTOCOL
            if self.frames > frames_before:
                wall_end, cpu_end = time.monotonic() + wall_seconds, self._cpu_used() + cpu_seconds

    def _cpu_used(self) -> float:
        return time.clock_gettime(self._cpu_clock)

    def _parse(self) -> bool:
        """Advance over complete frames; False if these bytes are no frames."""
        if not self.body_read:
            if self._view[0] != BODY_READ[0]:
                return False
            self.body_read = True
        while True:
            start = 1 + self.parsed
            available = self._filled - start
            if available < FRAME_PREFIX_BYTES:
                return True
            if self._view[start] != FRAME_MAGIC[0] or self._view[start + 1] != FRAME_MAGIC[1]:
                return False
            length = FRAME_PREFIX_BYTES + int.from_bytes(
                self._view[start + 2 : start + FRAME_PREFIX_BYTES], "little"
            )
            if length > len(self._view):
                return False
            if available < length:
                return True
            self.parsed += length
            self.frames += 1
            if self.frames > self._runs:
                return False


def _end_stragglers() -> None:
    """Kill and reap whatever a job may have left; only process 1 of a pid namespace may."""
    if os.getpid() != 1:
        return
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.PyDLL(None).prctl(pr_set_pdeathsig, ctypes.c_ulong(signal.SIGKILL))


def main() -> None:
    """Set up from the environment, greet the host, serve."""
    host_fd, child_id = int(os.environ["HOST_FD"]), int(os.environ["CHILD_ID"])
    if host_fd != HOST_FD:
        os.dup2(host_fd, HOST_FD)
        os.close(host_fd)
    # Moves every later address, so that a program whose result depends on one is found out.
    shift = [bytearray(977 + 16 * index) for index in range(int(os.environ["HEAP_SHIFT"]))]
    _die_with_parent()
    if child_id >= 0:
        os.setgroups([])
    for module in _PRELOAD.split():
        importlib.import_module(module)
    zygote = Zygote(child_id)
    forget_host()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)
    gc.collect()
    gc.freeze()
    os.write(HOST_FD, READY)
    zygote.serve()
    del shift
