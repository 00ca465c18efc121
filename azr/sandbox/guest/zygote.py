"""Process 1 of the jail: forks one child per job and forwards what it wrote.

It never reads a program, an input or a result as a Python object, so a child,
which is a copy of this process, holds nothing of any earlier job: request bodies
are read by the child alone, and results pass through a mapping that fork skips.
"""

import _socket
import ctypes
import mmap
import os
import select
import signal
import time

from . import warmup
from .child import RESULT_FD, forget_host, rehearse, run_job
from .confine import Confinement
from .wire import (
    CPU,
    FINISHED,
    FRAME_MAGIC,
    FRAME_PREFIX_BYTES,
    HEADER,
    PACKET_BYTES,
    PROTOCOL,
    READY,
    REPLY,
    REQUEST_BYTES,
    RESULT_BYTES,
    TIME,
    TOO_LARGE,
    WALL,
)

HOST_FD = 63
"""Where the host's socket is moved: above everything a job may keep open."""

_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
# A reply is put together where its frames are read: REPLY, frames, times. The frames'
# place is fixed; the header that the child passes on comes before them.
_FRAMES_START = max(REPLY.size, HEADER.size)
_REPLY_START, _HEADER_START = _FRAMES_START - REPLY.size, _FRAMES_START - HEADER.size
_RESULTS_BYTES = _FRAMES_START + RESULT_BYTES + TIME.size * REQUEST_BYTES
"""A request has a byte or more for each of its runs, and one time each."""
_MAX_TIME = 0xFFFF_FFFF


class Zygote:
    """The loop of process 1.

    The child of the next job is forked before that job is there, and waits for it on the
    host's socket. It only looks at the request: process 1 takes it off the socket once the
    child has passed on the header, so a child that is killed while it waits loses no job.
    """

    def __init__(self, child_id: int) -> None:
        self._host = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fileno=HOST_FD)
        self._confinement = Confinement(child_id)
        self._results = mmap.mmap(-1, _RESULTS_BYTES, flags=_PRIVATE)
        self._results.madvise(mmap.MADV_DONTFORK)
        self._view = memoryview(self._results)
        # Never touched here, so every child finds it empty and its own.
        self._request = memoryview(mmap.mmap(-1, REQUEST_BYTES, flags=_PRIVATE))

    def serve(self) -> None:
        """Handle jobs until the host closes the socket."""
        while self._handle_next():
            pass

    def _handle_next(self) -> bool:
        """Run the next job; False when there is none because the host is gone."""
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_child(write_end)
        os.close(write_end)
        watch = _Watch(self._view, pid)
        reason = PROTOCOL
        if watch.start(read_end):
            self._host.recv(1)  # the packet is gone, whatever its length
            reason = watch.collect(read_end)
        os.close(read_end)
        # An exiting child keeps its status; one that only closed its pipe dies of this signal.
        os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        _end_stragglers()
        if not watch.started:  # no job, unless something killed the child while it waited
            return status != 0
        watch.stamp(usage.ru_utime + usage.ru_stime)
        self._send(watch.reply(reason, status, usage.ru_maxrss / 1024))
        return True

    def _send(self, reply: memoryview) -> None:
        for start in range(0, len(reply), PACKET_BYTES):
            self._host.send(reply[start : start + PACKET_BYTES])

    def _become_child(self, write_end: int) -> None:
        """Wait for a job, run it and leave; never returns."""
        try:
            os.dup2(write_end, RESULT_FD)
            os.closerange(3, RESULT_FD)
            os.closerange(RESULT_FD + 1, HOST_FD)
            size = self._host.recv_into(self._request, 0, _socket.MSG_PEEK)
            os.close(HOST_FD)
            if size:
                os.write(RESULT_FD, self._request[: HEADER.size])
                run_job(self._request[HEADER.size : size], self._confinement)
            os._exit(0)
        finally:
            os._exit(98)


