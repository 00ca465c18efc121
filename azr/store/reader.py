"""Reads: short questions on connections that cannot write, in threads of their own.

Not in anyio's worker threads: to find one, anyio looks through every task of the event
loop, and a node has hundreds.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
from anyio.lowlevel import checkpoint_if_cancelled
from sqlalchemy.exc import DBAPIError

from azr.store.answers import shielded
from azr.store.engine import OUTAGE_SECONDS, Database
from azr.store.patience import Patience

NUM_QUESTIONS = 2
"""Asked at once; each has a connection of its own."""


class Reader:
    """Answers questions beside the writer; sees everything committed before it asks."""

    def __init__(self, database: Database, *, outage_seconds: float = OUTAGE_SECONDS) -> None:
        self._database = database
        self._engine = database.read_engine()
        self._threads = ThreadPoolExecutor(NUM_QUESTIONS, thread_name_prefix="azr-store-reader")
        self._outage_seconds = outage_seconds

    async def run[T](self, question: Callable[[sa.Connection], T]) -> T:
        """The answer. A cancelled caller waits until its thread is done."""
        await checkpoint_if_cancelled()
        return await shielded(self._threads.submit(lambda: self.run_blocking(question)))

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
        """Finish what was asked. Blocks; safe to call twice."""
        self._threads.shutdown()
        self._engine.dispose()
