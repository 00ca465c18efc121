"""Entry of a learner process: `python -m azr.learner.process` with seven integers (`main`).

A process of its own because an engine in the node's process takes torch's default process
group and its thread settings. It serves one request at a time and ends when its parent
does: on end of file, noticed even in the middle of a step, or by the kernel's signal.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue

from azr.learner.protocol import Request, Seat

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before the signal was set
        os._exit(0)


def read_requests(connection: Connection, inbox: SimpleQueue[Request]) -> None:
    """Fill the inbox until the parent closes its end; then end this process at once."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            # Nobody is left to reply to. Checkpoints are renamed into place, so this
            # leaves no half-written one behind.
            os._exit(0)


def main(socket_fd: int, parent_pid: int, threads: int, *seat: int) -> None:
    """Serve requests until the parent closes the socket; `seat` has a Seat's fields."""
    die_with_parent(parent_pid)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    connection = Connection(socket_fd)
    inbox: SimpleQueue[Request] = SimpleQueue()
    threading.Thread(target=read_requests, args=(connection, inbox), daemon=True).start()
    # Imported now: the parent's death must already be noticed while torch loads.
    import torch  # noqa: PLC0415

    from azr.learner.service import LearnerService  # noqa: PLC0415

    torch.set_num_threads(threads)
    service = LearnerService(Seat(*seat))
    while True:
        request = inbox.get()
        reply = service.reply(request)
        try:
            connection.send(reply)
        except OSError:
            os._exit(0)
        if service.out_of_step:
            os._exit(1)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
