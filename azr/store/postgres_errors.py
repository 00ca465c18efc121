"""What PostgreSQL's errors mean: a lost server, a conflict, or the user's to mend."""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import DBAPIError, IntegrityError

from azr.errors import AzrError, StoreError

LOST = ("08", "57P01", "57P02", "57P03", "25P03", "53300")
"""SQLSTATEs, or their first letters: the connection failed, the server stops, starts,
or has no connection to spare."""
CONFLICTS = ("40001", "40P01", "55P03")
"""Serialisation failure, deadlock, a lock not got in time: nothing happened."""


def is_lost(error: DBAPIError) -> bool:
    """Whether the server, not the statement, was the trouble."""
    state = _state(error)
    if error.connection_invalidated or state.startswith(LOST):
        return True
    # The client library reports what it sees at its own end without a SQLSTATE.
    return not state and isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError)


def is_conflict(error: DBAPIError) -> bool:
    """Whether the transaction was undone for another one's sake."""
    return _state(error) in CONFLICTS


def is_starting(error: DBAPIError) -> bool:
    """Whether a server is there, but not ready yet: it starts, or recovers from a crash."""
    return "the database system is" in str(error.orig)


def explained(error: DBAPIError, database: str) -> AzrError:
    """The user's view of an error."""
    reason = " ".join(str(error.orig).split())
    if isinstance(error, IntegrityError):
        return StoreError(
            f"{database}: an invariant of a queue broke: {reason}",
            hint="This is a bug; `azr run --resume DIR` returns to the last checkpoint.",
        )
    state = _state(error)
    for sign, message, hint in _FAILURES:
        if state.startswith(sign) or (not state and sign in reason):
            return StoreError(f"{database}: {message}", hint=hint)
    if is_lost(error):
        return StoreError(
            f"{database}: the server cannot be reached: {reason}",
            hint="Check the address and that the server runs; then --resume goes on.",
        )
    return StoreError(f"{database}: {reason}", hint="See the server's log.")


_FAILURES: tuple[tuple[str, str, str], ...] = (
    ("53100", "the server's disk is full", "Free some space there, then --resume."),
    ("53300", "the server has no connection left", "Raise its max_connections."),
    ("too many clients", "the server has no connection left", "Raise its max_connections."),
    ("25006", "the database is read-only", "Use the primary server, not a standby."),
    ("42501", "the user may not do this", "GRANT the user all rights on the database."),
    ("40P01", "transactions kept deadlocking", "See the server's log for the other one."),
    ("55P03", "another transaction holds the run", "End it; see pg_stat_activity."),
    ("57014", "the statement took too long", "Check the server's load and statement_timeout."),
    ("does not exist", "there is no such database or user", "Create it with `createdb NAME`."),
    ("authentication failed", "the password is wrong", "Set PGPASSWORD, or use ~/.pgpass."),
    ("no password supplied", "the server wants a password", "Set PGPASSWORD, or use ~/.pgpass."),
    ("translate host name", "the host is not known", "Check the host in --db."),
    ("resolve host", "the host is not known", "Check the host in --db."),
)


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
