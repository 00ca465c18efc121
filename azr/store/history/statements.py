"""Plain SQL from people, on a connection that certainly cannot write.

SQLite: the file is opened read-only, `query_only` is on, and an authorizer refuses
everything but reading (a read-only connection alone could still ATTACH another file).
PostgreSQL: one prepared statement in a read-only transaction. On both the statement
must begin as a query does and has a time limit.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from azr.errors import StoreError
from azr.store.history import History
from azr.store.models import Base
from azr.store.questions import Question
from azr.store.views import MEANINGS

QUERIES = ("select", "with", "values", "explain")
READS = ("SELECT", "READ", "FUNCTION", "RECURSIVE")
"""What SQLite calls reading."""
STEPS_PER_LOOK = 10_000
"""SQLite instructions between two looks at the clock."""

_LEADING = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", re.DOTALL)
_UNKNOWN = re.compile(
    r"no such (?P<kind>table|column): (?P<name>\S+)"
    r'|(?P<pg>relation|column) "?(?P<pg_name>[\w.]+)"? does not exist'
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement returned."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    complete: bool
    """False if there were more rows than asked for."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view, and what a row of it is."""

    name: str
    kind: str
    meaning: str
    columns: tuple[str, ...]


def ask(history: History, sql: str, *, max_rows: int, timeout_seconds: float) -> Answer:
    """The answer to one SELECT. Raises StoreError for anything else and for mistakes."""
    return _answered(
        history, sql, lambda: _execute(history, sql), max_rows, timeout_seconds=timeout_seconds
    )


def ask_question(
    history: History,
    question: Question,
    given: Mapping[str, int] | None = None,
    *,
    max_rows: int,
    timeout_seconds: float,
) -> Answer:
    """The answer to a known question; parameters that are not given have their defaults.

    Raises StoreError for parameters that it does not have.
    """
    known = given or {}
    unknown = sorted(set(known) - set(question.parameters))
    if unknown:
        names = ", ".join(question.parameters) or "none"
        raise StoreError(
            f"{question.name} has no parameter {unknown[0]!r}", hint=f"Its parameters: {names}."
        )

    def execute() -> sa.CursorResult[Any]:
        values = {"run": history.run_id} | {
            name: known.get(name, _default(history, parameter.default))
            for name, parameter in question.parameters.items()
        }
        return history.connection.execute(sa.text(question.sql), values)

    return _answered(history, question.sql, execute, max_rows, timeout_seconds=timeout_seconds)


def relations(history: History) -> list[Relation]:
    """Every table and view of the store that the database has."""
    inspector = sa.inspect(history.connection)
    tables, views = set(inspector.get_table_names()), set(inspector.get_view_names())
    classes = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}
    found = [
        Relation(
            table.name,
            "table",
            _first_line(classes[table].__doc__ or ""),
            tuple(column.name for column in table.columns),
        )
        for table in Base.metadata.sorted_tables
        if table.name in tables
    ]
    for name, meaning in MEANINGS.items():
        if name in views:
            columns = tuple(column["name"] for column in inspector.get_columns(name))
            found.append(Relation(name, "view", meaning, columns))
    return found


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _answered(
    history: History,
    sql: str,
    execute: Callable[[], Any],
    max_rows: int,
    *,
    timeout_seconds: float,
) -> Answer:
    _refuse_writes(sql)
    driver = history.connection.dialect.loaded_dbapi
    try:
        with _guarded(history.connection, timeout_seconds):
            result = execute()
            names = [column[0] for column in _cursor(result).description or ()]
            rows = [tuple(row) for row in result.fetchmany(max_rows + 1)]
    except (DBAPIError, driver.Error, driver.Warning) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise _explained(history, str(cause), timeout_seconds) from error
    return Answer(tuple(names), rows[:max_rows], complete=len(rows) <= max_rows)


def _cursor(result: Any) -> Any:  # noqa: ANN401 -- SQLAlchemy's result or a driver's cursor
    return result.cursor if isinstance(result, sa.CursorResult) else result


def _execute(history: History, sql: str) -> Any:  # noqa: ANN401 -- a driver's cursor
    """Run text as it is: neither `:name` nor `%` means anything but to the database."""
    driver: Any = history.connection.connection.driver_connection
    cursor = driver.cursor()
    if history.connection.dialect.name == "postgresql":
        cursor.execute(sql, prepare=True)  # a prepared statement is one statement
    else:
        cursor.execute(sql)
    return cursor


def _default(history: History, query: str) -> Any:  # noqa: ANN401 -- SQL's type
    return history.connection.execute(sa.text(query), {"run": history.run_id}).scalar()


def _refuse_writes(sql: str) -> None:
    found = _LEADING.match(sql)
    word = found[1].lower() if found else ""
    if word not in QUERIES:
        raise StoreError(
            f"only queries are run here, and this begins with {word.upper() or 'nothing'}",
            hint="Begin with SELECT, WITH, VALUES or EXPLAIN; nothing here can write.",
        )


@contextmanager
def _guarded(connection: sa.Connection, timeout_seconds: float) -> Generator[None]:
    """Within it the connection only reads, and for so long."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        milliseconds = max(1, int(timeout_seconds * 1000))
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        with connection.begin_nested():  # a mistake must not end the transaction
            yield
        return
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + timeout_seconds
    driver.set_authorizer(_reading_only(connection.dialect.loaded_dbapi))
    driver.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_PER_LOOK)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)
        driver.set_authorizer(None)


def _reading_only(library: Any) -> Callable[..., int]:  # noqa: ANN401 -- a driver
    """An authorizer of SQLite that lets a statement read and nothing else."""
    reads = {getattr(library, f"SQLITE_{action}") for action in READS}

    def authorize(action: int, _first: str | None, second: str | None, *_: object) -> int:
        loads = action == library.SQLITE_FUNCTION and (second or "").lower() == "load_extension"
        return library.SQLITE_OK if action in reads and not loads else library.SQLITE_DENY

    return authorize


def _explained(history: History, reason: str, timeout_seconds: float) -> StoreError:
    """A driver's complaint about somebody's SQL, with what would help."""
    if "interrupted" in reason or "statement timeout" in reason:
        return StoreError(
            f"the query took longer than {timeout_seconds:g} s and was stopped",
            hint="Ask for less, or allow more with --timeout.",
        )
    if "not authorized" in reason or "read-only transaction" in reason:
        return StoreError(
            f"nothing here can write or open other files: {reason}",
            hint="Use SELECT on the tables that `azr sql --tables` lists.",
        )
    if "one statement at a time" in reason or "multiple commands" in reason:
        return StoreError("there is more than one statement", hint="Ask one at a time.")
    found = _UNKNOWN.search(reason)
    if found is not None:
        name = (found["name"] or found["pg_name"]).rpartition(".")[2]
        return StoreError(reason.partition("\n")[0], hint=_nearest(history, name, found))
    return StoreError(reason, hint="`azr sql --tables` lists tables, views and their columns.")


def _nearest(history: History, name: str, found: re.Match[str]) -> str:
    """A hint that names what there is instead of `name`."""
    known = relations(history)
    if (found["kind"] or found["pg"]) == "column":
        return _did_you_mean(name, sorted({c for relation in known for c in relation.columns}))
    names = [relation.name for relation in known]
    return f"{_did_you_mean(name, names)} Tables and views: {', '.join(names)}."


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    if name in known:
        return "An older azr made this database's views: `azr db upgrade RUN` renews them."
    close = difflib.get_close_matches(name, known, n=3)
    if not close:
        return "`azr sql --tables` lists tables, views and their columns."
    return f"Did you mean {' or '.join(close)}?"
