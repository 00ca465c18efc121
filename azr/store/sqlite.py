"""SQLite: the database of one machine, a file.

Writes go through one connection (`azr.store.writer`), reads through two more that
cannot write. WAL lets them overlap; BEGIN IMMEDIATE makes a writer wait at the start
instead of failing in the middle, and is why jobs need no other order: a second
process's transaction begins when the first one's has ended.

Within one process, open the file with `DRIVER` only: a second SQLite library (the
standard one, if DRIVER is pysqlite3) would not see the first one's locks, and its
last close would delete a log that is still written. Other processes may use any.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DBAPIError, IntegrityError

from azr.errors import AzrError, RunDirectoryError, StoreError
from azr.store.engine import Durability, Fate, Needs
from azr.store.file_system import check_local
from azr.store.news import News

try:  # the interpreter's own SQLite may have the WAL-reset bug fixed in 3.51.3
    import pysqlite3 as _preferred
except ImportError:
    _preferred = sqlite3

DRIVER: ModuleType = _preferred

BUSY_TIMEOUT_SECONDS = 10.0
"""How long a statement waits for another process before it fails as locked."""
WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""A write-ahead log that readers let grow is cut back to this."""
NUM_READERS = 2


@dataclass(frozen=True, slots=True)
class SqliteDatabase:
    """A file on a local disk."""

    path: Path
    is_shared: bool = False

    @property
    def name(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.is_file()

    def session(self) -> SqliteSession:
        """Raises StoreError for a file on another machine."""
        check_local(self.path)
        return SqliteSession(self.path)

    def read_engine(self) -> sa.Engine:
        return read_engine(self.path)

    def is_away(self, error: DBAPIError) -> bool:  # noqa: ARG002 -- a file is never away
        return False

    def translated(self, error: DBAPIError) -> AzrError:
        return translated(error, self.path)

    async def listen(self, run_id: int, *, ignoring: str) -> AsyncGenerator[frozenset[News]]:  # noqa: ARG002
        """Nothing: whoever else writes to the file is of this process."""
        return
        yield frozenset()


class SqliteSession:
    """The writing connection."""

    writer_id = ""

    def __init__(self, path: Path) -> None:
        self._engine = write_engine(path)

    @contextmanager
    def transaction(self, needs: Needs) -> Generator[sa.Connection]:
        with self._engine.connect() as connection:
            self._set_durability(connection, fully=needs.durability >= Durability.DURABLE)
            with connection.begin():
                yield connection

    def fate(self, error: DBAPIError) -> Fate:  # noqa: ARG002 -- no word is lost within a process
        return Fate.FAILED

    def is_transient(self, error: Exception) -> bool:  # noqa: ARG002 -- writers wait at BEGIN
        return False

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        self._engine.dispose()

    def _set_durability(self, connection: sa.Connection, *, fully: bool) -> None:
        """Between transactions: whether the next commit survives a power cut.

        NORMAL survives a killed process and may lose the last commits with the power.
        """
        driver = connection.connection.driver_connection
        if driver is None or connection.info.get("fully") is fully:
            return
        # Bypasses SQLAlchemy, which would begin a transaction.
        driver.execute(f"PRAGMA synchronous={'FULL' if fully else 'NORMAL'}").close()
        connection.info["fully"] = fully


def write_engine(path: Path) -> sa.Engine:
    """One connection at a time; transactions lock the database from their start."""
    engine = _engine(path, pool_size=1)

    @listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions itself
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"journal_size_limit={WAL_LIMIT_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def read_engine(path: Path) -> sa.Engine:
    """Connections that see committed rows and refuse to write any."""
    engine = _engine(path, pool_size=NUM_READERS, mode="ro", immutable=_is_sealed(path))

    @listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA query_only=ON").close()

    @listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def translated(error: DBAPIError, path: Path) -> AzrError:
    """The user's view of a driver error."""
    reason = str(error.orig)
    if isinstance(error, IntegrityError):
        return StoreError(
            f"{path}: an invariant of a queue broke: {reason}",
            hint="This is a bug; `azr run --resume DIR` returns to the last checkpoint.",
        )
    for words, kind, message, hint in _FAILURES:
        if words in reason:
            return kind(f"{path}: {message}", hint=hint)
    return StoreError(f"{path}: {reason}")


_OTHER_FILE = "Choose another --run-dir or --db; the file was left as it is."
_FAILURES: tuple[tuple[str, type[AzrError], str, str], ...] = (
    ("is full", RunDirectoryError, "the disk is full", "Free some space, then --resume."),
    ("is locked", StoreError, "another process holds the database", "Stop the other run."),
    ("not a database", StoreError, "this file is not an SQLite database", _OTHER_FILE),
    ("malformed", StoreError, "the database is damaged", "Restore it, or start a new run."),
    ("readonly", RunDirectoryError, "the database cannot be written", "Check its owner."),
    ("unable to open", RunDirectoryError, "the database cannot be opened", "Check the folder."),
    ("disk I/O", RunDirectoryError, "the disk failed", "Check the disk and its free space."),
)


def _is_sealed(path: Path) -> bool:
    """Whether nobody writes the file, in a folder where a reader could not make the log's
    index. SQLite then reads it only if told that it cannot change."""
    log = path.with_name(path.name + "-wal")
    return not os.access(path.parent, os.W_OK) and not log.exists()


def _engine(path: Path, *, pool_size: int, mode: str = "rwc", immutable: bool = False) -> sa.Engine:
    url = sa.URL.create(
        "sqlite",
        database=f"file:{_escaped(path)}",
        query={"mode": mode, "uri": "true"} | ({"immutable": "1"} if immutable else {}),
    )
    arguments: dict[str, Any] = {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
    return sa.create_engine(
        url,
        module=DRIVER,
        connect_args=arguments,
        poolclass=sa.QueuePool,
        pool_size=pool_size,
        max_overflow=0,
    )


def _escaped(path: Path) -> str:
    """A path as the opaque part of an SQLite URI, where ?, # and % have meanings."""
    text = str(path.absolute())
    return text.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
