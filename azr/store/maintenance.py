"""Writing to a database that may have a run in it, from outside the run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from azr.errors import StoreError
from azr.store import migrate
from azr.store.engine import Database, Durability, Needs, Session, open_database
from azr.store.prune import Pruned, prune_some
from azr.store.sqlite import write_engine

SCHEMA_CHANGE = Needs(durability=Durability.DURABLE, traceable=False)
PRUNING = Needs(durability=Durability.RELAXED)
"""What is not pruned now is pruned the next time."""


def upgrade(where: Path | str) -> tuple[str | None, str | None]:
    """Bring tables and views to this version; the revisions before and after.

    Raises StoreError for no database, or one of a newer version or another program.
    """
    with (
        _writing(open_database(where)) as session,
        session.transaction(SCHEMA_CHANGE) as connection,
    ):
        before = migrate.revision(connection)
        migrate.upgrade(connection)
        return before, migrate.revision(connection)


def prune(where: Path | str, run_id: int, step: int, *, advance: Callable[[int], object]) -> Pruned:
    """Drop token arrays up to a step, in short transactions; `advance` hears of rollouts."""
    total, after = Pruned(), 0
    with _writing(open_database(where)) as session:
        while True:
            with session.transaction(PRUNING) as connection:
                dropped, after = prune_some(connection, run_id, step, after=after)
            if not dropped.num_rollouts:
                return total
            total += dropped
            advance(dropped.num_rollouts)


@contextmanager
def _writing(database: Database) -> Generator[Session]:
    """The writing connection of a database that exists; driver errors become AzrErrors."""
    if not database.exists():
        raise StoreError(f"there is no database at {database.name}", hint="Start a run first.")
    session = database.session()
    try:
        yield session
    except DBAPIError as error:
        raise database.translated(error) from error
    finally:
        session.close()


def vacuum(path: Path) -> int:
    """Give an SQLite file's free pages back to the disk; by how many bytes it shrank."""
    before = path.stat().st_size
    engine = write_engine(path)
    try:
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                driver.execute(statement).close()  # SQLAlchemy would begin a transaction
    finally:
        engine.dispose()
    return before - path.stat().st_size
