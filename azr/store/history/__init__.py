"""Reading a run's history: one connection that cannot write, and the run it is about.

    with open_history("runs/NAME/azr.sqlite") as history:
        for point in queries.cell_steps(history): ...

It works beside a run in progress or after it. A database may hold several runs; every
question is about one of them, by default the latest.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from azr.errors import StoreError
from azr.store.engine import open_database
from azr.store.locate import Located
from azr.store.models import RunRow


@dataclass(frozen=True, slots=True)
class History:
    """An open, read-only look at one run."""

    connection: sa.Connection
    run_id: int | None
    """None while the database holds no run yet."""
    database: str
    """The database as its user names it: a path or a URL without its password."""


@contextmanager
def open_history(where: Path | str | Located, *, run: int | None = None) -> Generator[History]:
    """Read a store: a file, a database URL, or what a run directory led to.

    `run` is an id; by default the run that the directory is of, or the latest.
    Raises StoreError or RunDirectoryError if it cannot be read.
    """
    located = where if isinstance(where, Located) else Located(where)
    opened = open_database(located.database)
    if not opened.exists():
        raise StoreError(f"there is no database at {opened.name}", hint="Start a run first.")
    engine = opened.read_engine()
    try:
        with engine.begin() as connection:
            yield History(connection, _run_id(connection, run, located.run_name), opened.name)
    except DBAPIError as error:
        raise opened.translated(error) from error
    finally:
        engine.dispose()


def _run_id(connection: sa.Connection, wanted: int | None, name: str) -> int | None:
    """The id of the run that is asked about."""
    known = _run_ids(connection)
    if wanted is None and name and known:
        named = sa.select(RunRow.run_id).where(RunRow.name == name)
        return connection.execute(named).scalar()
    if wanted is None:
        return known[-1] if known else None
    if wanted in known:
        return wanted
    numbers = ", ".join(map(str, known)) or "none"
    raise StoreError(f"the database holds no run {wanted}", hint=f"Runs in it: {numbers}.")


def _run_ids(connection: sa.Connection) -> list[int]:
    """Every run, oldest first; none before the first migration."""
    if not sa.inspect(connection).has_table(RunRow.__tablename__):
        return []
    return list(connection.execute(sa.select(RunRow.run_id).order_by(RunRow.run_id)).scalars())
