"""A PostgreSQL server of one's own, in a folder that is removed: for tests.

    with private_server() as server:
        url = server.create("mine")

It listens on a socket in its folder only, and trusts whoever reaches it. It ends with
the thread that started it, should that die without stopping it.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from azr.store.postmaster import USER, Postmaster

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}
CARELESS = {"fsync": "off", "full_page_writes": "off"}
"""Faster, and as safe as long as the machine itself stays up."""


@dataclass(eq=False)
class PrivateServer:
    """One server; `start` and `stop` as often as wanted."""

    folder: Path
    careful: bool
    """Whether commits are really written to the disk."""
    _postmaster: Postmaster = field(init=False)

    def __post_init__(self) -> None:
        self._postmaster = Postmaster(self.folder)

    def url(self, database: str = "postgres") -> str:
        """Where one of its databases is."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def create(self, database: str, *, template: str = "template1") -> str:
        """Make a database, a copy of another if wanted; returns its URL."""
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever still uses it."""
        self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run a statement outside any transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def initialise(self) -> None:
        """Make the folder a server's."""
        self._postmaster.initialise("--auth=trust", "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._postmaster.start(self._settings, self.url())

    def start_after_crash(self) -> None:
        """Start it again once the last processes of the killed one are gone."""
        self._postmaster.start_after_crash(self._settings, self.url())

    def await_answer(self) -> None:
        """Raises StoreError if it ends instead, or answers nobody."""
        self._postmaster.await_answer(self.url())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends connections and closes well, SIGKILL is a crash."""
        self._postmaster.stop(how)

    @property
    def _settings(self) -> dict[str, str]:
        settings = SETTINGS | {"unix_socket_directories": str(self.folder)}
        return settings | ({} if self.careful else CARELESS)


@contextmanager
def private_server(*, careful: bool = False) -> Generator[PrivateServer]:
    """A new, running server in a temporary folder.

    Raises StoreError if PostgreSQL is not installed or does not start.
    """
    # Short, because the path of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="azr-pg-", dir="/tmp"))
    server = PrivateServer(folder, careful)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
