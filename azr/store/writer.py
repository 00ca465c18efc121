"""One thread that writes: the queue of jobs behind every store method.

Jobs that wait together are committed together (group commit). If one of them fails,
they all run again, each in a savepoint, so that it undoes only itself: failures are
rare, and savepoints cost a sixth of the thread's time. A job sees everything that was
committed before it. Nothing of a job happened until its future has a result.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from azr.errors import AzrError, StoreError
from azr.store.engine import Database, Fate, Needs, all_needs

type Job[T] = Callable[[sa.Connection], T]
"""Statements of one transaction. May run twice, so it changes nothing but rows."""

MAX_GROUP = 64
"""Jobs per commit; more would only make the first ones wait."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    job: Job[Any]
    needs: Needs
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class Writer:
    """Runs jobs in submission order on the only connection of this process that writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session = database.session()
        self._jobs: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="azr-store-writer", daemon=True)
        self._thread.start()

    @property
    def writer_id(self) -> str:
        """Who this writer is in the news."""
        return self._session.writer_id

    def now(self) -> float:
        """Within a job: when its transaction began, by the database's clock."""
        return self._session.now()

    def submit[T](self, job: Job[T], needs: Needs) -> Future[T]:
        """Queue a job; its result arrives after its commit."""
        pending = _Pending(job, needs)
        with self._closing:
            if self._closed:
                raise StoreError("the store is closed", hint="Open it again.")
            self._jobs.put(pending)
        return pending.future

    def close(self) -> None:
        """Finish every queued job, then stop. Blocks; safe to call twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()
        self._session.close()

    def _serve(self) -> None:
        while True:
            group, stop = self._next_group()
            runnable = [item for item in group if item.future.set_running_or_notify_cancel()]
            if runnable:
                self._commit(runnable)
            if stop:
                return

    def _next_group(self) -> tuple[list[_Pending], bool]:
        """Everything that waits, at least one job; and whether to stop after it."""
        group: list[_Pending] = []
        item = self._jobs.get()
        while item is not None:
            group.append(item)
            if len(group) == MAX_GROUP:
                return group, False
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: Sequence[_Pending]) -> None:
        """Answer every job of the group; one by one if they fail together."""
        outcomes = self._committed(group)
        if outcomes is None:
            for item in group:
                self._commit([item])
            return
        for item, outcome in zip(group, outcomes, strict=True):
            if outcome.error is None:
                item.future.set_result(outcome.value)
            else:
                item.future.set_exception(self._translated(outcome.error))

    def _committed(self, group: Sequence[_Pending]) -> list[_Outcome] | None:
        """What came of each job; None, with nothing done, if only the group failed."""
        needs = all_needs([item.needs for item in group])
        run: Callable[[sa.Connection, Job[Any]], _Outcome] = _run
        while True:
            outcomes: list[_Outcome] = []
            try:
                with self._session.transaction(needs) as connection:
                    outcomes = [run(connection, item.job) for item in group]
            except Exception as error:  # noqa: BLE001 -- whatever it is, it belongs to the callers
                fate, error = self._fate(error)
                if fate is Fate.UNDONE:
                    continue
                if fate is Fate.FAILED and len(group) == 1:
                    return [_Outcome(error=error)]
                if fate is Fate.FAILED and run == self._attempt:
                    return None
                if fate is Fate.FAILED:
                    run = self._attempt
                    continue
            return outcomes

    def _fate(self, error: Exception) -> tuple[Fate, Exception]:
        """What became of the transaction, and the error to answer if it failed."""
        if not isinstance(error, DBAPIError):
            return Fate.FAILED, error
        try:
            return self._session.fate(error), error
        except SQLAlchemyError as worse:
            return Fate.FAILED, worse

    def _attempt(self, connection: sa.Connection, job: Job[Any]) -> _Outcome:
        """Run a job in a savepoint. Raises only if the whole transaction is lost."""
        savepoint = connection.begin_nested()
        try:
            value = job(connection)
        except Exception as error:
            if self._session.is_transient(error):
                raise
            savepoint.rollback()
            return _Outcome(error=error)
        savepoint.commit()
        return _Outcome(value)

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, AzrError) or not isinstance(error, DBAPIError):
            return error
        friendly = self._database.translated(error)
        friendly.__cause__ = error
        return friendly


def _run(connection: sa.Connection, job: Job[Any]) -> _Outcome:
    return _Outcome(job(connection))
