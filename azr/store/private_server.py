"""A PostgreSQL server of one's own, in a folder that is removed: for tests.

    with private_server() as server:
        url = server.create("mine")

It listens on a socket in its folder only, and trusts whoever reaches it. PostgreSQL
refuses to run as root, so root runs it as another user. It ends with the thread that
started it, should that die without stopping it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from azr.errors import StoreError

USER = "azr"
OTHERS = ("postgres", "nobody")
"""Whom root lets run the server: the first that exists."""
START_SECONDS = 60.0
STOP_SECONDS = 60.0
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
    _programs: Path = field(default_factory=lambda: programs_folder())
    _process: subprocess.Popen[bytes] | None = None

    @property
    def postmaster(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise StoreError("the private server does not run")
        return self._process.pid

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
        if (identity := _identity()) is not None:
            os.chown(self.folder, identity.pw_uid, identity.pw_gid)
        command = [str(self._programs / "initdb"), "--pgdata", str(self._data), "--username", USER]
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(  # noqa: S603
            [*_as(identity), *command, *options], cwd="/", capture_output=True, check=False
        )
        if done.returncode:
            raise StoreError(f"PostgreSQL's initdb failed: {done.stderr.decode().strip()}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = SETTINGS | {"unix_socket_directories": str(self.folder)}
        settings |= {} if self.careful else CARELESS
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                ["setpriv", "--pdeathsig", "INT", *_as(_identity())[1:], *command],  # noqa: S607
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.await_answer()

    def start_after_crash(self) -> None:
        """Start it again once the last processes of the killed one are gone."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.start()
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends connections and closes well, SIGKILL is a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def await_answer(self) -> None:
        """Raises StoreError if it ends instead, or answers nobody."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with psycopg.connect(self.url(), connect_timeout=5):
                    return
            except psycopg.OperationalError:
                time.sleep(0.02)
            if self._process is not None and self._process.poll() is not None:
                log = (self.folder / "log").read_text(errors="replace")
                raise StoreError(f"the PostgreSQL server did not start: {log[-500:]}")
            if time.monotonic() > deadline:
                raise StoreError(f"the PostgreSQL server did not answer in {START_SECONDS:.0f} s")


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


def programs_folder() -> Path:
    """Where the server's programs are: on PATH, or where Debian keeps them."""
    if (found := shutil.which("postgres")) is not None:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise StoreError(
            "PostgreSQL's server is not installed: no `postgres` on PATH or in"
            " /usr/lib/postgresql/*/bin",
            hint="apt-get install postgresql, or `make test`, which installs it.",
        )
    return newest.parent


def _identity() -> pwd.struct_passwd | None:
    """Who runs the server: somebody else for root, else oneself (None)."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in OTHERS if name in known)


def _as(identity: pwd.struct_passwd | None) -> list[str]:
    """The start of a command line that runs the rest as somebody else."""
    if identity is None:
        return ["setpriv"]
    ids = ["--reuid", str(identity.pw_uid), "--regid", str(identity.pw_gid)]
    return ["setpriv", *ids, "--clear-groups"]
