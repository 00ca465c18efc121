"""One thread that writes: the queue of jobs behind every store method.

Jobs that wait together are committed together (group commit), each in a savepoint,
so one that fails undoes only itself. A job sees everything that was committed
before it. Nothing of a job happened until its future has a result.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from azr.errors import StoreError
from azr.store.engine import set_durability, translated, write_engine

type Job[T] = Callable[[sa.Connection], T]
"""Statements of one transaction. May run twice, so it changes nothing but rows."""

MAX_GROUP = 64
"""Jobs per commit; more would only make the first ones wait."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    job: Job[Any]
    durable: bool
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Runs jobs in submission order on the only connection that writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = write_engine(path)
        self._jobs: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="azr-store-writer", daemon=True)
        self._thread.start()

    def submit[T](self, job: Job[T], *, durable: bool = False) -> Future[T]:
        """Queue a job; its result arrives after its commit.

        `durable` jobs are on the disk, not only in the operating system's cache,
        before their result arrives.
        """
        pending = _Pending(job, durable)
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
        self._engine.dispose()

    def _serve(self) -> None:
        while True:
            group, stop = self._next_group()
            runnable = [item for item in group if item.future.set_running_or_notify_cancel()]
            if runnable and not self._commit_together(runnable):
                for item in runnable:
                    self._commit_alone(item)
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

    def _commit_together(self, group: Sequence[_Pending]) -> bool:
        """False, with nothing done, if the transaction as a whole failed."""
        if len(group) == 1:
            return False
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            with self._engine.connect() as connection:
                set_durability(connection, fully=any(item.durable for item in group))
                with connection.begin():
                    outcomes = [_attempt(connection, item.job) for item in group]
        except SQLAlchemyError:
            return False
        for item, (value, error) in zip(group, outcomes, strict=True):
            self._answer(item, value, error)
        return True

    def _commit_alone(self, item: _Pending) -> None:
        value, error = None, None
        try:
            with self._engine.connect() as connection:
                set_durability(connection, fully=item.durable)
                with connection.begin():
                    value = item.job(connection)
        except Exception as caught:  # noqa: BLE001 -- whatever it is, it belongs to the caller
            error = caught
        self._answer(item, value, error)

    def _answer(self, item: _Pending, value: object, error: Exception | None) -> None:
        if isinstance(error, DBAPIError):
            friendly = translated(error, self._path)
            friendly.__cause__ = error
            error = friendly
        if error is None:
            item.future.set_result(value)
        else:
            item.future.set_exception(error)


def _attempt(connection: sa.Connection, job: Job[Any]) -> tuple[Any, Exception | None]:
    """Run a job in a savepoint. Raises only if the savepoint itself is lost."""
    savepoint = connection.begin_nested()
    try:
        value = job(connection)
    except Exception as error:  # noqa: BLE001 -- handed to the job's caller
        savepoint.rollback()
        return None, error
    savepoint.commit()
    return value, None
