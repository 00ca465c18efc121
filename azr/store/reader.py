"""Reads: short questions on connections that cannot write, in worker threads."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import sqlalchemy as sa
from anyio.to_thread import run_sync
from sqlalchemy.exc import DBAPIError

from azr.store.engine import OUTAGE_SECONDS, Database
from azr.store.patience import Patience

NUM_QUESTIONS = 2
"""Asked at once; each has a connection of its own."""


class Reader:
    """Answers questions beside the writer; sees everything committed before it asks."""

    def __init__(self, database: Database, *, outage_seconds: float = OUTAGE_SECONDS) -> None:
        self._database = database
        self._engine = database.read_engine()
        self._limiter = anyio.CapacityLimiter(NUM_QUESTIONS)
        self._outage_seconds = outage_seconds

    async def run[T](self, question: Callable[[sa.Connection], T]) -> T:
        """The answer. A cancelled caller waits until its thread is done."""
        return await run_sync(lambda: self.run_blocking(question), limiter=self._limiter)

    def run_blocking[T](self, question: Callable[[sa.Connection], T]) -> T:
        """The same, in the calling thread; asks again while a server is away."""
        patience = Patience(self._outage_seconds)
        while True:
            try:
                with self._engine.begin() as connection:
                    return question(connection)
            except DBAPIError as error:
                if self._database.is_away(error) and patience.wait():
                    continue
                raise self._database.translated(error) from error

    def close(self) -> None:
        self._engine.dispose()
