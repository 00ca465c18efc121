"""Reads: short questions on connections that cannot write, in worker threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import sqlalchemy as sa
from anyio.to_thread import run_sync
from sqlalchemy.exc import DBAPIError

from azr.store.engine import NUM_READERS, read_engine, translated


class Reader:
    """Answers questions beside the writer; sees everything committed before it asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = read_engine(path)
        self._limiter = anyio.CapacityLimiter(NUM_READERS)

    async def run[T](self, question: Callable[[sa.Connection], T]) -> T:
        """The answer. A cancelled caller waits until its thread is done."""
        return await run_sync(lambda: self.run_blocking(question), limiter=self._limiter)

    def run_blocking[T](self, question: Callable[[sa.Connection], T]) -> T:
        """The same, in the calling thread."""
        try:
            with self._engine.begin() as connection:
                return question(connection)
        except DBAPIError as error:
            raise translated(error, self._path) from error

    def close(self) -> None:
        self._engine.dispose()
