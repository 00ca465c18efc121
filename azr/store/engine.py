"""What the store needs of a database, whichever it is, and which one a URL names.

Two modules know a database each: `azr.store.sqlite` (one machine) and
`azr.store.postgres` (several). Everything else is statements that both understand.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from functools import reduce
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from azr.errors import AzrError, StoreError
from azr.store.news import News

POSTGRES_NAMES = ("postgresql", "postgres")
USAGE = "Use sqlite:///PATH or postgresql://USER@HOST/NAME, or leave --db out."
OUTAGE_SECONDS = 120.0
"""How long a database server may be away before the store gives up."""


class Durability(IntEnum):
    """What a commit survives, once its caller has been told of it."""

    RELAXED = auto()
    """A kill of any process but the database server's; what is lost is done again."""
    COMMITTED = auto()
    """A kill of any process."""
    DURABLE = auto()
    """The loss of power: a learner step must not be older than its checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a job asks of the transaction that it runs in."""

    durability: Durability = Durability.COMMITTED
    run_id: int | None = None
    in_order: bool = False
    """No other process's ordered job of this run may run meanwhile: it counts rows
    and acts on the count. (One at a time is the rule on SQLite.)"""
    alone: bool = False
    """No other process's job of this run may run meanwhile, ordered or not: it changes
    what every one of them relies on. Implies `in_order`."""
    news: frozenset[News] = frozenset()
    traceable: bool = True
    """Whether its commit can be looked up later; not before there are tables."""

    def together(self, other: Needs) -> Needs:
        """What a transaction must do for both."""
        return Needs(
            durability=max(self.durability, other.durability),
            run_id=self.run_id or other.run_id,
            in_order=self.in_order or other.in_order,
            alone=self.alone or other.alone,
            news=self.news | other.news,
            traceable=self.traceable and other.traceable,
        )


def all_needs(needs: list[Needs]) -> Needs:
    """What one transaction must do for all."""
    return reduce(Needs.together, needs)


class Fate(Enum):
    """What became of a transaction that ended in an error."""

    FAILED = auto()
    """Nothing of it happened, and nothing of it would if it ran again."""
    UNDONE = auto()
    """Nothing of it happened; it may run again."""
    COMMITTED = auto()
    """All of it happened: only the word of it was lost."""


class Session(Protocol):
    """The one connection of a writer, for the writer's thread."""

    @property
    def writer_id(self) -> str:
        """Who sends the news of these transactions."""
        ...

    def transaction(self, needs: Needs) -> AbstractContextManager[sa.Connection]:
        """A transaction that commits at the end, or undoes everything on an error."""
        ...

    def fate(self, error: DBAPIError) -> Fate:
        """What became of the transaction that just ended like this. May wait long for
        a server that is away; every call is about the latest transaction."""
        ...

    def is_transient(self, error: Exception) -> bool:
        """Whether the whole transaction is lost, though nothing was wrong with the job."""
        ...

    def now(self) -> float:
        """Seconds since the epoch by the clock that leases are measured with."""
        ...

    def close(self) -> None: ...


class Database(Protocol):
    """A database that can hold a store."""

    @property
    def name(self) -> str:
        """As its user names it, without a password."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether processes of several machines can use it."""
        ...

    def exists(self) -> bool:
        """Whether there is anything to read. Raises StoreError if that is unknown."""
        ...

    def session(self) -> Session: ...

    def read_engine(self) -> sa.Engine:
        """Connections that see committed rows, each transaction at one moment, and
        refuse to write any."""
        ...

    def is_away(self, error: DBAPIError) -> bool:
        """Whether the server could not be reached, so that a read may be asked again."""
        ...

    def translated(self, error: DBAPIError) -> AzrError:
        """The user's view of a driver's error."""
        ...

    def listen(self, run_id: int, *, ignoring: str) -> AsyncGenerator[frozenset[News]]:
        """News from the other writers of a run; ends at once where there are none."""
        ...


def open_database(where: str | Path, *, outage_seconds: float = OUTAGE_SECONDS) -> Database:
    """The database that a file's path or a URL names; connects to nothing yet.

    Raises StoreError for what cannot hold a store.
    """
    from azr.store.sqlite import SqliteDatabase  # noqa: PLC0415 -- it builds on this module

    if isinstance(where, Path):
        return SqliteDatabase(where)
    parsed = _parsed(where)
    if parsed.get_backend_name() in POSTGRES_NAMES:
        from azr.store.postgres import PostgresDatabase  # noqa: PLC0415 -- its driver is slow to load

        return PostgresDatabase(parsed, outage_seconds=outage_seconds)
    return SqliteDatabase(database_path(where))


def database_path(url: str) -> Path:
    """The file behind an SQLite URL. Raises StoreError for any other."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(
            f"{parsed.get_backend_name()} databases are not files, and only SQLite is one here"
            if parsed.get_backend_name() in POSTGRES_NAMES
            else f"{parsed.get_backend_name()} databases are not supported",
            hint=USAGE,
        )
    if not parsed.database or parsed.database == ":memory:":
        raise StoreError(
            "a store needs a file: its readers are connections of their own", hint=USAGE
        )
    return Path(parsed.database)


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except ArgumentError as error:
        raise StoreError(f"{url!r} is not a database URL", hint=USAGE) from error
