"""One learner process as seen from outside: start it, talk to it, see it end. Blocking."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from azr.learner import protocol

EXIT_SECONDS = 5.0
"""For the process to end by itself once its socket is closed."""
LOG_TAIL_BYTES = 2000


class Child:
    """One process from start to end.

    `replies` and `see_out` belong to the thread that keeps it; `send` and `hang_up` may be
    called from any.
    """

    def __init__(
        self,
        threads: int,
        log_file: Path,
        *,
        seat: protocol.Seat = protocol.ALONE,
        listener: socket.socket | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is started yet; requests may be sent all the same.

        Args:
            threads: of torch in the process.
            log_file: receives its output, and is appended to.
            seat: its place among the ranks.
            listener: for the process to inherit; closed here once it has.
            environment: variables of its own, beside this process's.
        """
        self.seat = seat
        self._listener = listener
        self._environment = dict(environment or {})
        self._threads = threads
        self._log_file = log_file
        self._ours, self._theirs = socket.socketpair()
        self._connection = Connection(os.dup(self._ours.fileno()))
        self._sending = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure = ""
        self.exit_code: int | None = None
        """Set by `see_out`; still None for a process that was never started."""
        self.was_killed = False
        """It did not end by itself when it was hung up on."""

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def send(self, request: protocol.Request) -> None:
        """Send a whole request. A closed socket is no error here: `replies` ends for it."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.send(request)

    def replies(self) -> Iterator[protocol.Reply]:
        """Start the process and yield its replies until it ends or is hung up on."""
        try:
            self._process = self._start()
        except OSError as error:
            self._failure = f"{self.seat} could not be started: {error}"
            return
        while True:
            try:
                reply = self._connection.recv()
            except (EOFError, OSError):
                return
            yield reply

    def hang_up(self) -> None:
        """Close the conversation; the process ends, and `replies` with it."""
        with contextlib.suppress(OSError):  # it was closed before
            self._ours.shutdown(socket.SHUT_RDWR)

    def see_out(self) -> str:
        """Wait for the process to end, and insist if it does not; says how it ended."""
        self.hang_up()
        code = self._exit_code()
        if code is None and self._process is not None:
            self.was_killed = True
            self._process.kill()
            code = self._exit_code()
        with self._sending:
            self._connection.close()
        self._ours.close()
        self._close_inherited()
        self.exit_code = code
        return self._failure or f"{self.seat} ended (exit code {code}){self.log_tail()}"

    def _exit_code(self) -> int | None:
        if self._process is None:
            return None
        try:
            return self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def log_tail(self) -> str:
        """The end of its output, introduced for an error message; empty if there is none."""
        try:
            text = self._log_file.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
        except OSError:
            return ""
        return f"; its log ends:\n{text}" if text else ""

    def _start(self) -> subprocess.Popen[bytes]:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "OMP_NUM_THREADS": str(self._threads),
            "MKL_NUM_THREADS": str(self._threads),
        }
        environment.pop("GOMP_CPU_AFFINITY", None)  # an engine in this process pins its own threads
        environment |= self._environment
        inherited = [each.fileno() for each in (self._theirs, self._listener) if each is not None]
        arguments = (
            *(self._theirs.fileno(), os.getpid(), self._threads),
            *(self.seat.rank, self.seat.num_ranks, self.seat.store_port, self.seat.store_fd),
        )
        with self._log_file.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", "azr.learner.process", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the driver, which drains first
            )
        self._close_inherited()
        return process

    def _close_inherited(self) -> None:
        self._theirs.close()
        if self._listener is not None:
            self._listener.close()
