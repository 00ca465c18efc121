"""Stands between a client and a PostgreSQL server, and drops a connection at its COMMIT."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path

PORT = 5433
COMMIT = b"COMMIT\0"


class Drop(Enum):
    BEFORE = auto()
    """The server never hears of the COMMIT."""
    AFTER = auto()
    """The server commits, and the client never hears of it."""


class DroppingProxy:
    """`drop_next` says what happens to the next COMMIT; all else passes."""

    def __init__(self, folder: Path) -> None:
        self.drop_next: Drop | None = None
        self.dropped = 0
        self._server = str(folder / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f".s.PGSQL.{PORT}"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Once every client has gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            while self._pass_on(client, server):
                pass

    def _pass_on(self, client: socket.socket, server: socket.socket) -> bool:
        """Forward what there is; False at the end of the connection."""
        ready, _, _ = select.select([client, server], [], [])
        for source in ready:
            data = source.recv(1 << 16)
            if not data:
                return False
            if source is client and COMMIT in data and self.drop_next is not None:
                drop, self.drop_next = self.drop_next, None
                self.dropped += 1
                if drop is Drop.AFTER:
                    server.sendall(data)
                    server.recv(1 << 16)  # the server's word that it is done
                return False
            (server if source is client else client).sendall(data)
        return True


@contextmanager
def dropping_proxy(folder: Path) -> Generator[DroppingProxy]:
    """A proxy for the server whose socket is in a folder."""
    proxy = DroppingProxy(folder)
    try:
        yield proxy
    finally:
        proxy.close()
        (folder / f".s.PGSQL.{PORT}").unlink()
