"""How an open store reaches the rows of its run: jobs on the writer, questions on a reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Concatenate

import sqlalchemy as sa
from anyio.lowlevel import checkpoint_if_cancelled

from azr.store.answers import shielded
from azr.store.context import RunContext
from azr.store.engine import Database, Needs
from azr.store.reader import Reader
from azr.store.writer import Job, Writer

type RunJob[**P, T] = Callable[Concatenate[sa.Connection, RunContext, P], T]
"""A function of the store's modules: a connection, the run, and its own arguments."""


class RunAccess:
    """One run of an open database."""

    def __init__(self, database: Database, writer: Writer, reader: Reader, run: RunContext) -> None:
        self._database = database
        self._writer = writer
        self._reader = reader
        self._run = run

    @property
    def run_id(self) -> int:
        """The id of this store's run in its database."""
        return self._run.run_id

    async def _freely[**P, T](
        self, needs: Needs, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Commit a job that needs no order with those of other processes."""
        await checkpoint_if_cancelled()  # a cancelled actor does not start writing
        needs = replace(needs, run_id=self.run_id)
        return await shielded(self._writer.submit(self._bound(job, *args, **kwargs), needs))

    async def _in_order[**P, T](
        self, needs: Needs, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Commit a job that no other ordered job of the run runs beside."""
        return await self._freely(replace(needs, in_order=True), job, *args, **kwargs)

    async def _read[**P, T](self, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._reader.run(self._bound(job, *args, **kwargs))

    def _bound[**P, T](self, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        run = self._run
        return lambda connection: job(connection, run, *args, **kwargs)