class _Watch:
    """Collects one child's result bytes under its time limits; looks only at frame lengths."""

    def __init__(self, view: memoryview, pid: int) -> None:
        self._view = view
        self._cpu_clock = (~pid << 3) | 2  # clock_getcpuclockid(3): CPU time of a process
        self._filled = self._parsed = _FRAMES_START
        """Ends of what was read, and of the complete frames in it."""
        self._times: list[int] = []
        """Microseconds of CPU of each frame, and at last of the rest."""
        self._cpu_stamped = 0.0  # so the first frame's time includes the start of its process
        self.started = False
        """Whether the child got a job."""

    def start(self, pipe: int) -> bool:
        """Wait for the job's header; False if the child ended, or was killed, without one."""
        count = os.readv(pipe, [self._view[_HEADER_START:_FRAMES_START]])
        self.started = count == HEADER.size
        return self.started

    def collect(self, pipe: int) -> int:
        """Read until the child closes its pipe or breaks a limit; returns the reason."""
        runs, max_bytes, wall_seconds, cpu_seconds = HEADER.unpack_from(self._view, _HEADER_START)
        end = _FRAMES_START + min(max_bytes, RESULT_BYTES)
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        poll.register(HOST_FD, 0)  # reports only that the host is gone
        wall_end, cpu_end = time.monotonic() + wall_seconds, self._cpu_used() + cpu_seconds
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
            if self._filled == end:
                return TOO_LARGE
            count = os.readv(pipe, [self._view[self._filled : end]])
            if count == 0:
                return FINISHED if self._filled == self._parsed else PROTOCOL
            self._filled += count
            frames = self._parse(end, runs - len(self._times))
            if frames < 0:
                return PROTOCOL
            if frames > 0:
                cpu_used = self._cpu_used()
                self.stamp(cpu_used, frames)
                wall_end, cpu_end = time.monotonic() + wall_seconds, cpu_used + cpu_seconds

    def stamp(self, cpu_used: float, frames: int = 1) -> None:
        """Spread the CPU time since the last stamp over the frames that came together."""
        share = max(0, int((cpu_used - self._cpu_stamped) * 1e6 / frames))
        self._times += [min(share, _MAX_TIME)] * frames
        self._cpu_stamped = cpu_used

    def reply(self, reason: int, status: int, memory_mib: float) -> memoryview:
        """What the host gets, put together in place: after `stamp` of the rest."""
        if reason == PROTOCOL:
            self._parsed, self._times = _FRAMES_START, self._times[-1:]
        frames, num_bytes = len(self._times) - 1, self._parsed - _FRAMES_START
        REPLY.pack_into(self._view, _REPLY_START, reason, status, frames, num_bytes, memory_mib)
        end = self._parsed
        for microseconds in self._times:
            TIME.pack_into(self._view, end, microseconds)
            end += TIME.size
        return self._view[_REPLY_START:end]

    def _cpu_used(self) -> float:
        return time.clock_gettime(self._cpu_clock)

    def _parse(self, end: int, runs_left: int) -> int:
        """Advance over complete frames; their number, or -1 if these bytes are no frames."""
        frames = 0
        while self._filled - self._parsed >= FRAME_PREFIX_BYTES:
            start = self._parsed
            if self._view[start] != FRAME_MAGIC[0] or self._view[start + 1] != FRAME_MAGIC[1]:
                return -1
            length = FRAME_PREFIX_BYTES + int.from_bytes(
                self._view[start + 2 : start + FRAME_PREFIX_BYTES], "little"
            )
            if start + length > end:
                return -1
            if start + length > self._filled:
                break
            self._parsed += length
            frames += 1
            if frames > runs_left:
                return -1
        return frames


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
    _die_with_parent()
    if child_id >= 0:
        os.setgroups([])
    warmup.preload()
    heap_shift = int(os.environ["HEAP_SHIFT"])
    zygote = Zygote(child_id)
    forget_host()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)
    fillers = warmup.settle(rehearse, heap_shift=heap_shift)
    os.write(HOST_FD, READY)
    zygote.serve()
    del fillers
