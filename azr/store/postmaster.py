"""A PostgreSQL server process over a folder of ours: what every such server shares.

Not a database but the program: make its files, start it, find it, stop it. Linux only,
as the jail is. PostgreSQL refuses to run as root, so root runs it as another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from azr.errors import StoreError

USER = "azr"
"""Who owns the databases."""
OTHERS = ("postgres", "nobody")
"""Whom root lets run the server: the first that exists."""
DEBIAN = Path("/usr/lib/postgresql")
START_SECONDS = 60.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.02
CONNECT_SECONDS = 5


@dataclass(eq=False)
class Postmaster:
    """The process that is a server, if it runs; `start` and `stop` as often as wanted."""

    folder: Path
    """Holds the server's files in `data` and what it says in `log`."""
    _child: subprocess.Popen[bytes] | None = None
    """Set in the process that started it."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int | None:
        """The running server's process id, whoever started it."""
        if self._child is not None:
            return self._child.pid if self._child.poll() is None else None
        with suppress(OSError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            if Path(f"/proc/{pid}/cwd").samefile(self.data):  # no other that has its number
                return pid
        return None

    def initialise(self, *options: str, password: str | None = None) -> None:
        """Make the server's files, all or none. Raises StoreError if that fails."""
        programs = programs_folder()
        self.folder.mkdir(exist_ok=True)
        self._hand_over(self.folder)
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [str(programs / "initdb"), "--pgdata", str(unfinished), "--username", USER]
        command += ["--encoding=UTF8", "--locale=C", *options]
        with self._password_file(password) as more:
            done = subprocess.run(  # noqa: S603
                [*_as_other(), *command, *more], cwd="/", capture_output=True, check=False
            )
        if done.returncode:
            raise StoreError(f"PostgreSQL's initdb failed: {done.stderr.decode().strip()}")
        unfinished.rename(self.data)

    def start(self, settings: Mapping[str, str], address: str, *, detached: bool = False) -> None:
        """Start it and wait until it answers at `address`.

        Unless detached it ends with the *thread* that called this, however that ends. It
        has a session of its own: Ctrl-C is for us. Raises StoreError if it ends instead,
        or answers nobody.
        """
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(programs_folder() / "postgres"), "-D", str(self.data), *options]
        ends_with_us = [] if detached else ["--pdeathsig", "INT"]
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603
                ["setpriv", *ends_with_us, *_as_other()[1:], *command],  # noqa: S607
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.await_answer(address)

    def start_after_crash(
        self, settings: Mapping[str, str], address: str, *, detached: bool = False
    ) -> None:
        """Start it once the last processes of a killed one are gone."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.start(settings, address, detached=detached)
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(2 * POLL_SECONDS)

    def await_answer(self, address: str) -> None:
        """Raises StoreError if the server ends instead, or answers nobody."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with psycopg.connect(address, connect_timeout=CONNECT_SECONDS):
                    return
            except psycopg.OperationalError:
                time.sleep(POLL_SECONDS)
            if self._child is not None and self._child.poll() is not None:
                log = (self.folder / "log").read_text(errors="replace")
                raise StoreError(f"the PostgreSQL server did not start: {log[-500:]}")
            if time.monotonic() > deadline:
                raise StoreError(f"the PostgreSQL server did not answer in {START_SECONDS:.0f} s")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends connections and closes well, SIGKILL is a crash."""
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            if not self._ends_within(STOP_SECONDS):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._ends_within(STOP_SECONDS)
        self._child = None

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    @contextmanager
    def _password_file(self, password: str | None) -> Generator[list[str]]:
        """The option that tells initdb a password, without showing it in the process list."""
        if password is None:
            yield []
            return
        file = self.folder / "password"
        try:
            file.touch(mode=0o600)
            file.write_text(password)
            self._hand_over(file)
            yield [f"--pwfile={file}"]
        finally:
            file.unlink()

    def _hand_over(self, path: Path) -> None:
        """Give it to whoever runs the server. StoreError if they cannot reach it."""
        identity = _identity()
        if identity is None:
            return
        os.chown(path, identity.pw_uid, identity.pw_gid)
        reaches = [*_as_other(), "test", "-r", str(path)]
        if subprocess.run(reaches, cwd="/", check=False).returncode:  # noqa: S603
            raise StoreError(
                f"PostgreSQL refuses to run as root, and the user {identity.pw_name}, who"
                f" runs it instead, cannot reach {path}",
                hint="Use a --run-dir that others may enter, or another user, or give --db.",
            )


def programs_folder() -> Path:
    """Where the server's programs are: on PATH, or where Debian keeps them."""
    if (found := shutil.which("postgres")) is not None:
        return Path(found).resolve().parent
    versions = DEBIAN.glob("*/bin/postgres")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise StoreError(
            f"PostgreSQL's server is not installed: no `postgres` on PATH or in {DEBIAN}/*/bin",
            hint="apt-get install postgresql, or `make test`, which installs it; or give --db.",
        )
    return newest.parent


def _identity() -> pwd.struct_passwd | None:
    """Who runs the server: somebody else for root, else oneself (None)."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in OTHERS if name in known)


def _as_other() -> list[str]:
    """The start of a command line that runs the rest as whoever runs the server."""
    identity = _identity()
    if identity is None:
        return ["setpriv"]
    ids = ["--reuid", str(identity.pw_uid), "--regid", str(identity.pw_gid)]
    return ["setpriv", *ids, "--clear-groups"]
